"""Ends its own process in the way that the query string names."""

import ctypes
import os
import signal


def application(environ, start_response):
    way = environ["QUERY_STRING"]
    if way.startswith("after-output-"):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return after_output(way.removeprefix("after-output-"))
    die(way)


def after_output(way):
    yield b"output"
    die(way)


def die(way):
    if way == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif way == "exit":
        os._exit(3)
    elif way == "abort":
        os.abort()
    elif way == "segfault":
        ctypes.string_at(0)
