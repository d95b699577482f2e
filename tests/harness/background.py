# SPDX-License-Identifier: Apache-2.0
"""Requests that run while the test does something else."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import quote

from harness.client import Response
from harness.server import Server
from harness.waiting import DEADLINE, wait_until

Value = TypeVar("Value")


class Background(Generic[Value]):
    """A call on a thread of its own."""

    def __init__(self, call: Callable[[], Value]) -> None:
        self._call = call
        self._value: Value | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:
            self._error = error

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def result(self, deadline: float = 2 * DEADLINE) -> Value:
        """What the call returned; raises what it raised."""
        self._thread.join(deadline)
        if not self.done:
            raise AssertionError(f"still running after {deadline:g} s")
        if self._error is not None:
            raise self._error
        return self._value


class HeldRequest(Background[Response]):
    """A request to the application `hold`, which answers with its pid once it is released."""

    def __init__(self, server: Server, folder: Path, path: str = "/hold", port: str = "") -> None:
        place = folder / f"held-{id(self):x}"
        self._started = place.with_suffix(".started")
        self._go = place.with_suffix(".go")
        query = f"started={quote(str(self._started))}&go={quote(str(self._go))}"
        super().__init__(lambda: server.get(f"{path}?{query}", port=port))

    @property
    def started(self) -> bool:
        """Whether the application has been called."""
        return self._started.exists()

    @property
    def pid(self) -> int:
        """The process that runs the application; waits until it does."""
        self.wait_started()
        return int(wait_until(self._started.read_text, "the pid"))

    def wait_started(self) -> "HeldRequest":
        wait_until(lambda: self.started, "the held request to reach the application")
        return self

    def release(self) -> None:
        self._go.touch()
