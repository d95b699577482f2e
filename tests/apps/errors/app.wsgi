"""Writes to the stream that the query string names: a line, a non-ASCII one, several, a rest."""

import sys


def application(environ, start_response):
    stream = {
        "errors": environ["wsgi.errors"],
        "stdout": sys.stdout,
        "stderr": sys.stderr,
    }[environ["QUERY_STRING"]]
    stream.write("ERRORS-APP a line\n")
    stream.write("ERRORS-APP in ")
    stream.write("pieces\n")
    stream.writelines(["ERRORS-APP first\n", "ERRORS-APP second\n"])
    stream.write("ERRORS-APP gr\u00fc\u00df\n")
    stream.write("ERRORS-APP one\nERRORS-APP two\n")
    stream.flush()
    print("ERRORS-APP printed", 1, 2, file=stream)
    stream.write("ERRORS-APP the rest")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]
