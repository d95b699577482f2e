"""A handler script: answers with its environ as JSON, as `environ` does."""

import json


def handle_request(environ, start_response):
    described = {}
    for key, value in environ.items():
        plain = isinstance(value, (str, int, float, bool, tuple, list))
        described[key] = [type(value).__name__, value if plain else repr(value)]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [environ["wsgi.input"].read() or json.dumps(described).encode()]
