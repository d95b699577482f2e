"""Answers with its environ as JSON: {key: [name of the value's type, the value or its repr]}."""

import json


def application(environ, start_response):
    described = {}
    for key, value in environ.items():
        plain = isinstance(value, (str, int, float, bool, tuple, list))
        described[key] = [type(value).__name__, value if plain else repr(value)]
    body = json.dumps(described).encode()
    start_response(
        "200 OK",
        [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("X-Environ-Type", type(environ).__name__),
            ("X-Method", environ["REQUEST_METHOD"]),
        ],
    )
    return [body]
