# SPDX-License-Identifier: Apache-2.0
"""Tells the soft limit on open descriptors."""

import resource


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]).encode()]
