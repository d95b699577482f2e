# SPDX-License-Identifier: Apache-2.0
"""10 MiB from a generator, in blocks of 64 KiB, of a length that is not told."""

BLOCK = b"x" * (64 << 10)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    for _ in range(160):
        yield BLOCK
