# SPDX-License-Identifier: Apache-2.0
"""Free TCP ports on 127.0.0.1, each held for the test run.

Ports are taken below the range the kernel gives to outgoing connections, and each one is
reserved among concurrent test runs by an abstract UNIX socket that vanishes with the run,
so that nothing takes the port between our choice and httpd's bind.
"""

import os
import random
import socket

_reservations: dict[int, socket.socket] = {}
_random = random.Random(os.getpid())


def free_port() -> int:
    """A port nobody listens on, reserved until `release_port`."""
    for _ in range(2000):
        port = _random.randrange(20000, 30000)
        if port in _reservations:
            continue
        reservation = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            reservation.bind(f"\0mod_wsgi-test-port-{port}")
        except OSError:
            reservation.close()
            continue
        with socket.socket() as probe:
            # As httpd does, so that a port in TIME_WAIT is not refused.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                reservation.close()
                continue
        _reservations[port] = reservation
        return port
    raise RuntimeError("no free port on 127.0.0.1 between 20000 and 30000")


def release_port(port: int) -> None:
    _reservations.pop(port).close()
