"""Tells the log of signals that its process gets, and answers with its pid."""

import os

import mod_wsgi


@mod_wsgi.subscribe_signals
def signalled(name, signame, signum, **payload):
    print(name, signame, signum, flush=True)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
