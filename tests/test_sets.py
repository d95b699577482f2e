# SPDX-License-Identifier: Apache-2.0
"""Sets: the processes of one application group in a process group that has several.

Which application group a request belongs to is in test_groups.py.
"""

import time

import pytest

from harness.background import Background, HeldRequest
from harness.processes import Process
from harness.waiting import POLL, wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi has sub-interpreters, without limit and for ever")


def with_options(options: str) -> str:
    """The application group is the Host header's."""
    return f"""
WSGIDaemonProcess main threads=3 {options}
WSGIProcessGroup main
WSGIApplicationGroup %{{HOST}}
WSGIScriptAlias /hold ${{APPS}}/hold/app.wsgi
WSGIScriptAlias / ${{APPS}}/counter/app.wsgi
"""


def ask(server, host: str) -> list:
    """Pid, number of the request in its application group, and that group."""
    response = server.get("/", host=host)
    assert (response.status, response.complete) == (200, True)
    return response.json


def pids(server) -> set[int]:
    return {process.pid for process in server.daemon_processes}


def stays(condition, seconds: float, what: str) -> None:
    """Fails as soon as the condition does not hold, within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), what
        time.sleep(POLL)


def test_first_application_group_adopts_the_set_that_is_there(server_factory):
    server = server_factory(with_options("processes=2"))
    wait_until(lambda: len(server.find_log("is ready")) == 2, "two processes to be ready")
    before = pids(server)
    assert ask(server, "one.example")[0] in before
    assert pids(server) == before


def test_further_application_group_starts_a_set(server_factory):
    server = server_factory(with_options("processes=2"))
    one, two = ask(server, "one.example"), ask(server, "two.example")
    assert one[0] != two[0]
    assert [one[2], two[2]] == ["one.example", "two.example"]
    wait_until(lambda: len(pids(server)) == 4, "two processes of each")


def test_many_first_requests_start_one_set(server_factory):
    server = server_factory(with_options(""))
    ask(server, "one.example")
    requests = [Background(lambda: ask(server, "two.example")) for _ in range(8)]
    assert len({request.result()[0] for request in requests}) == 1
    assert len(pids(server)) == 2


def test_clients_cannot_have_more_sets_than_allowed(server_factory):
    server = server_factory(with_options("application-groups=2"))
    first = [ask(server, host)[0] for host in ("one.example", "two.example")]
    before = pids(server)
    for number in range(20):
        response = server.get("/", host=f"minted{number}.example")
        assert (response.status, response.header("retry-after")) == (503, "30")
    assert pids(server) == before == set(first)
    assert ask(server, "one.example")[:2] == [first[0], 2]
    server.expect_log("WSGI0300: .*'minted[0-9]+.example'.*application-groups=", count=20)


def test_clients_cannot_have_sets_for_ports(server_factory):
    server = server_factory(with_options("application-groups=2"))
    answers = [ask(server, f"one.example:{port}") for port in (1, 81, server.port, 65535)]
    assert {answer[2] for answer in answers} == {f"one.example:{server.port}"}
    assert len(pids(server)) == 1


def test_idle_set_leaves_and_gives_its_place_to_another(server_factory):
    server = server_factory(with_options("application-groups=2 inactivity-timeout=1"))
    ask(server, "one.example")
    two = ask(server, "two.example")[0]
    assert server.get("/", host="three.example").status == 503
    wait_until(lambda: Process.of(two) is None, "the idle process to leave")
    # The one that was started with the server is there for whoever has it.
    stays(lambda: len(server.daemon_processes) >= 1, 1.5, "a process of the first set")
    assert ask(server, "three.example")[1:] == [1, "three.example"]
    server.tolerate_log("WSGI0300")
    assert server.find_log("'two.example' leaves process set 2")


def test_set_that_has_left_is_started_again(server_factory):
    server = server_factory(with_options("inactivity-timeout=1"))
    ask(server, "one.example")
    seen = set()
    for _ in range(3):
        pid, count, _ = ask(server, "two.example")
        assert count == 1
        seen.add(pid)
        wait_until(lambda pid=pid: Process.of(pid) is None, "the idle process to leave")
    assert len(seen) == 3


def test_busy_set_does_not_leave(server_factory, tmp_path_for_server):
    server = server_factory(with_options("processes=2 inactivity-timeout=1"))
    ask(server, "one.example")
    held = HeldRequest(server, tmp_path_for_server, path="/hold")
    pid = held.pid
    stays(lambda: Process.of(pid) is not None, 3, "the process with a request stays")
    held.release()
    assert held.result().status == 200


def test_no_request_fails_as_its_set_leaves(server_factory):
    """Requests about as far from each other as the set is kept without one."""
    server = server_factory(with_options("inactivity-timeout=1"))
    ask(server, "one.example")
    for step in range(10):
        pid = ask(server, "two.example")[0]
        since = time.monotonic()
        while time.monotonic() - since < 0.9 + 0.05 * step and Process.of(pid):
            time.sleep(POLL)
    assert server.find_log("leaves process set")


def test_no_request_meets_another_application_group_in_a_place_that_changes(server_factory):
    """There is one place for three; each answer is of the application group that was asked."""
    server = server_factory(with_options("application-groups=2 inactivity-timeout=1"))
    ask(server, "one.example")
    hosts = ("two.example", "three.example", "four.example")
    stop = []
    served = []

    def client(host: str) -> None:
        while not stop:
            response = server.get("/", host=host)
            assert response.status in (200, 503)
            if response.status == 200:
                assert response.json[2] == host
                served.append(host)
                # Let it become idle, so that another one has its place.
                wait_until(lambda pid=response.json[0]: stop or Process.of(pid) is None, "its end")

    clients = [Background(lambda host=host: client(host)) for host in hosts]
    wait_until(lambda: set(served) == set(hosts) and len(served) > 5, "each to be served")
    stop.append(True)
    for request in clients:
        request.result()
    server.tolerate_log("WSGI0300")


IMPORTED = """
import os

