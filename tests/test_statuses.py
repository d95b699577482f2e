# SPDX-License-Identifier: Apache-2.0
"""Statuses that are neither the application's nor the mapping's: what goes wrong, or takes too
long, between httpd and a daemon process.

Processes that die are in test_bad_input.py, what stops a request earlier is in test_mapping.py.
"""

import time
from urllib.parse import quote

import pytest

from harness.background import Background, HeldRequest
from harness.client import Response
from harness.plugin import differs
from harness.under_test import OURS
from harness.waiting import wait_until

MOUNTS = """
WSGIApplicationGroup %{GLOBAL}
WSGIProcessGroup main
WSGIScriptAlias /hold ${APPS}/hold/app.wsgi
WSGIScriptAlias /hello ${APPS}/hello/app.wsgi
WSGIScriptAlias /respond ${APPS}/respond/app.wsgi
WSGIScriptAlias /digest ${APPS}/input-digest/app.wsgi
"""


def with_options(options: str) -> str:
    return f"WSGIDaemonProcess main {options}\n{MOUNTS}"


def test_request_that_waited_too_long(server_factory, tmp_path_for_server):
    """queue-timeout: it is not given to the application any more."""
    server = server_factory(with_options("threads=1 queue-timeout=1"))
    held = HeldRequest(server, tmp_path_for_server).wait_started()
    start = time.monotonic()
    waiting = Background(lambda: server.get("/hello"))
    wait_until(lambda: waiting.done or time.monotonic() > start + 3, "the timeout to pass")
    held.release()
    assert held.result().status == 200
    assert waiting.result().status == 504
    server.expect_log("WSGI0084", count=1)
    assert server.get("/hello").status == 200


def test_request_that_waited_less(server_factory, tmp_path_for_server):
    server = server_factory(with_options("threads=1 queue-timeout=60"))
    held = HeldRequest(server, tmp_path_for_server).wait_started()
    waiting = Background(lambda: server.get("/hello"))
    held.release()
    assert held.result().status == waiting.result().status == 200


def test_application_that_says_nothing(server_factory, tmp_path_for_server):
    """socket-timeout: httpd gives up, the application goes on."""
    server = server_factory(with_options("threads=2 socket-timeout=1"))
    held = HeldRequest(server, tmp_path_for_server).wait_started()
    assert held.result().status == 504
    record = server.wait_log("WSGI0145")
    assert "127.0.0.1:" in record.message
    server.expect_log("WSGI0145", count=1)
    held.release()
    assert server.get("/hello").status == 200


def test_timeout_is_that_of_httpd_by_default(server_factory, tmp_path_for_server):
    server = server_factory(f"Timeout 1\n{with_options('threads=2')}")
    held = HeldRequest(server, tmp_path_for_server).wait_started()
    assert held.result().status == 504
    server.expect_log("WSGI0145", count=1)
    held.release()


@pytest.mark.difference("a body that comes too slowly is TimeoutError, an OSError")
@pytest.mark.parametrize("option", ["", "socket-timeout=60"])
def test_client_that_stops_in_the_middle_of_the_body(server_factory, option):
    """The time for the client is httpd's Timeout, whatever the time for the socket is. The body is
    too large to be read before the application is called."""
    server = server_factory(f"Timeout 1\n{with_options(option)}")
    with server.raw() as raw:
        raw.send(b"POST /digest HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\nx")
        assert raw.receive_all().split()[1] == b"408"
    server.tolerate_log("WSGI0126|AH0")
    error = differs(upstream="OSError", ours="TimeoutError")
    server.expect_traceback(error, count=1)


def respond(server, host: str, *headers: tuple[str, str]) -> Response:
    """What the group that `host` chooses answers, with these headers."""
    query = quote(repr(("200 OK", list(headers), [b"body"])))
    return server.get(f"/respond?{query}", host=host)


@pytest.fixture(scope="module")
def buffers(module_server_factory):
    # The request line is as long as the header it asks for.
    return module_server_factory(
        f"LimitRequestLine 200000\n{with_options('')}\n"
        "WSGIDaemonProcess small header-buffer-size=8192\n"
        "<If \"%{HTTP_HOST} == 'small'\">\nWSGIProcessGroup small\n</If>"
    )


@pytest.mark.parametrize(("host", "length"), [("localhost", 32000), ("small", 8000)])
def test_header_that_just_fits(buffers, host, length):
    response = respond(buffers, host, ("X-Long", "x" * length))
    assert (response.status, response.header("x-long")) == (200, "x" * length)


@pytest.mark.difference("without header-buffer-size no header is too long")
def test_header_beyond_the_default_of_mod_wsgi(buffers):
    response = respond(buffers, "localhost", ("X-Long", "x" * 33000))
    assert response.status == differs(upstream=500, ours=200)
    if not OURS:
        buffers.expect_log("WSGI0144", count=1)


def test_header_that_is_too_long(buffers):
    assert respond(buffers, "small", ("X-Long", "x" * 8300)).status == 500
    record = buffers.wait_log("WSGI0144")
    assert "127.0.0.1:" in record.message
    buffers.expect_log("WSGI0144", count=1)


def test_several_headers_are_not_one(buffers):
    response = respond(buffers, "small", *((f"X-Long-{n}", "x" * 6000) for n in range(10)))
    assert response.status == 200
    assert {response.header(f"x-long-{n}") for n in range(10)} == {"x" * 6000}
