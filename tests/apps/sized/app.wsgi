"""Answers with as many bytes as the query string says: `blocks=SIZE` or `file=PATH`; `pause=S` before
each block; `iterated` for a generator over the file."""

import time
from urllib.parse import parse_qs

BLOCK = b"0123456789abcdef" * 4096


def application(environ, start_response):
    query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    if "file" in query:
        file = environ["wsgi.file_wrapper"](open(query["file"], "rb"))
        return (block for block in file) if "iterated" in query else file
    return blocks(int(query["blocks"]), float(query.get("pause", 0)))


def blocks(size, pause):
    while size > 0:
        if pause:
            time.sleep(pause)
        block = BLOCK[:size]
        yield block
        size -= len(block)
