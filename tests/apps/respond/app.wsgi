"""Answers as the query string says: the repr of (status, headers, list of blocks)."""

from ast import literal_eval
from urllib.parse import unquote_to_bytes


def application(environ, start_response):
    query = unquote_to_bytes(environ["QUERY_STRING"]).decode()
    status, headers, blocks = literal_eval(query)
    start_response(status, headers)
    return blocks
