"""Its application takes one argument only."""


def application(environ):
    return [b"never"]
