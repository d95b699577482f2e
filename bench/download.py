# SPDX-License-Identifier: Apache-2.0
"""Downloads of large responses, timed. wrk parses what it receives in pieces of 8 KiB and would be
what is measured; here the kernel throws the body away (MSG_TRUNC, tcp(7)) and is asked for it in
large pieces.
"""

import socket
import statistics
import threading
import time

PIECE = 1 << 20


class Mismatch(Exception):
    """An answer that is not the one that was asked for."""


def download(port, path, length, connections, seconds):
    """What `connections` clients get in `seconds`, each one download after the other.

    Returns responses, seconds, and the times of single responses in ms.
    """
    end = time.monotonic() + seconds
    times, problems = [], []

    def client():
        room = bytearray(PIECE)
        try:
            with socket.create_connection(("127.0.0.1", port), 60) as connection:
                while (start := time.monotonic()) < end:
                    _fetch(connection, path, length, room)
                    times.append((time.monotonic() - start) * 1000)
        except (OSError, Mismatch) as problem:
            problems.append(problem)

    threads = [threading.Thread(target=client) for _ in range(connections)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems or not times:
        raise Mismatch(f"{problems[0] if problems else 'nothing was answered in time'}")
    return len(times), time.monotonic() - start, times


def quantile(times, percent):
    """The time that `percent` of the responses did not exceed."""
    if len(times) == 1:
        return times[0]
    return statistics.quantiles(times, n=100, method="inclusive")[percent - 1]


def _fetch(connection, path, length, room):
    """One request and its response."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(4096, socket.MSG_PEEK)
        if not piece:
            raise Mismatch("the connection ended within a head")
        # Not a byte of the body with it.
        found = (head + piece).find(b"\r\n\r\n")
        head += connection.recv(len(piece) if found < 0 else found + 4 - len(head))
    lines = head.decode("latin-1").lower().split("\r\n")
    if " 200 " not in lines[0] + " ":
        raise Mismatch(f"the answer is {lines[0]}")
    if "transfer-encoding: chunked" in lines:
        # The frames of the chunks only add to it.
        _skip(connection, length, room)
        _skip_to_last_chunk(connection)
    elif f"content-length: {length}" in lines:
        _skip(connection, length, room)
    else:
        raise Mismatch(f"the length is not told: {lines}")


def _skip(connection, count, room):
    """Throw `count` bytes away."""
    while count:
        got = connection.recv_into(room, min(count, len(room)), socket.MSG_TRUNC)
        if not got:
            raise Mismatch("the connection ended within a body")
        count -= got


def _skip_to_last_chunk(connection):
    tail = b""
    while not tail.endswith(b"\r\n0\r\n\r\n"):
        piece = connection.recv(PIECE)
        if not piece:
            raise Mismatch("the connection ended within a chunked body")
        tail = tail[-16:] + piece
