"""Answers with what the object does whose method start_response is, before and after the call."""

import json


def outcome(call, *arguments):
    try:
        return repr(call(*arguments))
    except Exception as error:
        return type(error).__name__


def application(environ, start_response):
    adapter = start_response.__self__
    facts = {
        "type": type(adapter).__name__,
        "write before start_response": outcome(adapter.write, b"early"),
        "ssl_is_https": outcome(adapter.ssl_is_https),
        "a variable": outcome(adapter.ssl_var_lookup, "SSL_PROTOCOL"),
        "its name as bytes": outcome(adapter.ssl_var_lookup, b"SSL_PROTOCOL"),
        "no such variable": outcome(adapter.ssl_var_lookup, "NO_SUCH"),
        "name of another type": outcome(adapter.ssl_var_lookup, 1),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(facts).encode()]
