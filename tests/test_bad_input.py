# SPDX-License-Identifier: Apache-2.0
"""Clients, applications and strangers that misbehave: right status, one line, life goes on."""

import os
import random
import signal
import socket

import pytest

from harness.background import Background, HeldRequest
from harness.plugin import differs
from harness.under_test import OURS, UPSTREAM
from harness.waiting import wait_until


def assert_healthy(site) -> None:
    for _ in range(5):
        response = site.get("/hello")
        assert (response.status, response.body) == (200, b"Hello World!\n")


# Clients that go away


@pytest.mark.difference("logged at info; in daemon mode, short bodies are there before the call")
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("way", ["whole", "blocks", "lines"])
def test_client_goes_away_while_it_sends_the_body(site, way, how):
    """Reading raises OSError in the application."""
    raw = site.raw()
    raw.send(
        f"POST /input-digest?{way} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n".encode()
        + b"only the beginning"
    )
    getattr(raw, how)()
    if OURS:
        phrase = "request data read error" if site.mode == "embedded" else "WSGI0126"
        assert site.wait_log(phrase).level == "info"
        site.tolerate_log("WSGI0126")
    else:
        site.expect_traceback("OSError", count=1)
        site.tolerate_log("WSGI0126|WSGI0127|WSGI0128|WSGI0129")
        site.wait_log("OSError")
    assert_healthy(site)


def test_client_goes_away_before_it_has_sent_anything(site):
    for _ in range(10):
        site.raw().close()
        site.raw().reset()
    assert_healthy(site)


def test_client_goes_away_while_it_receives(site):
    """The iteration ends and close() is called."""
    with site.raw() as raw:
        raw.send(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        raw.receive_until(b"xxxx")
        raw.reset()
    site.expect_log("ENDLESS-APP closed", count=1)
    site.wait_log("ENDLESS-APP closed")
    assert_healthy(site)


def test_write_to_a_client_that_went_away_raises(site):
    with site.raw() as raw:
        raw.send(b"GET /endless-write HTTP/1.1\r\nHost: x\r\n\r\n")
        raw.receive_until(b"xxxx")
        raw.reset()
    site.expect_log("ENDLESS-WRITE-APP True", count=1)
    site.expect_traceback("OSError", count=1)
    site.wait_log("ENDLESS-WRITE-APP")
    assert_healthy(site)


def test_many_clients_that_go_away(site):
    for _ in range(20):
        with site.raw() as raw:
            raw.send(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
            raw.receive_until(b"xxxx")
            raw.reset()
    site.expect_log("ENDLESS-APP closed", count=20)
    assert_healthy(site)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\0" * 100 + b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /hello HTTP/9.9\r\n\r\n",
        b"GET /hello HTTP/1.1\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: x\r\nBroken header\r\n\r\n",
        b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /hello%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: a b\r\n\r\n",
    ],
    ids=lambda request_bytes: ascii(request_bytes[:40]),
)
def test_what_is_not_http_is_httpds_to_refuse(site, request_bytes):
    with site.raw() as raw:
        raw.send(request_bytes)
        raw.socket.shutdown(socket.SHUT_WR)
        answer = raw.receive_all()
    assert b"400 Bad Request" in answer or answer.split(b" ")[1] in (b"404", b"414", b"505"), answer
    site.tolerate_log("AH")
    assert_healthy(site)


# Applications that misbehave


def test_script_that_cannot_be_read(server_factory, mode):
    server = server_factory(
        """
WSGIDaemonProcess main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /embedded ${APPS}/hello/app.wsgi
WSGIScriptAlias /daemon ${APPS}/hello/app.wsgi process-group=main
""",
        start=False,
    )
    script = server.apps / "hello/app.wsgi"
    script.chmod(0o000)
    server.start()
    assert server.get(f"/{mode}").status == 500
    server.expect_log("WSGI0105", count=1)
    server.expect_traceback("PermissionError: .*hello/app.wsgi", count=1)
    server.wait_log("PermissionError")
    script.chmod(0o644)
    assert server.get(f"/{mode}").status == 200


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("not-utf-8", b"text = '\xff\xfe'\n", "SyntaxError|UnicodeDecodeError"),
        ("unknown-coding", b"# -*- coding: no-such-coding -*-\n", "SyntaxError|LookupError"),
        ("indentation", b"if True:\npass\n", "IndentationError"),
        ("binary", bytes(range(1, 256)), "SyntaxError|UnicodeDecodeError|ValueError"),
    ],
)
def test_script_that_is_no_text(server_factory, mode, name, content, error):
    server = server_factory(
        f"""
WSGIDaemonProcess main
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias /embedded ${{APPS}}/{name}.wsgi
WSGIScriptAlias /daemon ${{APPS}}/{name}.wsgi process-group=main
""",
        start=False,
    )
    server.write(f"apps/{name}.wsgi", content)
    server.start()
    assert server.get(f"/{mode}").status == 500
    server.expect_log("WSGI0105", count=1)
    server.expect_traceback(error, count=1)


