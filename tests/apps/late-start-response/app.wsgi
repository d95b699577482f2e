"""A generator that calls start_response when it is first asked, after an empty block."""


def application(environ, start_response):
    yield b""
    start_response("200 Late", [("Content-Type", "text/plain")])
    yield b"late"
