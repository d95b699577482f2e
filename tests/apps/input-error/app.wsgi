"""Reads the body; raises what reading raises, or, when the query string is `caught`, tells it.

The log has the class, its bases and the text of the exception, and of the one of a second read.
"""

import sys


def application(environ, start_response):
    stream = environ["wsgi.input"]
    try:
        body = stream.read()
    except OSError as error:
        names = ">".join(f"{base.__module__}.{base.__name__}" for base in type(error).__mro__)
        try:
            again = repr(stream.read())
        except OSError as second:
            again = type(second).__name__
        print(f"INPUT-ERROR-APP {names} {error} again={again}", file=sys.stderr)
        if environ["QUERY_STRING"] != "caught":
            raise
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [type(error).__name__.encode()]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % len(body)]
