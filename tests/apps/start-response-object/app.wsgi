"""Answers with facts about start_response itself and what it returns."""

import json


def application(environ, start_response):
    facts = {}
    try:
        start_response(status="200 OK", headers=[])
        facts["keywords"] = "accepted"
    except TypeError:
        facts["keywords"] = "TypeError"
    try:
        start_response("200 OK")
        facts["one argument"] = "accepted"
    except TypeError:
        facts["one argument"] = "TypeError"
    try:
        start_response("200 OK", [], "no exc_info")
        facts["exc_info of another type"] = "accepted"
    except Exception as error:
        facts["exc_info of another type"] = type(error).__name__
    own = type("Headers", (list,), {})([("X-Own", "1")])
    try:
        start_response("200 OK", own)
        facts["a class of its own"] = "accepted"
    except TypeError:
        facts["a class of its own"] = "TypeError"
    write = start_response("200 OK", [("Content-Type", "application/json")], None)
    facts["write is callable"] = callable(write)
    return [json.dumps(facts).encode()]
