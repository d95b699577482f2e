# SPDX-License-Identifier: Apache-2.0
"""An upload is never held whole in memory: no process grows by more than 16 MiB, whatever its size.

MOD_WSGI_TEST_UPLOAD says how many MiB are sent; the bound is the same for 1024.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.configuration import ONE_CHILD
from harness.under_test import OURS

MIB = 1 << 20
UPLOAD = int(os.environ.get("MOD_WSGI_TEST_UPLOAD", "128")) * MIB
BOUND = 16 * MIB
PIECE = bytes(range(256)) * 256

# Path, and what the group says of body-spool.
WAYS = {
    "embedded": None,
    "pulled": "body-spool=0",
    "announced": "",
    "disk": "body-spool=64K,disk",
}


@pytest.fixture(scope="module")
def server(module_server_factory):
    lines = ["WSGIApplicationGroup %{GLOBAL}", "WSGIChunkedRequest On", "LimitRequestBody 0"]
    # A child that has not loaded Python yet would grow by that.
    lines.append(ONE_CHILD)
    for way, spool in WAYS.items():
        group = "%{GLOBAL}"
        if spool is not None:
            group = way
            lines.append(f"WSGIDaemonProcess {way} threads=2 {spool if OURS else ''}")
        lines += [
            f"WSGIScriptAlias /{way}/{name} ${{APPS}}/{name}/app.wsgi process-group={group}"
            for name in ("input-digest", "input-unread")
        ]
    return module_server_factory("\n".join(lines) + "\n")


def memory(server) -> dict[int, int]:
    """What each process has resident; peaks count from here on."""
    processes = server.tree.processes()
    for process in processes:
        # proc(5): 5 sets the peak back to what is resident now.
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")
    return {process.pid: peak(process.pid) for process in processes}


def peak(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def growth(server, before: dict[int, int]) -> int:
    """By how much the process that grew most did."""
    assert before.keys() == {process.pid for process in server.tree.processes()}
    return max(peak(pid) - size for pid, size in before.items())


def pieces() -> Iterator[bytes]:
    for _ in range(UPLOAD // len(PIECE)):
        yield PIECE


def post(server, path: str, framing: str):
    """As Server.post, without a copy of the body in this process."""
    with server.connection() as connection:
        if framing == "chunked":
            return connection.request(path, method="POST", body=pieces())
        client = connection._connection
        client.putrequest("POST", path)
        client.putheader("Content-Length", str(UPLOAD))
        client.endheaders()
        for piece in pieces():
            client.send(piece)
        return connection.response()


@pytest.mark.parametrize(
    ("reader", "framing"),
    [("blocks", "length"), ("blocks", "chunked"), ("lines", "length"), ("unread", "length")],
)
@pytest.mark.parametrize("way", WAYS)
def test_upload_is_not_held_in_memory(server, way, reader, framing):
    path = f"/{way}/input-unread" if reader == "unread" else f"/{way}/input-digest?{reader}"
    # What is loaded and kept from the first request on is not the upload's.
    for _ in range(3):
        assert server.post(path, PIECE * 16).status == 200
    before = memory(server)
    response = post(server, path, framing)
    assert response.status == 200
    if reader != "unread":
        digest = hashlib.sha256()
        for piece in pieces():
            digest.update(piece)
        assert response.json[:2] == [UPLOAD, digest.hexdigest()]
    assert growth(server, before) <= BOUND


@pytest.mark.parametrize("way", WAYS)
def test_what_an_application_holds_is_seen(server, way):
    """The measure above can fail: here the application reads all at once."""
    path = f"/{way}/input-digest?whole"
    assert server.post(path, PIECE).status == 200
    before = memory(server)
    assert server.post(path, PIECE * 512).status == 200
    assert growth(server, before) > BOUND
