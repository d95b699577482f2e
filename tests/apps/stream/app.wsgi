"""Yields a block, waits until the file that the query string names exists, and yields another."""

import os
import time


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"first\n"
    end = time.monotonic() + 120
    while not os.path.exists(environ["QUERY_STRING"]) and time.monotonic() < end:
        time.sleep(0.01)
    yield b"second\n"
