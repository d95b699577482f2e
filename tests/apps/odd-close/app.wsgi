"""Returns an iterable whose close() is as the query string says."""

import mod_wsgi


class Blocks:
    def __iter__(self):
        return iter([b"one ", b"two"])


class LookupRaises(Blocks):
    @property
    def close(self):
        raise ValueError("no close for you")


class NotCallable(Blocks):
    close = 7


class TimesOut(Blocks):
    def close(self):
        raise mod_wsgi.RequestTimeout("in close()")


class Exits(Blocks):
    def close(self):
        raise SystemExit(4)


class Writes(Blocks):
    def __init__(self, write):
        self.write = write

    def close(self):
        self.write(b" closed")


class OfIteratorOnly(Blocks):
    """The iterator has a close(), which is nobody's to call."""

    def __init__(self, errors):
        self.errors = errors

    def __iter__(self):
        return Iterator(self.errors)


class Iterator:
    def __init__(self, errors):
        self.blocks = iter([b"one ", b"two"])
        self.errors = errors

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.blocks)

    def close(self):
        print("ODD-CLOSE-APP closed the iterator", file=self.errors)


def application(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    return {
        "lookup-raises": LookupRaises,
        "not-callable": NotCallable,
        "times-out": TimesOut,
        "exits": Exits,
        "writes": lambda: Writes(write),
        "of-iterator": lambda: OfIteratorOnly(environ["wsgi.errors"]),
    }[environ["QUERY_STRING"]]()
