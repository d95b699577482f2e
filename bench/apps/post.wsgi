# SPDX-License-Identifier: Apache-2.0
"""Reads the whole body; answers with its length."""


def application(environ, start_response):
    answer = b"%d" % len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]
