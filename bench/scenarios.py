# SPDX-License-Identifier: Apache-2.0
"""What is measured: one row here is one more block in the table that `make bench` prints.

A scenario is a WSGI script in apps/ and the answer it must give. What it is served by, and how
that is timed, is in run.py.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    name: str
    """What the table calls it."""
    script: str
    """File in bench/apps, served at /<name>."""
    body: bytes
    """The whole answer; anything else fails the run before it is timed."""
    floor: str = ""
    """The contestant that gives the same answer without WSGI, for a lower bound; empty for none."""
    connections: tuple[int, ...] = ()
    """How many clients at once; as the command line says where this is empty."""
    is_download: bool = False
    """Whether bytes per second are what counts; download.py is the client then."""
    posted: int = 0
    """Bytes of the body of each request; 0 is GET."""
    file: str = ""
    """Name of a file with the body, which is made in ../files, as the scripts see it."""
    sends_file: bool = False
    """Whether the kernel may send files: EnableSendfile, and WSGIEnableSendfile of WSGI's."""


LARGE = 100 * 1000 * 1000
BLOCK = 64 << 10

SCENARIOS = (
    Scenario("hello", "hello.wsgi", b"Hello, World!\n", floor="C handler"),
    Scenario(
        "file",
        "file.wsgi",
        b"0123456789abcdef" * (LARGE // 16),
        floor="httpd static",
        connections=(1, 4),
        is_download=True,
        file="large.bin",
    ),
    Scenario(
        "sendfile",
        "file.wsgi",
        b"0123456789abcdef" * (LARGE // 16),
        floor="httpd static",
        connections=(1, 4),
        is_download=True,
        file="large.bin",
        sends_file=True,
    ),
    Scenario("stream", "stream.wsgi", b"x" * BLOCK * 160, connections=(1, 4), is_download=True),
    Scenario("post-64k", "post.wsgi", b"65536", connections=(16,), posted=64 << 10),
    Scenario("post-1m", "post.wsgi", b"1048576", connections=(16,), posted=1 << 20),
)
