"""Writes to the descriptors 1 and 2, past Python's streams."""

import os


def application(environ, start_response):
    os.write(1, b"OUTPUT-FD-APP one\n")
    os.write(2, b"OUTPUT-FD-APP two\n")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"written"]
