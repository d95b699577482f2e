"""Writes a line of a million characters to the log, and a short one after it."""


def application(environ, start_response):
    errors = environ["wsgi.errors"]
    print("LONG-LINE-APP", "x" * 1_000_000, file=errors)
    print("LONG-LINE-APP end", file=errors)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"logged"]
