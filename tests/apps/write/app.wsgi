"""Writes the blocks that the query string lists as repr, then returns one more."""

from ast import literal_eval
from urllib.parse import unquote


def application(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    for block in literal_eval(unquote(environ["QUERY_STRING"])):
        write(block)
    return [b"returned"]
