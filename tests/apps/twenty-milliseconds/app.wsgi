# SPDX-License-Identifier: Apache-2.0
"""Takes 20 ms, as a page that asks a database does, and answers with the pid."""

import os
import time


def application(environ, start_response):
    time.sleep(0.02)
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