def test_empty_script_has_no_callable(server_factory, mode):
    server = server_factory(
        """
WSGIDaemonProcess main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /embedded ${APPS}/empty.wsgi
WSGIScriptAlias /daemon ${APPS}/empty.wsgi process-group=main
""",
        start=False,
    )
    server.write("apps/empty.wsgi", "")
    server.start()
    assert server.get(f"/{mode}").status == (404 if mode == "embedded" else 500)
    server.expect_log("WSGI0089", count=1)


def test_endless_recursion_is_a_500(site):
    assert site.get("/recursion").status == 500
    site.expect_traceback("RecursionError", count=1)
    assert_healthy(site)


def test_long_line_in_the_log_does_no_harm(site):
    assert site.get("/long-line").status == 200
    site.expect_log("LONG-LINE-APP")
    site.tolerate_log("x{1000}")
    site.wait_log("LONG-LINE-APP end")
    assert_healthy(site)


# Processes that die

DYING = """
WSGIDaemonProcess main threads=3
WSGIProcessGroup main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /hello ${APPS}/hello/app.wsgi
WSGIScriptAlias /pid ${APPS}/pid/app.wsgi
WSGIScriptAlias /die ${APPS}/die/app.wsgi
WSGIScriptAlias /hold ${APPS}/hold/app.wsgi
WSGIScriptAlias /output-fd ${APPS}/output-fd/app.wsgi
"""


@pytest.mark.parametrize(
    ("way", "cause"),
    [
        ("kill", "signal 9"),
        ("exit", "exit(ed with status|[a-z ]*code) 3"),
        ("abort", "signal 6"),
        ("segfault", "signal 11"),
    ],
)
def test_process_that_dies_in_a_request(server_factory, way, cause):
    """502 for that request; one line says why the process died; the next request is answered."""
    server = server_factory(DYING)
    before = server.get("/pid").body
    assert server.get(f"/die?{way}").status == 502
    response = server.get("/pid")
    assert response.status == 200
    assert response.body != before
    server.expect_log("WSGI014[67]", count=1)
    if OURS or way != "exit":
        # mod_wsgi takes an exit code for a signal.
        cause = f"WSGI0303.*{cause}" if OURS else cause
        record = server.wait_log(cause)
        assert before.decode() in record.message
        server.expect_log(cause, count=1)
    if way in ("abort", "segfault"):
        fatal_lines(server, way)
    else:
        server.tolerate_log("terminated by signal")


def fatal_lines(server, way: str) -> None:
    """What Python's faulthandler writes in our daemon processes: where it was."""
    if UPSTREAM:
        server.tolerate_log("terminated by signal|AH00052")
        return
    server.expect_log("Fatal Python error: " + ("Aborted" if way == "abort" else "Segmentation"))
    server.expect_log(r"die/app\.wsgi.*in die")
    server.tolerate_log('File "|Current thread|Thread 0x|no Python frame|Extension modules|main')


@pytest.mark.difference("a response cut off by the death of its process is visibly incomplete")
def test_process_that_dies_after_output(server_factory):
    server = server_factory(DYING)
    response = server.get("/die?after-output-kill", headers={"Connection": "close"})
    assert (response.status, response.body) == (200, b"output")
    assert response.complete is differs(upstream=True, ours=False)
    assert server.get("/hello").status == 200
    server.expect_log("signal 9")
    server.tolerate_log("WSGI0119")
    if OURS:
        server.tolerate_log("WSGI014[67]")


def test_process_killed_while_several_requests_run(server_factory, tmp_path_for_server):
    server = server_factory(DYING)
    held = [HeldRequest(server, tmp_path_for_server).wait_started() for _ in range(3)]
    os.kill(held[0].pid, signal.SIGKILL)
    assert {request.result().status for request in held} == {502}
    assert server.get("/hello").status == 200
    server.expect_log("WSGI014[67]", count=3)
    server.tolerate_log("signal 9")


