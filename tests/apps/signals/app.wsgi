"""Sets a signal's handler, here or in a child process, and answers with what came of it as JSON."""

import json
import os
import signal


def handler(number, frame):
    pass


def here():
    before = signal.getsignal(signal.SIGURG)
    try:
        returned = signal.signal(signal.SIGURG, handler)
    except ValueError as error:
        return f"ValueError: {error}"
    after = signal.getsignal(signal.SIGURG)
    return [returned is handler, after is before, after is handler]


def forked():
    pid = os.fork()
    if not pid:
        status = 9
        try:
            # Python's own rule: only the thread that forked is left, and is the main one.
            signal.signal(signal.SIGURG, handler)
            status = 0 if signal.getsignal(signal.SIGURG) is handler else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def application(environ, start_response):
    value = {"here": here, "forked": forked}[environ["QUERY_STRING"]]()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(value).encode()]
