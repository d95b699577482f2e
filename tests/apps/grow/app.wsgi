# SPDX-License-Identifier: Apache-2.0
"""Keeps as many MiB in memory as the query string says, and answers with its pid."""

import os

kept = []


def application(environ, start_response):
    kept.append(b"x" * (int(environ["QUERY_STRING"] or 0) << 20))
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
