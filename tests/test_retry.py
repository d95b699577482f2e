# SPDX-License-Identifier: Apache-2.0
"""Which requests are sent to another process when theirs dies (`retry=`)."""

import os
import signal
from pathlib import Path
from urllib.parse import quote

import pytest

from harness.background import Background
from harness.waiting import wait_until

pytestmark = pytest.mark.ours_only("retry= is new")


def with_options(options: str) -> str:
    return f"""
WSGIDaemonProcess main {options}
WSGIProcessGroup main
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias /pid ${{APPS}}/pid/app.wsgi
WSGIScriptAlias /die ${{APPS}}/die/app.wsgi
WSGIScriptAlias /die-at-first ${{APPS}}/die-at-first/app.wsgi
"""


@pytest.fixture
def attempts(tmp_path_for_server) -> Path:
    """Where the application writes a line for each time that it is called."""
    path = tmp_path_for_server / "attempts"
    path.touch()
    path.chmod(0o666)
    return path


def ask(server, attempts: Path, times: int, more: str = "", **request):
    return server.request(
        f"/die-at-first?file={quote(str(attempts))}&times={times}{more}", **request
    )


def lines(attempts: Path) -> list[list[int]]:
    return [[int(word) for word in line.split()] for line in attempts.read_text().splitlines()]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_idempotent_request_is_sent_to_another_process(server_factory, attempts, method):
    server = server_factory(with_options("threads=2 retry=idempotent"))
    response = ask(server, attempts, 1, method=method)
    assert response.status == 200
    (first, _), (second, _) = lines(attempts)
    assert first != second
    if method != "HEAD":
        assert int(response.body) == second
    server.expect_log(rf"WSGI0327: .*\(pid {first}\) was killed by signal 9.* 1 of 2", count=1)
    server.expect_log("WSGI0303.*1 request was running: [A-Z]+ /die-at-first;", count=1)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_other_request_is_not(server_factory, attempts, method):
    server = server_factory(with_options("threads=2 retry=idempotent"))
    assert ask(server, attempts, 1, method=method, body=b"x").status == 502
    assert len(lines(attempts)) == 1
    server.expect_log("WSGI0146", count=1)
    server.expect_log("WSGI0303", count=1)


@pytest.mark.parametrize("options", ["", "retry=unstarted"])
def test_default_is_not_to_send_what_has_started(server_factory, attempts, options):
    server = server_factory(with_options(f"threads=2 {options}"))
    assert ask(server, attempts, 1, method="GET").status == 502
    assert len(lines(attempts)) == 1
    server.expect_log("WSGI0146", count=1)
    server.expect_log("WSGI0303", count=1)


def test_request_that_kills_every_process_is_given_up(server_factory, attempts):
    server = server_factory(with_options("threads=2 processes=4 retry=idempotent"))
    assert ask(server, attempts, 99, method="GET").status == 502
    assert len({pid for pid, _ in lines(attempts)}) == len(lines(attempts)) == 3
    assert server.get("/pid").status == 200
    server.expect_log("WSGI0327", count=2)
    server.expect_log("WSGI0146", count=1)
    server.expect_log("WSGI0303", count=3)


def test_small_body_goes_along(server_factory, attempts):
    server = server_factory(with_options("threads=2 retry=idempotent"))
    response = ask(server, attempts, 1, "&read=1", method="PUT", body=b"x" * 20_000)
    assert response.status == 200
    assert [length for _, length in lines(attempts)] == [20_000, 20_000]
    server.expect_log("WSGI0327", count=1)
    server.expect_log("WSGI0303", count=1)


def test_body_that_is_used_up_does_not(server_factory, attempts):
    """It is not in memory any more: another process would get the rest of it only."""
    server = server_factory(with_options("threads=2 retry=idempotent"))
    size = 8 << 20
    response = ask(server, attempts, 1, "&read=1", method="PUT", body=b"x" * size)
    assert response.status == 502
    assert [length for _, length in lines(attempts)] == [size]
    server.expect_log("WSGI0146", count=1)
    server.expect_log("WSGI0303", count=1)


def test_body_that_was_not_read_does(server_factory, attempts):
    server = server_factory(with_options("threads=2 retry=idempotent"))
    response = ask(server, attempts, 1, method="PUT", body=b"x" * (8 << 20))
    assert response.status == 200
    assert len(lines(attempts)) == 2
    server.expect_log("WSGI0327", count=1)
    server.expect_log("WSGI0303", count=1)


def test_response_that_has_begun_is_not_repeated(server_factory):
    server = server_factory(with_options("threads=2 retry=idempotent"))
    response = server.get("/die?after-output-kill")
    assert (response.status, response.body, response.complete) == (200, b"output", False)
    server.expect_log("WSGI0119", count=1)
    server.expect_log("WSGI0303", count=1)


def test_request_that_may_still_run_is_not_sent_again(server_factory, attempts):
    """The application closed the connection and goes on: it must not run twice at once."""
    server = server_factory(with_options("threads=2 processes=2 retry=idempotent"))
    assert ask(server, attempts, 1, "&hang-up=1", method="GET").status == 502
    assert len(lines(attempts)) == 1
    server.expect_log("WSGI0146: .*closed the connection", count=1)
    server.tolerate_log("WSGI0080|reset by peer")


def test_no_get_fails_while_processes_are_killed(server_factory):
    server = server_factory(with_options("processes=2 threads=4 retry=idempotent"))
    stop = []
    answered = []

    def load() -> None:
        while not stop:
            response = server.get("/pid")
            assert (response.status, response.complete) == (200, True)
            answered.append(int(response.body))

    def answer_some() -> None:
        count = len(answered)
        wait_until(lambda: len(answered) > count + 20, "requests to be answered")

    clients = [Background(load) for _ in range(4)]
    killed = set()
    for _ in range(5):
        answer_some()
        killed.add(answered[-1])
        os.kill(answered[-1], signal.SIGKILL)
    answer_some()
    stop.append(True)
    for client in clients:
        client.result()
    # Each of them was another one, and somebody answered after the last one was killed.
    assert len(killed) == 5
    assert answered[-1] not in killed
    server.expect_log("WSGI0303.*signal 9")
    server.tolerate_log("WSGI0327")


def test_request_that_is_too_slow_is_not_sent_again(server_factory):
    server = server_factory("""
WSGIDaemonProcess main threads=1 request-timeout=1 shutdown-timeout=1 retry=idempotent
WSGIScriptAlias / ${APPS}/takes-time/app.wsgi process-group=main application-group=%{GLOBAL}
""")
    assert server.get("/sleep/60").status == 504
    server.expect_log("WSGI0340: 'GET /sleep/60 .*the process is to be replaced", count=1)
    server.tolerate_log(r'WSGI0340: stack|WSGI0309|process_stopping|\] (?:  File "|    \S)')
    server.expect_log("WSGI0328", count=1)
