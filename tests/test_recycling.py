# SPDX-License-Identifier: Apache-2.0
"""Processes that are replaced for a reason of their own: one after the other, each when its
replacement is ready, and no request waits for it.

maximum-requests is in test_daemon_life.py, the same under load in test_faults.py.
"""

import os
import re
import signal
import time

import pytest

from harness.background import HeldRequest
from harness.load import Load
from harness.processes import Process
from harness.waiting import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi ends a process and then starts another one")

MOUNTS = """
WSGIProcessGroup main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /page ${APPS}/twenty-milliseconds/app.wsgi
WSGIScriptAlias /pid ${APPS}/pid/app.wsgi
WSGIScriptAlias /hold ${APPS}/hold/app.wsgi
WSGIScriptAlias /grow ${APPS}/grow/app.wsgi
"""


def with_options(options: str) -> str:
    return f"WSGIDaemonProcess main {options}\n{MOUNTS}"


def test_process_that_grew_is_replaced(server_factory):
    server = server_factory(with_options("maximum-rss=120M"))
    before = int(server.get("/grow").body)
    with Load(server, "/page", clients=2) as load:
        assert int(server.get("/grow?200").body) == before
        wait_until(lambda: int(server.get("/grow").body) != before, "another process to answer")
    assert load.failures == []
    (record,) = server.find_log("in memory after")
    assert re.search(rf"daemon process {before} .* (\d+) MiB in memory", record.message)
    wait_until(
        lambda: server.find_log(f"process {before} .*has left after .*: maximum_rss"), "it to leave"
    )


def test_name_of_a_process_does_not_hide_what_it_has(server_factory):
    """The kernel keeps 15 bytes of it, of which the last is the first half of a character."""
    server = server_factory(with_options("maximum-rss=120M display-name=(wsgi:abcdefgh\u00e9)"))
    before = int(server.get("/grow?200").body)
    wait_until(lambda: int(server.get("/pid").body) != before, "another process to answer")
    assert len(server.find_log("in memory after")) == 1


def test_process_that_did_not_grow_so_far_stays(server_factory):
    server = server_factory(with_options("maximum-rss=1G"))
    before = int(server.get("/grow?50").body)
    # It is looked at once a second.
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        assert int(server.get("/pid").body) == before


def test_processes_are_replaced_one_after_the_other(server_factory):
    server = server_factory(with_options("processes=3 threads=2"))
    wait_until(lambda: len(server.find_log("is ready")) == 3, "three processes")
    before = server.daemon_processes
    with Load(server, "/page", clients=4) as load:
        wait_until(lambda: len(load.bodies) >= 2, "requests to be answered")
        for process in before:
            os.kill(process.pid, signal.SIGUSR1)
        wait_until(lambda: len(server.find_log("is ready")) == 6, "three others")
        wait_until(lambda: not any(process.runs for process in before), "the old ones to leave")
    assert load.failures == []
    assert len(server.find_log("is to be replaced: graceful_signal")) == 3
    away = 0
    for record in server.find_log("is to be replaced|is ready after")[3:]:
        away += 1 if "replaced" in record.message else -1
        assert 0 <= away <= 1
    assert len(server.daemon_processes) == 3


def test_process_that_waits_for_its_turn_goes_on(server_factory, tmp_path_for_server):
    """It has a request meanwhile, and finishes it when its turn has come."""
    server = server_factory(with_options("processes=2 threads=1"))
    wait_until(lambda: len(server.find_log("is ready")) == 2, "two processes")
    held = [HeldRequest(server, tmp_path_for_server) for _ in range(2)]
    pids = {request.pid for request in held}
    assert len(pids) == 2
    for pid in pids:
        os.kill(pid, signal.SIGUSR1)
    wait_until(lambda: len(server.find_log("is ready")) == 4, "two others")
    assert int(server.get("/pid").body) not in pids
    for request in held:
        request.release()
        assert request.result().status == 200
    wait_until(lambda: not any(Process.of(pid) for pid in pids), "the old ones to leave")


def test_killed_process_is_there_again_soon(server_factory):
    """A start of the interpreter, and no pause before it."""
    server = server_factory(with_options(""))
    took = []
    for _ in range(3):
        pid = int(server.get("/pid").body)
        begun = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: int(server.get("/pid").body) != pid, "another process")
        took.append(time.monotonic() - begun)
    print(f"served again after {', '.join(f'{seconds:.2f} s' for seconds in took)}")
    # It takes a tenth of this.
    assert min(took) < 3
    server.expect_log("WSGI0303.*signal 9", count=3)
