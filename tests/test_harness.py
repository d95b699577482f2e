# SPDX-License-Identifier: Apache-2.0
"""The harness's own checks: each of them fails when it should."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from harness.background import Background
from harness.client import Connection
from harness.log import ErrorLog, LogAudit
from harness.processes import Process
from harness.waiting import wait_until
from systems.reference import SideBySide

SOON = 0.2
"""Seconds that a check waits which is expected to fail."""

HEAD = "[Sat Nov 21 12:00:00.000000 2026]"


@pytest.fixture
def logged(tmp_path):
    """A log, an audit of it, and a function that writes lines of a level."""
    path = tmp_path / "error.log"
    path.touch()
    audit = LogAudit(ErrorLog(path))

    def write(level: str, *messages: str, thread: int = 7) -> None:
        with open(path, "a") as file:
            for message in messages:
                head = "" if level == "raw" else f"{HEAD} [wsgi:{level}] [pid 5:tid {thread}] "
                file.write(f"{head}{message}\n")

    return audit, write


def test_quiet_levels_need_no_declaration(logged):
    audit, write = logged
    for level in ("notice", "info", "debug", "trace1"):
        write(level, "something")
    assert audit.check(SOON) == []


@pytest.mark.parametrize("level", ["warn", "error", "crit", "alert", "emerg", "raw"])
def test_undeclared_line_is_found(logged, level):
    audit, write = logged
    write(level, "something bad")
    (wrong,) = audit.check(SOON)
    assert wrong.startswith("not declared: ")
    assert audit.check(SOON) == []


def test_undeclared_number_is_found_at_any_level(logged):
    audit, write = logged
    write("info", "WSGI0999: something")
    assert len(audit.check(SOON)) == 1


def test_declared_line_must_be_seen(logged):
    audit, _ = logged
    audit.expect("WSGI0123")
    assert audit.check(SOON) == ["declared but not logged: 'WSGI0123'"]


def test_declared_line_must_be_seen_that_often(logged):
    audit, write = logged
    audit.expect("WSGI0123", 2)
    write("error", "WSGI0123: x", "WSGI0123: x", "WSGI0123: x")
    (wrong,) = audit.check(SOON)
    assert wrong.startswith("logged too often: 'WSGI0123'")


def test_declared_line_is_in_order(logged):
    audit, write = logged
    audit.expect("WSGI0123", 2)
    write("error", "WSGI0123: x", "WSGI0123: x")
    assert audit.check(SOON) == []


def test_traceback_belongs_to_its_thread(logged):
    audit, write = logged
    declared = audit.expect_traceback("WSGI0174", "ValueError: no", 1)
    write("error", "WSGI0174: [script x] raised", "Traceback (most recent call last):")
    write("error", "of another thread", thread=8)
    write("error", "ValueError: no", "after it")
    wrong = audit.check(SOON)
    assert [line.rpartition("] ")[2] for line in wrong] == ["of another thread", "after it"]
    assert declared.lines == ["Traceback (most recent call last):", "ValueError: no"]


def test_traceback_must_end_in_its_exception(logged):
    audit, write = logged
    audit.expect_traceback("WSGI0174", "ValueError: no", 1)
    write("error", "WSGI0174: [script x] raised", "KeyError: other")
    assert len(audit.check(SOON)) == 3


CONFIG = """
WSGIDaemonProcess main
WSGIProcessGroup main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /errors ${APPS}/errors/app.wsgi
WSGIScriptAlias /leaves-process ${APPS}/leaves-process/app.wsgi
"""


def test_server_audits_its_log(server_factory):
    server = server_factory(CONFIG)
    server.get("/errors?errors")
    server.wait_log("ERRORS-APP the rest")
    wrong = server.end_test(SOON)
    assert len(wrong) == 9
    assert all("not declared: " in line and "ERRORS-APP" in line for line in wrong)


def test_process_left_behind_is_found(server_factory):
    server = server_factory(CONFIG)
    left = Process.of(int(server.get("/leaves-process").body))
    assert left.runs
    (wrong,) = server.stop(deadline=5)
    assert wrong.startswith("processes are left after the server stopped")
    assert f"{left.pid} " in wrong
    assert not left.runs


def test_file_left_in_the_runtime_folder_is_found(server_factory):
    server = server_factory(CONFIG)
    server.write("run/left.sock", "")
    assert server.stop() == ["files are left in the runtime folder: ['left.sock']"]


def test_descriptor_leak_of_the_parent_is_found(server_factory):
    """The parent opens one more file at a restart that it did not have before: another log."""
    server = server_factory(CONFIG)
    server.configure(f"{CONFIG}\nCustomLog ${{ROOT}}/logs/more.log combined\n")
    server.graceful()
    (wrong,) = [line for line in server.end_test(SOON) if "descriptors" in line]
    assert "more.log" in wrong
    server.begin_test()


def test_zombie_is_found(server_factory):
    server = server_factory(CONFIG)
    code = "import os, time\nif os.fork() == 0: os._exit(0)\ntime.sleep(600)"
    zombie_maker = subprocess.Popen([sys.executable, "-c", code])
    server.tree.roots.add(zombie_maker.pid)
    try:
        wait_until(
            lambda: any(process.state == "Z" for process in server.tree.processes()), "a zombie"
        )
        (wrong,) = server.end_test(SOON)
        assert "nobody waits for" in wrong
    finally:
        os.kill(zombie_maker.pid, signal.SIGKILL)
        zombie_maker.wait()
        server.tree.roots.discard(zombie_maker.pid)


@pytest.mark.parametrize(
    ("answer", "body", "complete"),
    [
        (b"Content-Length: 5\r\n\r\nshort", b"short", True),
        (b"Content-Length: 9\r\n\r\nshort", b"short", False),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n\r\n", b"short", True),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", b"short", False),
    ],
)
def test_client_tells_whether_a_response_is_complete(answer, body, complete):
    with answering(answer) as port, Connection(port) as connection:
        response = connection.request("/")
    assert (response.body, response.complete) == (body, complete)


@contextlib.contextmanager
def answering(answer: bytes):
    """A server that has this one answer for one request; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection = listener.accept()[0]
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\n" + answer)
            connection.close()

        served = Background(serve)
        yield listener.getsockname()[1]
        served.result()


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        # As a random number in hexadecimal: one in sixteen is shorter.
        (b"Content-Length: 10\r\n\r\ntoken 0xab", b"Content-Length: 9\r\n\r\ntoken 0xa", True),
        (b"Content-Length: 9\r\n\r\ntoken 0xa", b"Content-Length: 9\r\n\r\ntaken 0xa", False),
        (b"Content-Length: 9\r\n\r\ntoken 0xa", b"\r\ntoken 0xa", True),
        (b"\r\ntoken 0xa", b"Content-Length: 9\r\n\r\ntoken 0xa", False),
        (b"X-A: 0x1\r\n\r\n", b"X-A: 0x2\r\n\r\n", True),
        (b"X-A: 1\r\n\r\n", b"X-A: 2\r\n\r\n", False),
    ],
)
def test_answers_are_compared_without_what_is_masked(one, other, equal):
    with answering(one) as port, answering(other) as reference_port:
        both = SideBySide(SimpleNamespace(port=port), reference_port)
        with contextlib.nullcontext() if equal else pytest.raises(AssertionError, match="GET /: "):
            both.compare(lambda client: client.get("/"), {"0x[0-9a-f]+": "0x..."})
