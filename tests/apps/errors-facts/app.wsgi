"""Answers with facts about the three output streams."""

import io
import json
import sys


def facts(stream):
    try:
        stream.fileno()
        fileno = "works"
    except Exception as error:
        fileno = "OSError" if isinstance(error, OSError) else type(error).__name__
    return {
        "is a text stream": isinstance(stream, io.TextIOWrapper),
        "name": stream.name,
        "encoding": stream.encoding,
        "errors": stream.errors,
        "isatty": stream.isatty(),
        "closed": stream.closed,
        "line_buffering": stream.line_buffering,
        "fileno": fileno,
    }


def application(environ, start_response):
    streams = {"errors": environ["wsgi.errors"], "stdout": sys.stdout, "stderr": sys.stderr}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({name: facts(stream) for name, stream in streams.items()}).encode()]
