# SPDX-License-Identifier: Apache-2.0
"""What is measured: one row here is one more block in the table that `make bench` prints.

A scenario is a WSGI script in apps/ and the answer it must give. What it is served by, and how
that is timed, is in run.py.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    name: str
    """What the table calls it."""
    script: str
    """File in bench/apps, served at /<name>."""
    body: bytes
    """The whole answer; anything else fails the run before it is timed."""
    has_floor: bool = False
    """Whether floor.c gives the same answer, so that there is a lower bound to compare with."""


SCENARIOS = (Scenario("hello", "hello.wsgi", b"Hello, World!\n", has_floor=True),)
