"""Runs sys.executable, and a function in a process of multiprocessing; answers with both results."""

import json
import multiprocessing
import subprocess
import sys


def application(environ, start_response):
    code = "import sys; print(sys.prefix)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        powers = pool.map(abs, [-1, -2, -3])
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps([result.stdout.strip(), sys.prefix, powers]).encode()]
