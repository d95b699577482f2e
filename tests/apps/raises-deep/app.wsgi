"""Raises an exception from another one, a few calls deep."""


def application(environ, start_response):
    outer()


def outer():
    try:
        inner()
    except KeyError as error:
        raise RuntimeError("the outer one") from error


def inner():
    raise KeyError("the inner one")
