# SPDX-License-Identifier: Apache-2.0
"""How the number of daemon processes follows the requests (`processes=MIN-MAX`)."""

import os
import signal
import time

import pytest

from harness.background import Background, HeldRequest
from harness.processes import Process
from harness.waiting import POLL, wait_until

pytestmark = pytest.mark.ours_only("processes=MIN-MAX is new")

MOUNTS = """
WSGIProcessGroup main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /pid ${APPS}/pid/app.wsgi
WSGIScriptAlias /hold ${APPS}/hold/app.wsgi
WSGIScriptAlias /environ ${APPS}/environ/app.wsgi
"""


def with_options(options: str) -> str:
    return f"WSGIDaemonProcess main {options}\n{MOUNTS}"


def count(server) -> int:
    return len(server.daemon_processes)


def stays(condition, seconds: float, what: str) -> None:
    """Fails as soon as the condition does not hold, within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), what
        time.sleep(POLL)


class Load:
    """Clients that ask one after the other, and note every answer."""

    def __init__(self, server, clients: int, path: str = "/pid") -> None:
        self.stop = False
        self.answers: list[tuple[int, bool]] = []
        self._clients = [Background(lambda: self._ask(server, path)) for _ in range(clients)]

    def _ask(self, server, path: str) -> None:
        while not self.stop:
            response = server.get(path)
            self.answers.append((response.status, response.complete))

    def end(self) -> None:
        """Stops, and fails when an answer was not whole."""
        self.stop = True
        for client in self._clients:
            client.result()
        assert self.answers
        assert set(self.answers) == {(200, True)}


def test_group_starts_with_the_least(server_factory):
    server = server_factory(with_options("processes=2-5 threads=1"))
    wait_until(lambda: len(server.find_log("is ready")) == 2, "two processes to be ready")
    assert server.get("/pid").status == 200
    assert count(server) == 2


def test_waiting_requests_make_it_grow_and_idleness_shrink(server_factory, tmp_path_for_server):
    server = server_factory(with_options("processes=1-4 threads=1 inactivity-timeout=1"))
    held = [HeldRequest(server, tmp_path_for_server) for _ in range(4)]
    assert len({request.pid for request in held}) == 4
    assert count(server) == 4
    # No more than the most, however many wait.
    waiting = [HeldRequest(server, tmp_path_for_server) for _ in range(3)]
    stays(lambda: count(server) == 4, 1, "four processes at most")
    for request in held + waiting:
        request.release()
    assert {request.result().status for request in held + waiting} == {200}
    wait_until(lambda: count(server) == 1, "one process to be left")
    stays(lambda: count(server) == 1, 1, "one process stays")
    assert server.get("/pid").status == 200
    assert server.find_log("which gets 1 more processes")


SLOW_TO_LOAD = """
import os
import time