def test_request_that_had_not_started_is_not_lost(server_factory, tmp_path_for_server):
    """One thread: the second request waits when the process is killed, and then gets its answer."""
    server = server_factory(DYING.replace("threads=3", "threads=1"))
    held = HeldRequest(server, tmp_path_for_server).wait_started()
    waiting = [Background(lambda: server.get("/hello")) for _ in range(3)]
    os.kill(held.pid, signal.SIGKILL)
    assert held.result().status == 502
    assert {request.result().status for request in waiting} == {200}
    server.expect_log("WSGI014[67]", count=1)
    server.tolerate_log("signal 9")


def test_process_that_dies_again_and_again(server_factory):
    server = server_factory(DYING)
    for _ in range(3):
        assert server.get("/die?kill").status == 502
        assert server.get("/hello").status == 200
    server.expect_log("WSGI014[67]", count=3)
    server.tolerate_log("signal 9")


@pytest.mark.ours_only("in mod_wsgi, these descriptors are httpd's own")
def test_output_past_pythons_streams_is_logged(server_factory):
    server = server_factory(DYING)
    assert server.get("/output-fd").status == 200
    server.expect_log("OUTPUT-FD-APP one", count=1)
    server.expect_log("OUTPUT-FD-APP two", count=1)
    server.wait_log("OUTPUT-FD-APP two")
    assert {record.level for record in server.find_log("OUTPUT-FD-APP")} <= {"info", "error"}


def test_more_requests_than_threads_are_all_answered(server_factory):
    server = server_factory(DYING)
    clients = [Background(lambda: server.get("/hello").status) for _ in range(40)]
    assert {client.result() for client in clients} == {200}


# Strangers on the daemon socket


def stranger(address: bytes, data: bytes) -> None:
    """Connect, send, read what comes, leave; being refused is fine."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        try:
            connection.connect(address)
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except (ConnectionError, PermissionError):
            return


def as_user(uid: int, call) -> bool:
    """Run the call in a forked process of that user; whether it returned without an exception."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            call()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


RANDOM = random.Random(2026)
FRAMES = [
    b"",
    b"\0" * 16,
    b"\xff" * 64,
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    (2**40).to_bytes(8, "little") * 2,
    (100).to_bytes(8, "little") + (2**31).to_bytes(8, "little") + b"x" * 84,
    *(RANDOM.randbytes(size) for size in (1, 7, 100, 5000, 100_000)),
]


@pytest.mark.parametrize("data", FRAMES, ids=lambda data: f"{len(data)}-{data[:4].hex()}")
def test_random_bytes_on_the_daemon_socket(server_factory, data):
    server = server_factory(DYING)
    before = server.get("/pid").body
    addresses = server.daemon_sockets
    assert addresses
    for address in addresses:
        for _ in range(3):
            stranger(address, data)
    assert server.get("/pid").body == before
    assert len(server.daemon_processes) == 1
    server.tolerate_log(r"\[wsgi:(warn|error|alert)\]")


@pytest.mark.root_only("another user is needed")
def test_other_user_on_the_daemon_socket_is_refused(server_factory):
    server = server_factory(DYING)
    before = server.get("/pid").body
    for address in server.daemon_sockets:
        assert not as_user(65534, lambda address=address: must_be_served(address))
    assert server.get("/pid").body == before
    server.tolerate_log(r"\[wsgi:(warn|error|alert)\]")


def must_be_served(address: bytes) -> None:
    """Raises if the connection is refused, or closed before it could have said anything."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(address)
        try:
            data = connection.recv(1)
        except TimeoutError:
            return
        if not data:
            raise ConnectionRefusedError


@pytest.mark.ours_only("in mod_wsgi, each of them holds a thread until socket-timeout")
def test_idle_connections_to_the_daemon_socket_do_no_harm(server_factory):
    """More are opened than there are threads."""
    server = server_factory(DYING.replace("threads=3", "threads=2 socket-timeout=2"))
    addresses = server.daemon_sockets
    opened = []
    for address in addresses * 6:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(address)
        except (ConnectionError, PermissionError):
            connection.close()
            continue
        opened.append(connection)
    assert server.get("/hello").status == 200
    for connection in opened:
        connection.close()
    wait_until(lambda: server.get("/hello").status == 200, "an answer")
    server.tolerate_log(r"\[wsgi:(warn|error|alert)\]")
