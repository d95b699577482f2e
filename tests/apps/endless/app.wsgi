"""Yields blocks without end; tells the log when it is closed."""


class Endless:
    def __init__(self, errors):
        self.errors = errors

    def __iter__(self):
        while True:
            yield b"x" * 10000

    def close(self):
        print("ENDLESS-APP closed", file=self.errors)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Endless(environ["wsgi.errors"])
