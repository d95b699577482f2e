# SPDX-License-Identifier: Apache-2.0
"""Tells the limits of the process as JSON: name to [soft, hard], and its nice value."""

import json
import os
import resource

NAMES = ("RLIMIT_NOFILE", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_AS")


def application(environ, start_response):
    limits = {name: resource.getrlimit(getattr(resource, name)) for name in NAMES}
    limits["nice"] = os.getpriority(os.PRIO_PROCESS, 0)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(limits).encode()]
