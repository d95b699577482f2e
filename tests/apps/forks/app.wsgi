"""Forks a process which keeps everything open, says both pids in the file of the query string, waits."""

import os
import time


def application(environ, start_response):
    place = environ["QUERY_STRING"]
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
        os._exit(0)
    with open(f"{place}.new", "w") as file:
        file.write(f"{os.getpid()} {pid}")
    os.rename(f"{place}.new", place)
    time.sleep(600)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"not killed"]
