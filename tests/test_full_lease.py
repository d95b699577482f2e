# SPDX-License-Identifier: Apache-2.0
"""httpd children that cannot tell the supervisor anything, as it has not yet read what was said
before: they and their ends are noticed all the same.
"""

import os
import signal
import time

import pytest

from harness.background import Background, HeldRequest
from harness.processes import Process
from harness.waiting import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi has no supervisor")

CONFIG = """
Timeout 7
WSGIDaemonProcess main processes=2 threads=1 socket-timeout=7
WSGIProcessGroup main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /pid ${APPS}/pid/app.wsgi
WSGIScriptAlias /hold ${APPS}/hold/app.wsgi
WSGIScriptAlias /other ${APPS}/pid/app.wsgi application-group=other
"""


@pytest.fixture
def server(server_factory):
    server = server_factory(CONFIG)
    wait_until(lambda: len(server.find_log("is ready")) == 2, "two processes")
    assert server.get("/pid").status == 200
    return server


def fill_lease(server) -> Process:
    """Stops the supervisor, and has requests ask it for a set, once a second each, until it has
    more to read than the kernel keeps. The result is the supervisor."""
    (supervisor,) = server.supervisors
    os.kill(supervisor.pid, signal.SIGSTOP)
    wait_until(lambda: supervisor.state == "T", "the supervisor to stop")
    requests = [Background(lambda: server.get("/other")) for _ in range(20)]
    assert {request.result().status for request in requests} == {503}
    server.expect_log("WSGI0302", count=20)
    return supervisor


def go_on(server, supervisor: Process) -> None:
    os.kill(supervisor.pid, signal.SIGCONT)
    wait_until(lambda: server.find_log("'other' (takes|starts)"), "it to read")


def replace_child(server) -> Process:
    """Kills the httpd child; the result is the next one."""
    (before,) = server.httpd_children
    os.kill(before.pid, signal.SIGKILL)

    def another():
        return [child for child in server.httpd_children if child != before]

    (child,) = wait_until(another, "another httpd child")
    return child


@pytest.fixture
def threaded(mpm) -> None:
    if mpm == "prefork":
        pytest.skip("a child of prefork has one request at a time")


@pytest.mark.parametrize("heard", ["before its end", "after its end"])
def test_end_of_a_child_that_could_not_say_that_it_exists(
    threaded, server, heard, tmp_path_for_server
):
    supervisor = fill_lease(server)
    child = replace_child(server)
    held = HeldRequest(server, tmp_path_for_server)
    held.wait_started()
    if heard == "before its end":
        go_on(server, supervisor)
    os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: child not in server.httpd_children, "its end")
    wait_until(lambda: server.httpd_children, "the next one")
    if heard == "after its end":
        go_on(server, supervisor)
    held.release()
    # A request that counts for ever would make its process look busy: the second has to wait.
    another = HeldRequest(server, tmp_path_for_server)
    another.wait_started()
    began = time.monotonic()
    assert int(server.get("/pid").text) != another.pid
    assert time.monotonic() - began < 0.9
    another.release()
    assert another.result().status == 200
    server.tolerate_log("AH00052")


def test_stop_of_a_child_that_could_not_say_that_it_exists(threaded, server, tmp_path_for_server):
    """Its request goes on, which only the supervisor can end before httpd kills the child."""
    supervisor = fill_lease(server)
    child = replace_child(server)
    held = HeldRequest(server, tmp_path_for_server)
    process = Process.of(held.pid)
    go_on(server, supervisor)
    (address, *_) = server.daemon_sockets
    stop = Background(server.stop)
    wait_until(lambda: address not in server.daemon_sockets, "the process to take no more requests")
    assert process.runs
    assert child.runs
    held.release()
    assert stop.result() == []
    server.tolerate_log("AH00052|WSGI014[567]|AH00045")
