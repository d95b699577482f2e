"""Writes the blocks that the query string lists as repr, then returns one more; `length=N&blocks=` adds
a Content-Length."""

from ast import literal_eval
from urllib.parse import unquote


def application(environ, start_response):
    query = environ["QUERY_STRING"]
    headers = [("Content-Type", "text/plain")]
    if query.startswith("length="):
        length, _, query = query.removeprefix("length=").partition("&blocks=")
        headers.append(("Content-Length", length))
    write = start_response("200 OK", headers)
    for block in literal_eval(unquote(query)):
        write(block)
    return [b"returned"]
