"""Exits when it is loaded."""

raise SystemExit("not today")
