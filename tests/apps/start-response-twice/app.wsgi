"""Calls start_response a second time, as the query string says; answers with what happened."""

import sys
import traceback


class Told(Exception):
    pass


def raise_told():
    raise Told("after output")


def application(environ, start_response):
    case = environ["QUERY_STRING"]
    write = start_response("200 First", [("X-First", "1")])
    if case == "before-output":
        start_response("202 Second", [("X-Second", "2")])
        return [b"second"]
    if case == "before-output-exc-info":
        try:
            raise Told("no output yet")
        except Told:
            start_response("500 Told", [("X-Second", "2")], sys.exc_info())
        return [b"told"]
    write(b"" if case.endswith("empty-write") else b"output ")
    try:
        raise_told()
    except Told:
        try:
            exc_info = sys.exc_info() if "exc-info" in case else None
            if case in ("short-exc-info", "empty-exc-info"):
                exc_info = exc_info[:2] if case == "short-exc-info" else ()
            start_response("500 Told", [("X-Second", "2")], exc_info)
        except Exception as error:
            if case == "traceback-exc-info":
                frames = traceback.extract_tb(error.__traceback__)
                return [" ".join(frame.name for frame in frames).encode()]
            return [type(error).__name__.encode(), b" ", str(error).encode()]
    return [b"accepted"]
