"""Calls start_response with the arguments that the body holds as repr; answers with what it raised."""

import json
from ast import literal_eval


def application(environ, start_response):
    arguments = literal_eval(environ["wsgi.input"].read().decode())
    try:
        start_response(*arguments)
        raised = ["", ""]
    except Exception as error:
        raised = [type(error).__name__, str(error)]
        start_response("299 Raised", [("Content-Type", "application/json")])
    return [json.dumps(raised).encode()]
