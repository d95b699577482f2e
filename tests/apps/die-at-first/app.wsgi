"""Writes down its pid and body; the first `times` times its process is killed, or hangs up and goes on."""

import os
import signal
import socket
import time
from urllib.parse import parse_qs


def application(environ, start_response):
    query = parse_qs(environ["QUERY_STRING"])
    body = environ["wsgi.input"].read() if "read" in query else b""
    with open(query["file"][0], "a+") as file:
        file.write(f"{os.getpid()} {len(body)}\n")
        file.flush()
        file.seek(0)
        times = len(file.readlines())
    if times <= int(query["times"][0]):
        if "hang-up" in query:
            hang_up()
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


def hang_up():
    """The connections of httpd's children are those with a name at this end."""
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as connection:
                if connection.getsockname() and connection.getpeername() == "":
                    connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
    time.sleep(3)
