# SPDX-License-Identifier: Apache-2.0
"""Starts a subprocess, terminates it, and tells how it ended."""

import subprocess
import sys


def application(environ, start_response):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    process.terminate()
    try:
        ending = str(process.wait(60))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        ending = "it does not hear SIGTERM"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [ending.encode()]
