"""Evaluates the Python expressions that the body lists as repr; answers with what each of them raised.

What the last request had is still there as `over`.
"""

import io
import json
from ast import literal_eval
from types import SimpleNamespace

import mod_wsgi

over = None


class Gives:
    """A file-like object whose read() gives what it was made with."""

    def __init__(self, what):
        self.what = what

    def read(self, size):
        return self.what


def closed(wrapper):
    made = wrapper(io.BytesIO(b"data"))
    made.close()
    return made


def raised(expression, names):
    try:
        eval(expression, names)
    except Exception as error:
        return [type(error).__name__, str(error)]
    return None


def application(environ, start_response):
    global over
    expressions = literal_eval(environ["wsgi.input"].read().decode())
    here = SimpleNamespace(
        adapter=start_response.__self__,
        start_response=start_response,
        write=start_response.__self__.write,
        input=environ["wsgi.input"],
        errors=environ["wsgi.errors"],
    )
    names = {"FileWrapper": mod_wsgi.FileWrapper, "Gives": Gives, "closed": closed, "io": io}
    names |= {"over": over} | vars(here)
    results = [raised(expression, names) for expression in expressions]
    over = here
    try:
        start_response("200 OK", [("Content-Type", "application/json")])
    except RuntimeError:
        # The head went with the call of write().
        pass
    return [json.dumps(results).encode()]
