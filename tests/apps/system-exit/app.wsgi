"""Raises SystemExit with a code."""

import sys


def application(environ, start_response):
    sys.exit(7)
