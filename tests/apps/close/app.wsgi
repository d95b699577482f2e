"""Returns an object that tells the log what is done with it; the query string says what goes wrong."""


class Told:
    def __init__(self, environ):
        self.errors = environ["wsgi.errors"]
        self.input = environ["wsgi.input"]
        self.case = environ["QUERY_STRING"]
        self.blocks = [b"one ", b"two"]

    def __iter__(self):
        print("CLOSE-APP iterated", file=self.errors)
        for block in self.blocks:
            yield block
            print("CLOSE-APP continued after", block.decode().strip(), file=self.errors)
            if self.case == "iteration-raises":
                raise ValueError("in the iteration")

    def close(self):
        print("CLOSE-APP closed", file=self.errors)
        print("CLOSE-APP input", repr(self.input.read(10)), file=self.errors)
        if self.case == "close-raises":
            raise ValueError("in close()")


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Told(environ)
