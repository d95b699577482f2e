"""Takes half a minute to load, in Python code that can be interrupted."""

import time

end = time.monotonic() + 30
while time.monotonic() < end:
    time.sleep(0.01)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"loaded"]
