"""Answers with a header of 64 KiB."""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Long", "v" * 65536)])
    return [b"body"]
