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
WSGIScriptAlias /run-code ${APPS}/run-code/app.wsgi
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


# Says on the control socket again and again that a signal tells the process to leave.
LIAR = """
import os, struct, time
while True:
    time.sleep(0.1)
    os.write(3, struct.pack("<IIq", 3, 1, 0))
"""


@pytest.mark.ours_only("daemon processes of mod_wsgi have no supervisor to talk to")
def test_process_that_cannot_end_gains_no_time_by_what_it_says(server, tmp_path_for_server):
    began = tmp_path_for_server / "began"
    code = f"""
import ctypes, subprocess, sys
subprocess.Popen([sys.executable, "-c", {LIAR!r}], pass_fds=[3], stderr=subprocess.DEVNULL)
open({str(began)!r}, "w").close()
ctypes.PyDLL(None).sleep(60)
"""
    process = Process.of(int(server.get("/timed").text))
    Background(lambda: server.post("/run-code", code.encode()))
    wait_until(began.exists, "the request to begin")
    server.restart()
    wait_until(lambda: not process.runs, "the process to end")
    server.tolerate_log("WSGI014[567]|WSGI030[79]|AH00045|AH00046")


@pytest.mark.ours_only("mod_wsgi waits without end")
def test_request_that_is_out_of_time_is_not_waited_for(server_factory):
    options = "request-timeout=1 graceful-timeout=1 shutdown-timeout=0"
    server = server_factory(f"WSGIDaemonProcess main threads=2 {options}\n{MOUNTS}")
    process = Process.of(int(server.get("/timed").text))
    assert server.get("/timed/sleep/600").status == 504
    wait_until(lambda: not process.runs, "the process to end")
    server.tolerate_log("process_stopping|File|time.sleep|WSGI0340|WSGI0307")
    server.expect_log("WSGI0309", count=1)
    server.expect_log("WSGI0328", count=1)


@pytest.mark.ours_only("mod_wsgi waits without end")
def test_exit_functions_do_not_keep_a_process(server):
    process = Process.of(int(server.get("/timed").text))
    server.post("/run-code", b"import atexit, time; atexit.register(time.sleep, 600)")
    os.kill(process.pid, signal.SIGTERM)
    wait_until(lambda: not process.runs, "the process to end")
    server.tolerate_log("WSGI030[79]")
