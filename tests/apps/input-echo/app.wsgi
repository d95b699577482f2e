"""Sends the body back while reading it, block by block."""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    stream = environ["wsgi.input"]
    return iter(lambda: stream.read(8192), b"")
