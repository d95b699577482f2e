"""Takes a minute to load."""

import time

time.sleep(60)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"loaded"]
