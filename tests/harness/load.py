# SPDX-License-Identifier: Apache-2.0
"""Steady load with keep-alive clients: what came of each request, while something else happens."""

import http.client
import threading
import time
from collections import Counter

from harness.server import Server


class Load:
    """So many clients that ask for one path again and again, as long as the `with` block lasts."""

    def __init__(self, server: Server, path: str, clients: int = 4, port: str = "") -> None:
        self._port = server.ports[port] if port else server.port
        self._path = path
        self._stop = threading.Event()
        self._lock = threading.Lock()
        #: Answers with status 200, by their body.
        self.bodies: Counter[bytes] = Counter()
        #: What was no complete answer 200: (seconds since the start, what it was).
        self.failures: list[tuple[float, str]] = []
        #: The longest time that a request took, in seconds.
        self.slowest = 0.0
        self._start = 0.0
        self._end = 0.0
        self._threads = [
            threading.Thread(target=self._ask, daemon=True) for _ in range(clients)
        ]  # fmt: skip

    def __enter__(self) -> "Load":
        self._start = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._end = time.monotonic()

    @property
    def served(self) -> int:
        return sum(self.bodies.values())

    @property
    def rate(self) -> float:
        """Answers in a second."""
        return self.served / ((self._end or time.monotonic()) - self._start)

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)

    def _ask(self) -> None:
        connection = self._connect()
        is_fresh = True
        while not self._stop.is_set():
            begun = time.monotonic()
            try:
                connection.request("GET", self._path)
                response = connection.getresponse()
                body = response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                connection = self._connect()
                # httpd may close an idle connection at any time, and clients ask again then: that
                # is a failure only of a request on a connection that was just made.
                if is_fresh or not isinstance(
                    error, (ConnectionError, http.client.RemoteDisconnected)
                ):
                    self._note(begun, repr(error))
                is_fresh = True
                continue
            is_fresh = bool(response.will_close)
            if response.status == 200:
                with self._lock:
                    self.bodies[body] += 1
                    self.slowest = max(self.slowest, time.monotonic() - begun)
            else:
                self._note(begun, f"{response.status} {response.reason}")
        connection.close()

    def _note(self, begun: float, what: str) -> None:
        with self._lock:
            self.failures.append((begun - self._start, what))
