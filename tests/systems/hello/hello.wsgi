# SPDX-License-Identifier: Apache-2.0
"""A diagnostic application: which process answers, as whom, and what it was asked."""

import grp
import os
import pwd
import sys
from urllib.parse import parse_qsl


def application(environ, start_response):
    lines = [
        ("Process", os.getpid()),
        ("Parent process", os.getppid()),
        ("User", pwd.getpwuid(os.geteuid()).pw_name),
        ("Group", grp.getgrgid(os.getegid()).gr_name),
        ("Python", sys.prefix),
    ]
    lines += [(f"query {name}", value) for name, value in parse_qsl(environ["QUERY_STRING"])]
    lines += [(f"environ {name}", environ[name]) for name in sorted(environ)]
    body = "".join(f"{name}: {value}\n" for name, value in lines).encode()
    start_response(
        "200 OK",
        [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))],
    )
    return [body]
