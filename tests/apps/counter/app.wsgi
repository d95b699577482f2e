"""Counts its calls in this interpreter; answers with process, count and application group."""

import json
import os

count = 0


def application(environ, start_response):
    global count
    count += 1
    start_response("200 OK", [("Content-Type", "application/json")])
    body = [os.getpid(), count, environ["mod_wsgi.application_group"]]
    return [json.dumps(body).encode()]
