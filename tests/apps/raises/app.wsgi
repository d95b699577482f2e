"""Raises what the query string says, when it says: `when=start,call,iterate,output&what=ValueError`."""

import builtins
from urllib.parse import parse_qs

import mod_wsgi


def application(environ, start_response):
    query = parse_qs(environ["QUERY_STRING"])
    what = query["what"][0]
    error = getattr(builtins, what, None) or getattr(mod_wsgi, what)
    error = error("told to raise")
    when = query["when"][0]
    if when == "start":
        raise error
    headers = [("Content-Type", "text/plain"), ("X-From", "app")]
    if "length" in query:
        headers.append(("Content-Length", query["length"][0]))
    write = start_response("200 OK", headers)
    if when == "call":
        raise error
    if when == "write":
        write(b"output")
        raise error
    return blocks(when, error)


def blocks(when, error):
    if when == "output":
        yield b"output"
    raise error
