"""Starts a process that writes a line to its standard error whenever the file that the query string
names appears, and removes it; tells both process ids."""

import os
import subprocess

WRITER = """
while :; do
    if [ -e "$0" ]; then rm "$0" && echo "$$ writes" >&2; fi
    sleep 0.05
done
"""


def application(environ, start_response):
    command = ["/bin/sh", "-c", WRITER, environ["QUERY_STRING"]]
    writer = subprocess.Popen(command, start_new_session=True)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d %d" % (os.getpid(), writer.pid)]
