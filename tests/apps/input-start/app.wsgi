"""Appends a line to the file that the query string names, then reads the body; answers with the
time at which it was called and the length and SHA-256 of what it read."""

import hashlib
import json
import time
from urllib.parse import unquote


def application(environ, start_response):
    called = time.time()
    if environ["QUERY_STRING"]:
        with open(unquote(environ["QUERY_STRING"]), "a") as file:
            file.write("called\n")
    digest = hashlib.sha256()
    length = 0
    for piece in iter(lambda: environ["wsgi.input"].read(10000), b""):
        digest.update(piece)
        length += len(piece)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps([called, length, digest.hexdigest()]).encode()]
