# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition: poll until it holds or a deadline passes.

Deadlines are generous (ten times what is needed and more), because a slow machine is no defect;
polls are short, because the suite should be quick. Nothing in the tests sleeps for a fixed time.
"""

import os
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = float(os.environ.get("MOD_WSGI_TEST_PATIENCE", "1"))
DEADLINE = 30.0 * PATIENCE
POLL = 0.01

Value = TypeVar("Value")


def wait_until(
    condition: Callable[[], Value],
    what: str | Callable[[], str],
    deadline: float = DEADLINE,
    poll: float = POLL,
) -> Value:
    """Return the first true value of `condition`; fail, saying `what`, when the deadline passes."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            text = what() if callable(what) else what
            raise AssertionError(f"waited {deadline:g} s in vain for {text}")
        time.sleep(poll)
