"""Fills the memory its process shares with httpd with one word: the query string's, or its pid."""

import ctypes
import os


def application(environ, start_response):
    value = environ["QUERY_STRING"]
    word = os.getpid() if value == "pid" else int(value, 0)
    filled = sum(fill(start, end, word) for start, end in areas())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % filled]


def areas():
    with open("/proc/self/maps") as maps:
        for line in maps:
            fields = line.split(None, 5)
            if len(fields) == 6 and fields[5].startswith("/memfd:mod_wsgi"):
                yield [int(part, 16) for part in fields[0].split("-")]


def fill(start, end, word):
    count = (end - start) // 4
    data = word.to_bytes(4, "little") * count
    ctypes.memmove(start, data, len(data))
    with open(os.environ["MOD_WSGI_TEST_FILLED"], "a") as file:
        file.write(f"{count}\n")
    return count
