"""Ends as the query string says: `blocks=raises` after the second one, `length=N`, and what `close=` raises.

`close=writes` writes a further block.
"""

import builtins
from urllib.parse import parse_qs

import mod_wsgi


class Blocks:
    def __init__(self, query, write):
        self.query = query
        self.write = write

    def __iter__(self):
        yield b"one "
        yield b"two"
        if "blocks" in self.query:
            raise ValueError("told to raise in the iteration")

    def close(self):
        name = self.query.get("close", [None])[0]
        if name == "writes":
            self.write(b" closed")
        elif name:
            error = getattr(builtins, name, None) or getattr(mod_wsgi, name)
            raise error("told to raise in close()")


def application(environ, start_response):
    query = parse_qs(environ["QUERY_STRING"])
    headers = [("Content-Type", "text/plain")]
    if "length" in query:
        headers.append(("Content-Length", query["length"][0]))
    return Blocks(query, start_response("200 OK", headers))
