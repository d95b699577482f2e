"""Yields blocks of the sizes that the body lists as repr, each filled with the next letter from x on."""

from ast import literal_eval


def application(environ, start_response):
    sizes = literal_eval(environ["wsgi.input"].read(1 << 20).decode())
    start_response("200 OK", [("Content-Type", "text/plain")])
    for place, size in enumerate(sizes):
        yield b"xyz"[place % 3 :][:1] * size