with open({place!r}, "a") as file:
    file.write(f"{{os.getpid()}}\\n")


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
"""


def test_imported_script_has_its_set_from_the_start(server_factory, tmp_path_for_server):
    place = tmp_path_for_server / "imported"
    place.touch()
    place.chmod(0o666)
    server = server_factory(start=False)
    server.write("apps/imported.wsgi", IMPORTED.format(place=str(place)))
    server.configure("""
WSGIDaemonProcess main threads=2 application-groups=2 inactivity-timeout=1
WSGIImportScript ${APPS}/imported.wsgi process-group=main application-group=named
WSGIScriptAlias /named ${APPS}/imported.wsgi process-group=main application-group=named
WSGIScriptAlias /other ${APPS}/counter/app.wsgi
WSGIScriptAlias /third ${APPS}/counter/app.wsgi
WSGIProcessGroup main
<Location /other>
    WSGIApplicationGroup other
</Location>
<Location /third>
    WSGIApplicationGroup third
</Location>
""")
    server.start()
    (loaded,) = wait_until(lambda: place.read_text().split(), "the script to be imported")
    assert server.get("/named").text == loaded
    # It is no set that another application group adopts, nor one that leaves for good.
    other = server.get("/other").json[0]
    assert str(other) != loaded
    assert server.get("/third").status == 503
    wait_until(lambda: Process.of(other) is None, "the other set to leave")
    assert server.get("/third").status == 200
    stays(lambda: len(server.daemon_processes) >= 1, 1.5, "a process of the named set")
    assert server.get("/named").text in place.read_text().split()
    server.expect_log("WSGI0300", count=1)


# With sub-interpreters


def test_interpreters_are_no_more_than_allowed(server_factory):
    server = server_factory(with_options("application-groups=2 isolation=interpreter"))
    pid = ask(server, "one.example")[0]
    assert ask(server, "two.example")[0] == pid
    for number in range(5):
        response = server.get("/", host=f"minted{number}.example")
        assert (response.status, response.header("retry-after")) == (503, "30")
    assert ask(server, "one.example")[:2] == [pid, 2]
    server.expect_log("WSGI0300: .*'minted[0-9]+.example'.*application-groups=", count=5)
