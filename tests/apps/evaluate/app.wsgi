"""Answers with the repr of the Python expression in the query string, or of what it raises."""

import builtins
import os
import signal
import sys
import warnings
from urllib.parse import unquote

import mod_wsgi


def application(environ, start_response):
    expression = unquote(environ["QUERY_STRING"])
    names = {"environ": environ, "name": __name__, "warnings": warnings, "builtins": builtins}
    names |= {"mod_wsgi": mod_wsgi, "os": os, "signal": signal, "sys": sys}
    try:
        value = eval(expression, names)
    except Exception as error:
        value = error
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr(value).encode()]
