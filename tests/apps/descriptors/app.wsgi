# SPDX-License-Identifier: Apache-2.0
"""Does what the query string says with the descriptors of its process: `take` opens files until there
are no more, and closes them a second later; `close` closes all that it has not opened."""

import os
import threading

taken = []


def take():
    while True:
        try:
            taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            break
    threading.Timer(1, give).start()


def give():
    while taken:
        os.close(taken.pop())


def close():
    os.closerange(3, 256)


def application(environ, start_response):
    {"take": take, "close": close, "": int}[environ["QUERY_STRING"]]()
    body = b"%d %d" % (os.getpid(), len(taken))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
