# SPDX-License-Identifier: Apache-2.0
"""Timers of daemon processes: requests that take too long; processes that are stuck, idle, old."""

import time

import pytest

from harness.background import Background
from harness.plugin import differs
from harness.under_test import OURS
from harness.waiting import wait_until

MOUNTS = """
WSGIProcessGroup main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /timed ${APPS}/takes-time/app.wsgi
WSGIScriptAlias /slow-to-load ${APPS}/slow-to-load/app.wsgi
WSGIScriptAlias /loads-in-steps ${APPS}/loads-in-steps/app.wsgi
"""

# A line of a Python stack in the log.
STACK = r'\] (?:  File "|    \S)'

# A line of the stacks of all threads, which are had without the GIL.
DUMP = r'Thread 0x|\] (?:  File "|  <)'


@pytest.fixture
def start(server_factory):
    def start(options: str, more: str = ""):
        server = server_factory(f"WSGIDaemonProcess main {options}\n{MOUNTS}\n{more}")
        # The application tells why each of its processes leaves, the last at the end of the test.
        server.tolerate_log("process_stopping")
        return server

    return start


def pid(server, path: str = "/timed") -> int:
    response = server.get(path)
    assert response.status == 200, response.text
    return int(response.text)


def expect(server, *patterns: str) -> None:
    """What ours logs at level warn or worse; mod_wsgi tells the same at info."""
    for pattern in patterns if OURS else ():
        server.expect_log(pattern)


# request-timeout, interrupt-timeout


def test_request_timeout_is_raised_in_the_application(start):
    server = start("threads=1 request-timeout=1 interrupt-timeout=20")
    before = pid(server)
    response = server.get("/timed/compute/25")
    assert (response.status, response.body, response.complete) == (504, b"", True)
    assert pid(server) == before
    expect(
        server,
        r"WSGI0340: 'GET /timed/compute/25 .* has run for 1\.\d s .*RequestTimeout is raised",
        r"WSGI0340: stack of 'GET /timed/compute/25",
        STACK,
    )


@pytest.mark.difference("a response that ends before it is complete")
def test_request_timeout_after_output(start):
    server = start("threads=1 request-timeout=1 interrupt-timeout=20")
    response = server.get("/timed/begun/25")
    assert (response.status, response.body) == (200, b"begun")
    assert response.complete is differs(upstream=True, ours=False)
    expect(server, "WSGI0340: 'GET", "WSGI0340: stack", STACK)


def test_request_timeout_is_longer_with_more_threads(start):
    server = start("threads=8 request-timeout=1 interrupt-timeout=20")
    begin = time.monotonic()
    assert server.get("/timed/compute/25").status == 504
    # 1 + ln(8)
    assert time.monotonic() - begin > 3.07
    expect(server, "WSGI0340: 'GET", "WSGI0340: stack", STACK)


@pytest.mark.difference("timers depend on no other timer")
def test_request_timeout_without_deadlock_timeout(start):
    server = start("threads=1 request-timeout=1 interrupt-timeout=20 deadlock-timeout=0")
    assert server.get("/timed/compute/4").status == differs(upstream=200, ours=504)
    expect(server, "WSGI0340: 'GET", "WSGI0340: stack", STACK)


@pytest.mark.difference("504 says that the request was too slow, 502 that its process died")
def test_process_of_a_stuck_request_is_replaced(start):
    server = start("threads=1 request-timeout=1 shutdown-timeout=1")
    before = pid(server)
    assert server.get("/timed/sleep/60").status == differs(upstream=502, ours=504)
    assert pid(server) != before
    expect(
        server,
        r"WSGI0340: 'GET /timed/sleep/60 .*\(request-timeout\): the process is to be replaced",
        "WSGI0340: stack",
        STACK,
        r"WSGI0309: .* 1 request was running: GET /timed/sleep/60",
        r"WSGI0328: This request ran for more than 1 s \(request-timeout\)",
    )
    if not OURS:
        server.expect_log("WSGI014[67]")


