"""Writes its pid to the file `started` names, waits until the one `go` names exists, answers."""

import os
import time
from urllib.parse import parse_qs


def application(environ, start_response):
    query = parse_qs(environ["QUERY_STRING"])
    with open(query["started"][0], "w") as file:
        file.write(str(os.getpid()))
    end = time.monotonic() + 120
    while not os.path.exists(query["go"][0]) and time.monotonic() < end:
        time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
