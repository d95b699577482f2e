"""Starts a process that leaves the process tree and stays, as no application should."""

import subprocess


def application(environ, start_response):
    shell = "setsid sleep 600 >/dev/null 2>&1 </dev/null & echo $!"
    result = subprocess.run(["/bin/sh", "-c", shell], capture_output=True)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [result.stdout.strip()]