@pytest.mark.difference("504 says that the request was too slow, 502 that its process died")
def test_others_finish_when_a_stuck_request_has_its_process_replaced(start, tmp_path_for_server):
    server = start("threads=2 request-timeout=2 shutdown-timeout=1 graceful-timeout=20")
    before = pid(server)
    stuck = Background(lambda: server.get("/timed/sleep/60"))
    # Begins later, and is within its time while the other one is given up.
    time.sleep(2.5)
    other = Background(lambda: server.get("/timed/sleep/2.5"))
    assert (other.result().status, int(other.result().text)) == (200, before)
    assert stuck.result().status == differs(upstream=502, ours=504)
    assert pid(server) != before
    expect(server, "WSGI0340: 'GET", "WSGI0340: stack", STACK, "WSGI0309", "WSGI0328")
    if not OURS:
        server.expect_log("WSGI014[67]")


@pytest.mark.parametrize(
    ("options", "goes_on"),
    [("interrupt-timeout=20", True), ("shutdown-timeout=1", False)],
    ids=["raised", "killed"],
)
@pytest.mark.parametrize("path", ["closing", "closing-short"])
def test_request_timeout_in_close(start, options, goes_on, path):
    """A response that is whole is so whatever becomes of close(), and one that is short, too."""
    server = start(f"threads=1 request-timeout=1 {options}")
    before = pid(server)
    response = server.get(f"/timed/{path}/25", headers={"Connection": "close"})
    assert (response.status, int(response.text)) == (200, before)
    assert response.complete is (path == "closing")
    assert (pid(server) == before) is goes_on
    expect(server, "WSGI0340: 'GET", "WSGI0340: stack", STACK)
    if not goes_on:
        words = "is complete, but" if path == "closing" else "is incomplete:"
        expect(server, "WSGI0309", f"WSGI0119: The response {words} WSGI daemon process 'main'")
        if not OURS:
            server.tolerate_log("WSGI01[0-9]{2}")


def test_close_may_take_longer_than_socket_timeout(start):
    server = start("threads=1 socket-timeout=1")
    response = server.get("/timed/closing/3", headers={"Connection": "close"})
    assert (response.status, response.complete) == (200, True)
    complete = "The response is complete, .* takes longer than socket-timeout"
    server.expect_log(f"WSGI0119: {complete if OURS else ''}", count=1)


@pytest.mark.difference("504 says that the request was too slow, 500 that the script is broken")
def test_request_timeout_is_raised_while_the_script_is_loaded(start):
    server = start("threads=1 request-timeout=1 interrupt-timeout=20")
    before = pid(server)
    response = server.get("/loads-in-steps")
    assert response.status == differs(upstream=500, ours=504)
    assert pid(server) == before
    server.expect_log(r"WSGI0109: .*loads-in-steps/app\.wsgi", count=1)
    if OURS:
        assert response.body == b""
        server.expect_log(
            r"WSGI0340: 'GET /loads-in-steps .*' has run for .* RequestTimeout is raised in it", 1
        )
        server.expect_log("WSGI0340: stack of 'GET /loads-in-steps", count=1)
        server.expect_log(STACK)
    else:
        server.expect_traceback("RequestTimeout", count=1)


@pytest.mark.difference("504 says that the request was too slow, 502 that its process died")
def test_process_that_loads_for_too_long_is_replaced(start):
    """The request that needs the script is too slow; one that waits behind it is not."""
    server = start("threads=1 request-timeout=1 shutdown-timeout=1")
    before = pid(server)
    slow = Background(lambda: server.get("/slow-to-load"))
    # Time in which the process takes it.
    time.sleep(0.3)
    waiting = Background(lambda: server.get("/timed"))
    assert slow.result().status == differs(upstream=502, ours=504)
    response = waiting.result()
    assert (response.status, int(response.text) != before) == (200, True)
    if OURS:
        server.expect_log(r"WSGI0340: 'GET /slow-to-load .*: the process is to be replaced", 1)
        server.expect_log("WSGI0340: stack of 'GET /slow-to-load", count=1)
        server.expect_log(STACK)
        server.expect_log(r"WSGI0309: .* 1 request was running: GET /slow-to-load", count=1)
        server.expect_log(r"WSGI0328: This request ran for more than 1 s \(request-timeout\)", 1)
    else:
        server.expect_log("WSGI014[67]")


# deadlock-timeout


