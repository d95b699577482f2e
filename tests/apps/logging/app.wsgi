"""Logs with the logging module's default handler of last resort."""

import logging


def application(environ, start_response):
    logging.getLogger("app").warning("LOGGING-APP a warning")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"logged"]
