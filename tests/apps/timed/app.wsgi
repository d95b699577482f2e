"""Tells the clock of the moment before it goes to sleep for as long as the query string says, in s."""

import time


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"%.6f\n" % time.clock_gettime(time.CLOCK_MONOTONIC)
    time.sleep(float(environ["QUERY_STRING"].partition("&")[0]))
    yield b"end\n"
