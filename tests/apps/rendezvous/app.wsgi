"""Sends a block, waits until the body has another byte, and sends that back: `reads` a body between
blocks."""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"ready "
    yield environ["wsgi.input"].read(5)
