# SPDX-License-Identifier: Apache-2.0
"""What the client and the log get when no daemon process answers a request: 502, 503 or 504."""

import os
import signal

import pytest

from harness.background import Background, HeldRequest
from harness.under_test import OURS
from harness.waiting import wait_until

MOUNTS = """
WSGIProcessGroup main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /pid ${APPS}/pid/app.wsgi
WSGIScriptAlias /hold ${APPS}/hold/app.wsgi
WSGIScriptAlias /die ${APPS}/die/app.wsgi
"""


def with_options(options: str) -> str:
    return f"WSGIDaemonProcess main {options}\n{MOUNTS}"


# 502


@pytest.mark.ours_only("mod_wsgi says that headers were truncated")
@pytest.mark.parametrize(
    ("way", "cause"),
    [
        ("kill", r"was killed by signal 9 \(SIGKILL\)"),
        ("segfault", r"was killed by signal 11 \(SIGSEGV\)"),
        ("abort", r"was killed by signal 6 \(SIGABRT\)"),
        ("exit", "ended with exit code 3"),
    ],
)
def test_request_whose_process_dies_is_told_of_what(server_factory, way, cause):
    server = server_factory(with_options("threads=2"))
    pid = int(server.get("/pid").body)
    response = server.get(f"/die?{way}")
    assert response.status == 502
    assert response.header("retry-after") is None
    server.expect_log(
        rf"WSGI0146: WSGI daemon process 'main' \(pid {pid}\) {cause} while it ran this request",
        count=1,
    )
    server.expect_log("WSGI0303", count=1)
    server.tolerate_log("Fatal Python error|Current thread|Thread 0x|no Python frame")
    server.tolerate_log('File "|Extension modules|^main')


@pytest.mark.ours_only("mod_wsgi does not tell")
def test_response_that_breaks_off_is_told_with_the_cause(server_factory):
    server = server_factory(with_options("threads=2"))
    pid = int(server.get("/pid").body)
    response = server.get("/die?after-output-kill")
    assert (response.status, response.complete) == (200, False)
    server.expect_log(
        rf"WSGI0119: The response is incomplete: .*\(pid {pid}\) was killed by signal 9", count=1
    )
    server.expect_log("WSGI0303", count=1)


@pytest.mark.ours_only("mod_wsgi does not tell")
def test_all_requests_of_a_process_are_told_of_its_end(server_factory, tmp_path_for_server):
    server = server_factory(with_options("threads=4"))
    held = [HeldRequest(server, tmp_path_for_server) for _ in range(3)]
    (pid,) = {request.pid for request in held}
    os.kill(pid, signal.SIGKILL)
    assert [request.result().status for request in held] == [502] * 3
    server.expect_log(rf"WSGI0146: .*\(pid {pid}\) was killed by signal 9", count=3)
    record = server.wait_log("WSGI0303")
    assert "3 requests were running: GET /hold, GET /hold, GET /hold" in record.message
    server.expect_log("WSGI0303", count=1)


# 503


def test_request_that_finds_the_queue_full(server_factory, tmp_path_for_server):
    """One runs, and the kernel's queue of length 0 holds one; the next is told to come again."""
    server = server_factory(with_options("threads=1 listen-backlog=0 connect-timeout=1"))
    held = HeldRequest(server, tmp_path_for_server)
    held.wait_started()
    asked = [Background(lambda: server.get("/pid")) for _ in range(3)]
    wait_until(lambda: sum(request.done for request in asked) == 2, "two requests to be refused")
    refused = [request.result() for request in asked if request.done]
    assert [response.status for response in refused] == [503, 503]
    if OURS:
        assert [response.header("retry-after") for response in refused] == ["5", "5"]
    held.release()
    assert held.result().status == 200
    assert sorted(request.result().status for request in asked) == [200, 503, 503]
    assert server.get("/pid").status == 200
    server.expect_log("WSGI0116: .*'main'.*backlog", count=2)


@pytest.mark.ours_only("mod_wsgi looks again each second only")
def test_request_that_finds_room_in_time(server_factory, tmp_path_for_server):
    server = server_factory(with_options("threads=1 listen-backlog=0 connect-timeout=60"))
    held = HeldRequest(server, tmp_path_for_server)
    held.wait_started()
    waiting = [Background(lambda: server.get("/pid")) for _ in range(5)]
    held.release()
    assert [request.result().status for request in waiting] == [200] * 5


@pytest.mark.ours_only("Retry-After is new")
def test_group_whose_processes_do_not_start_says_when_to_come_again(server_factory):
    server = server_factory(with_options("connect-timeout=1 python-home=/no/such/folder"))
    response = wait_until(
        lambda: (answer := server.get("/pid")).status == 503 and answer, "processes to have failed"
    )
    assert response.header("retry-after") == "30"
    server.expect_log("WSGI0100")
    server.expect_log("WSGI0308.*'main'")
    server.expect_log("WSGI0301.*'main'")


# 504


def test_request_that_takes_too_long(server_factory, tmp_path_for_server):
    server = server_factory(with_options("threads=2 socket-timeout=1"))
    held = HeldRequest(server, tmp_path_for_server)
    pid = held.pid
    assert held.result().status == 504
    held.release()
    assert server.get("/pid").status == 200
    if OURS:
        server.expect_log(rf"WSGI0145: Timeout .* daemon process 'main' \(pid {pid}\)", count=1)
    else:
        server.expect_log("WSGI0145", count=1)
