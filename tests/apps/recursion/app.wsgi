"""Calls itself without end."""


def application(environ, start_response):
    return application(environ, start_response)