time.sleep(2)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
"""


def test_waiting_request_is_not_bound_to_a_busy_process(server_factory, tmp_path_for_server):
    """It takes the process that is started for it, though that takes a while to be ready."""
    server = server_factory(start=False)
    server.write("apps/slow.wsgi", SLOW_TO_LOAD)
    server.configure(f"""
{with_options("processes=1-2 threads=1")}
WSGIImportScript ${{APPS}}/slow.wsgi process-group=main application-group=%{{GLOBAL}}
""")
    server.start()
    held = HeldRequest(server, tmp_path_for_server)
    busy = held.pid
    response = server.get("/pid")
    assert response.status == 200
    assert int(response.body) != busy
    held.release()
    assert held.result().status == 200


def test_busy_process_is_not_retired(server_factory, tmp_path_for_server):
    server = server_factory(with_options("processes=1-3 threads=1 inactivity-timeout=1"))
    held = [HeldRequest(server, tmp_path_for_server) for _ in range(3)]
    pids = [request.pid for request in held]
    # The one that was there first goes as well as the others.
    busy = held.pop()
    for request in held:
        request.release()
        assert request.result().status == 200
    wait_until(lambda: count(server) < 3, "an idle process to leave")
    stays(lambda: Process.of(pids[2]) is not None, 2, "the busy process stays")
    busy.release()
    assert busy.result().body == str(pids[2]).encode()


def test_no_request_fails_while_it_grows_and_shrinks(server_factory, tmp_path_for_server):
    server = server_factory(with_options("processes=1-4 threads=1 inactivity-timeout=1"))
    load = Load(server, 2)
    for _ in range(2):
        held = [HeldRequest(server, tmp_path_for_server) for _ in range(3)]
        for request in held:
            request.wait_started()
        assert count(server) >= 3
        for request in held:
            request.release()
            assert request.result().status == 200
        wait_until(lambda: count(server) <= 2, "idle processes to leave")
    load.end()


def test_process_is_started_for_the_first_request_and_leaves_after_the_last(server_factory):
    server = server_factory(with_options("processes=0-2 threads=2 inactivity-timeout=1"))
    stays(lambda: count(server) == 0, 0.5, "no process without a request")
    pids = set()
    for _ in range(3):
        response = server.get("/pid")
        assert response.status == 200
        pids.add(int(response.body))
        wait_until(lambda: count(server) == 0, "the idle process to leave")
    assert len(pids) == 3
    # None is left to be asked, so that each request found none and asked for one.
    assert len(server.find_log("is starting")) == 3


def test_many_first_requests_at_once(server_factory):
    server = server_factory(with_options("processes=0-2 threads=2 inactivity-timeout=60"))
    requests = [Background(lambda: server.get("/pid")) for _ in range(8)]
    assert {request.result().status for request in requests} == {200}
    assert 1 <= count(server) <= 2


def test_no_request_fails_when_it_comes_as_the_last_process_leaves(server_factory):
    """Requests about as far from each other as the process is kept without one."""
    server = server_factory(with_options("processes=0-1 threads=2 inactivity-timeout=1"))
    for step in range(8):
        response = server.get("/pid")
        assert (response.status, response.complete) == (200, True)
        since = time.monotonic()
        while time.monotonic() - since < 0.95 + 0.05 * step and count(server):
            time.sleep(POLL)
    assert len(server.find_log("is not needed any more|inactivity_timeout")) >= 2


def test_process_is_kept_for_long_by_default(server_factory):
    server = server_factory(with_options("processes=0-1 threads=2"))
    pid = server.get("/pid").body
    stays(lambda: server.get("/pid").body == pid, 2, "the process stays")


def test_process_that_is_killed_while_another_one_may_go(server_factory):
    server = server_factory(with_options("processes=0-2 threads=2"))
    for _ in range(3):
        os.kill(int(server.get("/pid").body), signal.SIGKILL)
    assert server.get("/pid").status == 200
    server.expect_log("WSGI0303.*signal 9", count=3)


@pytest.mark.parametrize("processes", ["1-4", "0-1", "1-1"])
def test_multiprocess_is_true_when_processes_is_written(server_factory, processes):
    server = server_factory(with_options(f"processes={processes}"))
    assert server.get("/environ").json["wsgi.multiprocess"] == ["bool", True]


def test_groups_with_interpreters_scale_too(server_factory, tmp_path_for_server):
    options = "processes=0-3 threads=1 inactivity-timeout=1 isolation=interpreter"
    server = server_factory(with_options(options))
    stays(lambda: count(server) == 0, 0.5, "no process without a request")
    held = [HeldRequest(server, tmp_path_for_server) for _ in range(3)]
    assert len({request.pid for request in held}) == 3
    for request in held:
        request.release()
        assert request.result().status == 200
    wait_until(lambda: count(server) == 0, "idle processes to leave")
    assert server.get("/pid").status == 200


def test_processes_are_forked_from_a_template(server_factory, tmp_path_for_server):
    options = "processes=0-3 threads=1 inactivity-timeout=1 preload=on"
    server = server_factory(with_options(options))
    held = [HeldRequest(server, tmp_path_for_server) for _ in range(3)]
    assert len({request.pid for request in held}) == 3
    for request in held:
        request.release()
        assert request.result().status == 200
    wait_until(lambda: count(server) == 0, "idle processes and their template to leave")
    assert server.get("/pid").status == 200


def test_script_that_changes_when_no_process_is_there(server_factory):
    server = server_factory(with_options("processes=0-1 threads=2 inactivity-timeout=1"))
    assert server.get("/pid").status == 200
    wait_until(lambda: count(server) == 0, "the idle process to leave")
    server.touch(server.apps / "pid/app.wsgi")
    assert server.get("/pid").status == 200
    server.touch(server.apps / "pid/app.wsgi")
    assert server.get("/pid").status == 200


def test_start_that_fails_leaves_no_process_that_is_waited_for(server_factory, tmp_path_for_server):
    server = server_factory(with_options("processes=1-2 threads=1"))
    wait_until(lambda: server.find_log("is ready"), "the process to be ready")
    held = [HeldRequest(server, tmp_path_for_server).wait_started()]
    run, away = server.root / "run", server.root / "away"
    # The next process has no place for its socket.
    run.rename(away)
    held.append(HeldRequest(server, tmp_path_for_server))
    wait_until(lambda: server.find_log("WSGI0308"), "a start that fails")
    away.rename(run)
    for request in held:
        request.release()
    assert {request.result().status for request in held} == {200}
    more = [HeldRequest(server, tmp_path_for_server) for _ in range(2)]
    assert len({request.pid for request in more}) == 2
    for request in more:
        request.release()
    assert {request.result().status for request in more} == {200}
    server.expect_log("WSGI0308.*No such file or directory")


def test_process_is_replaced_though_a_start_failed(server_factory):
    """The only one of a group that may have none waits for its replacement as any other."""
    server = server_factory(with_options("processes=0-2"))
    before = int(server.get("/pid").body)
    run, away = server.root / "run", server.root / "away"
    run.rename(away)
    os.kill(before, signal.SIGUSR1)
    wait_until(lambda: server.find_log("WSGI0308"), "a start that fails")
    away.rename(run)
    wait_until(lambda: server.find_log(f"process {before} .*has left"), "it to be replaced")
    assert int(server.get("/pid").body) != before
    server.expect_log("WSGI0308.*No such file or directory")
