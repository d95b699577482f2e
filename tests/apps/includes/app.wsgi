"""Has the page that the query string names included in its own by httpd, twice."""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html")])
    element = b'<!--#include virtual="%s" -->' % environ["QUERY_STRING"].encode("latin-1")
    yield b"one " + element
    yield b"two " + element
