"""Sends the file that the query string names by way of wsgi.file_wrapper, as HTML."""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html")])
    return environ["wsgi.file_wrapper"](open(environ["QUERY_STRING"], "rb"))
