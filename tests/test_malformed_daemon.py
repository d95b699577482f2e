# SPDX-License-Identifier: Apache-2.0
"""A daemon process that does not keep to the protocol: the client gets 502 or 504, or a response
that is visibly incomplete, the log one line, and the httpd child stays as it was.

What stands for the process is doubles/malformed_daemon.py, which knows what each name here sends.
"""

import itertools
import sys
from pathlib import Path

import pytest

from harness.waiting import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi's protocol is another one")

DOUBLE = Path(__file__).parent / "doubles" / "malformed_daemon.py"
sys.path.insert(0, str(DOUBLE.parent))

from malformed_daemon import SENT  # noqa: E402

NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def server(module_server_factory):
    server = module_server_factory(
        """
WSGIDaemonProcess bad python-home=${ROOT}/double socket-timeout=2
WSGIDaemonProcess good threads=3
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /bad ${APPS}/hello/app.wsgi process-group=bad
WSGIScriptAlias /hello ${APPS}/hello/app.wsgi process-group=good
""",
        start=False,
    )
    server.write("double/bin/python", DOUBLE.read_bytes()).chmod(0o755)
    server.start()
    return server


@pytest.fixture(autouse=True)
def health(server):
    """After each test: the same children, with no more descriptors, answer for a good group."""
    ask(server, "whole")
    children = {child.pid for child in server.httpd_children}
    before = descriptors(server)
    yield
    assert (server.get("/hello").status, server.get("/hello").body) == (200, b"Hello World!\n")
    assert ask(server, "whole").body == b"fine"
    assert {child.pid for child in server.httpd_children} == children
    wait_until(lambda: descriptors(server) <= before + 3, lambda: f"{before} descriptors again")


def descriptors(server) -> int:
    return sum(len(child.descriptors) for child in server.httpd_children)


def ask(server, name: str):
    return server.get(f"/bad/{name}/{next(NUMBERS)}", headers={"Connection": "close"})


# Those after which the response has begun.
BEGUN = {
    "absurd-data",
    "long-data",
    "long-end",
    "head-twice",
    "error-late",
    "reject-late",
    "file-no-descriptor",
}


@pytest.mark.parametrize("name", sorted(SENT.keys() - BEGUN - {"whole"}))
def test_nonsense_in_place_of_a_response(server, name):
    for _ in range(3):
        response = ask(server, name)
        assert response.status == 502
        assert response.header("x-split") is None
    server.expect_log(r"WSGI0147: .*'bad' \(pid \d+\): it sent nonsense: ", count=3)


@pytest.mark.parametrize("name", sorted(BEGUN))
def test_nonsense_after_the_beginning(server, name):
    for _ in range(3):
        response = ask(server, name)
        assert (response.status, response.complete) == (200, False)
        assert response.body in (b"", b"begun")
    server.expect_log(r"WSGI0119: .*'bad' \(pid \d+\) is incomplete: it sent nonsense: ", count=3)


def test_what_is_no_regular_file_is_not_sent(server):
    kinds = ("directory", "socket", "pipe", "device", "write-only")
    for name in kinds:
        response = ask(server, f"file-of-{name}")
        assert (response.status, response.complete) == (200, False), name
        assert response.body in (b"", b"begun"), name
    server.expect_log("WSGI0119.*descriptor of a file", count=len(kinds))


def test_regular_file_is_sent(server):
    response = ask(server, "file-of-file")
    assert (response.status, response.complete) == (200, True)
    assert response.body == b"begun" + DOUBLE.read_bytes()[:10]


@pytest.mark.parametrize("name", ["file-beyond", "file-absurd"])
def test_part_of_a_file_that_is_not_there(server, name):
    response = ask(server, name)
    assert (response.status, response.complete) == (200, False)
    assert len(response.body) <= 5 + len(DOUBLE.read_bytes())
    server.tolerate_log("WSGI0119|AH")


def test_file_before_the_head(server):
    assert ask(server, "file-first").status == 502
    server.expect_log("WSGI0147", count=1)


def test_thousands_of_descriptors(server):
    for _ in range(5):
        assert ask(server, "descriptors").status == 502
    server.expect_log("WSGI0147", count=5)


@pytest.mark.parametrize("name", ["left-over", "descriptor-left-over"])
def test_more_than_a_response(server, name):
    """The response counts; the connection is not used again."""
    for _ in range(5):
        response = ask(server, name)
        assert (response.status, response.body) == (200, b"fine")


def test_response_byte_by_byte(server):
    assert ask(server, "bytewise").body == b"fine"


def test_pulls_without_end_of_a_body_that_is_not_there(server):
    assert ask(server, "pulls").body == b"fine"


def test_logs_of_all_levels(server):
    assert ask(server, "logs").body == b"fine"
    server.expect_log("DOUBLE")


@pytest.mark.parametrize("name", ["half-header", "half-head", "nothing"])
def test_end_within_a_frame(server, name):
    assert ask(server, name).status == 502
    server.expect_log("WSGI0146.*closed the connection", count=1)


def test_end_within_data(server):
    response = ask(server, "half-data")
    assert (response.status, response.complete) == (200, False)
    server.expect_log("WSGI0119.*closed the connection", count=1)


@pytest.mark.parametrize("name", ["stall", "stall-half-header", "stall-half-head"])
def test_pause_within_a_frame(server, name):
    assert ask(server, name).status == 504
    server.expect_log("WSGI0145", count=1)


def test_pause_within_data(server):
    response = ask(server, "stall-half-data")
    assert (response.status, response.complete) == (200, False)
    server.expect_log("WSGI0119.*sent nothing in time", count=1)


def test_process_that_closes_every_connection_before_the_start(server):
    """It looks as if the request could go to another process, but does so for ever."""
    assert ask(server, "unstarted-nothing").status in (502, 503)
    server.expect_log("WSGI0124|WSGI0146|WSGI0302", count=1)