@pytest.mark.difference("raising RequestTimeout must not wait for the GIL")
def test_held_gil_stops_no_timer(start):
    server = start(
        "threads=1 request-timeout=1 interrupt-timeout=30 deadlock-timeout=3 shutdown-timeout=1"
    )
    before = pid(server)
    begin = time.monotonic()
    response = server.get("/timed/hold-gil/9")
    # There the thread with the timers and the request's want the GIL at the same time, after 9 s.
    assert response.status in differs(upstream=(504, 200), ours=(502,))
    assert (time.monotonic() - begin < 9) is OURS
    assert (pid(server) != before) is OURS
    if OURS:
        expect(
            server,
            r"WSGI0340: 'GET /timed/hold-gil/9 .*RequestTimeout is raised",
            r"WSGI0342: the GIL of the main interpreter .*\(deadlock-timeout\)",
            r"app\.wsgi\", line \d+ in application",
            DUMP,
            "WSGI0309",
            "WSGI014[67]",
        )


def test_deadlock_timeout(start):
    server = start("threads=2 deadlock-timeout=1 shutdown-timeout=1")
    before = pid(server)
    assert server.get("/timed/hold-gil/60").status == 502
    assert pid(server) != before
    expect(
        server,
        "WSGI0342: the GIL of the main interpreter .*'GET /timed/hold-gil/60",
        r"app\.wsgi\", line \d+ in application",
        DUMP,
        "WSGI0309",
    )
    server.expect_log("WSGI014[67]")


# Age and idleness


@pytest.mark.ours_only("mod_wsgi ends the old process first")
def test_restart_interval_loses_nothing(start):
    server = start("processes=2 threads=2 restart-interval=2")
    pids = set()

    def are_four():
        pids.add(pid(server))
        return len(pids) >= 4

    wait_until(are_four, "processes that replace the first two")
    server.wait_log("is to be replaced: restart_interval")
    wait_until(
        lambda: server.find_log("process_stopping restart_interval"), "subscribers to hear of it"
    )


@pytest.mark.parametrize("deadlock", ["", "deadlock-timeout=0"])
def test_inactivity_timeout(start, deadlock):
    server = start(f"inactivity-timeout=1 {deadlock}")
    before = pid(server)
    process = server.daemon_processes[0]
    assert process.pid == before
    # One that runs is activity.
    assert pid(server, "/timed/sleep/2.5") == before
    server.wait_log("process_stopping inactivity_timeout")
    assert pid(server) != before


def test_requests_that_are_no_activity(start):
    server = start(
        "inactivity-timeout=2",
        "<Location /timed/ignored>\nWSGIIgnoreActivity On\n</Location>",
    )
    before = pid(server)
    seen = set()

    def is_replaced():
        seen.add(pid(server, "/timed/ignored"))
        return len(seen) > 1

    wait_until(is_replaced, "the process to be replaced though it answers")
    assert before in seen
    server.wait_log("process_stopping inactivity_timeout")


@pytest.mark.difference("a request that has not begun is sent to the next process, so often")
def test_startup_timeout(start):
    server = start("startup-timeout=1 shutdown-timeout=1")
    assert server.get("/slow-to-load").status == differs(upstream=502, ours=503)
    expect(
        server,
        r"WSGI0341: the WSGI script was not loaded within 1\.0 s",
        "WSGI0341: stack of 'GET /slow-to-load",
        STACK,
        "WSGI0309",
        "WSGI0124",
    )
    if not OURS:
        server.expect_log("WSGI014[67]")
    assert server.get("/timed").status == 200


# WSGISlowRequests


@pytest.mark.ours_only("mod_wsgi reports them to an external service")
def test_slow_requests(start, mode):
    server = start(
        "threads=2",
        "WSGISlowRequests 0.5\n"
        "WSGIScriptAlias /embedded ${APPS}/takes-time/app.wsgi process-group=%{GLOBAL}",
    )
    mount = {"daemon": "/timed", "embedded": "/embedded"}[mode]
    assert server.get(f"{mount}/compute/2?").status == 200
    assert server.get(mount).status == 200
    end = server.expect_log(
        rf"\[client .*WSGI0343: slow request: 'GET {mount}/compute/2' took .* s in the application",
        count=1,
    )
    if mode == "daemon":
        server.expect_log(rf"WSGI0343: slow request: 'GET {mount}/compute/2' has run for", 1)
        server.expect_log("WSGI0343: stack of", count=1)
        server.expect_log(STACK)
        server.check_log_declarations()
        assert "in the queue" in end.matches[0].text
