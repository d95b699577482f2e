"""Keeps wsgi.input, wsgi.errors and start_response; the next request tells what they do now."""

import json

kept = {}


def application(environ, start_response):
    results = {}
    if kept:
        calls = {
            "read": lambda: kept["input"].read(),
            "readline": lambda: kept["input"].readline(),
            "readlines": lambda: kept["input"].readlines(),
            "next": lambda: next(kept["input"]),
            "iter": lambda: list(kept["input"]),
            "close": lambda: kept["input"].close(),
            "errors": lambda: kept["errors"].write("too late\n"),
            "flush": lambda: kept["errors"].flush(),
            "write": lambda: kept["write"](b"too late"),
            "start_response": lambda: kept["start_response"]("200 OK", []),
            "ssl": lambda: kept["start_response"].__self__.ssl_is_https(),
        }
        for name, call in calls.items():
            try:
                results[name] = repr(call())
            except Exception as error:
                results[name] = type(error).__name__
    kept["input"] = environ["wsgi.input"]
    kept["errors"] = environ["wsgi.errors"]
    kept["start_response"] = start_response
    kept["write"] = start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(results).encode()]
