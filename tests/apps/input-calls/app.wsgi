"""Calls the methods of wsgi.input that the query string lists as repr; answers with the results."""

import json
from ast import literal_eval
from urllib.parse import unquote


def application(environ, start_response):
    stream = environ["wsgi.input"]
    results = []
    for name, *arguments in literal_eval(unquote(environ["QUERY_STRING"])):
        try:
            if name == "list":
                result = repr(list(stream))
            elif name == "next":
                result = repr(next(stream))
            else:
                result = repr(getattr(stream, name)(*arguments))
        except BaseException as error:
            result = type(error).__name__
        results.append(result)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(results).encode()]
