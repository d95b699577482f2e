"""Reads the body in the way the query string says; answers with its length and SHA-256."""

import hashlib
import json


def application(environ, start_response):
    stream = environ["wsgi.input"]
    way = environ["QUERY_STRING"]
    digest = hashlib.sha256()
    length = 0
    if way == "whole":
        pieces = [stream.read()]
    elif way == "blocks":
        pieces = iter(lambda: stream.read(10000), b"")
    elif way == "lines":
        pieces = stream
    else:
        pieces = iter(lambda: stream.readline(5000), b"")
    for piece in pieces:
        digest.update(piece)
        length += len(piece)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps([length, digest.hexdigest(), environ.get("CONTENT_LENGTH")]).encode()]
