# SPDX-License-Identifier: Apache-2.0
"""shutdown-timeout=0: a process that is told to leave has as long as its requests need, but httpd's
end does not wait for it, nor for a process that cannot end.
"""

import os
import signal
import time

import pytest

from harness.background import Background, HeldRequest
from harness.processes import Process
from harness.waiting import POLL, wait_until

MOUNTS = """
WSGIProcessGroup main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /hold ${APPS}/hold/app.wsgi
WSGIScriptAlias /timed ${APPS}/takes-time/app.wsgi
"""


@pytest.fixture
def server(server_factory):
    server = server_factory(f"WSGIDaemonProcess main threads=2 shutdown-timeout=0\n{MOUNTS}")
    # The application tells why its process leaves.
    server.tolerate_log("process_stopping")
    return server


def wedge(server, folder) -> Process:
    """A process whose GIL a request does not give back for a minute."""
    pid = int(server.get("/timed").text)
    began = folder / "began"
    Background(lambda: server.get(f"/timed/hold-gil/60?{began}"))
    wait_until(began.exists, "the request to begin")
    return Process.of(pid)


def test_process_that_is_told_to_leave_has_no_limit(server, tmp_path_for_server):
    held = HeldRequest(server, tmp_path_for_server)
    process = Process.of(held.pid)
    os.kill(process.pid, signal.SIGTERM)
    end = time.monotonic() + 4
    while time.monotonic() < end:
        assert process.runs
        time.sleep(POLL)
    held.release()
    assert (held.result().status, held.result().text) == (200, str(process.pid))
    wait_until(lambda: not process.runs, "the process to leave")


def test_httpd_does_not_wait_for_a_process_that_cannot_end(server, tmp_path_for_server):
    process = wedge(server, tmp_path_for_server)
    assert server.stop() == []
    assert not process.runs
    server.tolerate_log("WSGI014[567]|WSGI030[79]|AH00045|AH00046")


def test_restart_does_not_leave_a_process_that_cannot_end(server, tmp_path_for_server):
    process = wedge(server, tmp_path_for_server)
    server.restart()
    wait_until(lambda: not process.runs, "the process to end")
    server.tolerate_log("WSGI014[567]|WSGI030[79]|AH00045|AH00046")


@pytest.mark.ours_only("mod_wsgi has no supervisor")
def test_process_that_cannot_end_does_so_without_supervisor(server, tmp_path_for_server):
    process = wedge(server, tmp_path_for_server)
    (supervisor,) = server.supervisors
    os.kill(supervisor.pid, signal.SIGKILL)
    wait_until(lambda: not process.runs, "the process to end")
    server.expect_log("WSGI0312")
    server.tolerate_log("WSGI014[567]")
