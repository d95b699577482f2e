"""Takes its time as the path says (/compute/3, /sleep/3, /hold-gil/3, /begun/3, in close(): /closing/3,
/closing-short/3), or signals its own process (/signal/2), and answers with its pid. Tells the log why
its process leaves."""

import ctypes
import os
import time

import mod_wsgi


@mod_wsgi.subscribe_shutdown
def stopping(name, shutdown_reason, **payload):
    print(name, shutdown_reason, flush=True)


def compute(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def begin(seconds):
    yield b"begun"
    compute(seconds)


class Closing:
    def __init__(self, seconds):
        self.seconds = seconds

    def __iter__(self):
        yield b"%d" % os.getpid()

    def close(self):
        compute(self.seconds)


def application(environ, start_response):
    what, _, number = environ["PATH_INFO"][1:].partition("/")
    started = environ["QUERY_STRING"]
    if started:
        with open(started, "w") as file:
            file.write(str(os.getpid()))
    if what == "compute":
        compute(float(number))
    elif what == "sleep":
        time.sleep(float(number))
    elif what == "hold-gil":
        ctypes.PyDLL(None).sleep(int(number))
    elif what == "signal":
        os.kill(os.getpid(), int(number))
    headers = [("Content-Type", "text/plain")]
    if what == "closing-short":
        headers.append(("Content-Length", "100"))
    start_response("200 OK", headers)
    if what == "begun":
        return begin(float(number))
    if what.startswith("closing"):
        return Closing(float(number))
    return [b"%d" % os.getpid()]
