"""Never calls start_response; returns one block, or none when the query string says so."""


def application(environ, start_response):
    return [] if environ["QUERY_STRING"] == "empty" else [b"body"]
