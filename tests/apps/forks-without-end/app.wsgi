# SPDX-License-Identifier: Apache-2.0
"""Forks until it may not, or 200 times, and answers with how often it could. Its children wait until
it has answered, or ended."""

import os


def application(environ, start_response):
    waiting, alive = os.pipe()
    children = []
    try:
        while len(children) < 200:
            child = os.fork()
            if child == 0:
                os.close(alive)
                os.read(waiting, 1)
                os._exit(0)
            children.append(child)
    except BlockingIOError:
        pass
    os.close(alive)
    os.close(waiting)
    for child in children:
        os.waitpid(child, 0)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(len(children)).encode()]
