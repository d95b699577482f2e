# SPDX-License-Identifier: Apache-2.0
"""body-spool=: what is read of a request body before a thread of a daemon process is taken."""

import contextlib
import hashlib
import os
import random
import re
import resource
import selectors
import signal
import socket
import time
from urllib.parse import quote

import pytest

from harness.background import Background, HeldRequest
from harness.waiting import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi has no such option")

APPLICATIONS = ("hello", "hold", "pid", "input-digest", "input-echo", "input-start")


def configuration(options: str, *lines: str) -> str:
    mounts = [f"WSGIScriptAlias /{name} ${{APPS}}/{name}/app.wsgi" for name in APPLICATIONS]
    lines += ("WSGIProcessGroup main", "WSGIApplicationGroup %{GLOBAL}", "WSGIChunkedRequest On")
    return "\n".join([f"WSGIDaemonProcess main {options}", *lines, *mounts]) + "\n"


def random_bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


class SlowSenders:
    """Clients that have begun to send a body; what they send is decided from outside."""

    def __init__(self, server, count: int, size: int, path: str) -> None:
        self.size = size
        self.sent = [0] * count
        self.selector = selectors.DefaultSelector()
        self.sockets = []
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {size}"
        for index in range(count):
            client = socket.create_connection(("127.0.0.1", server.port), 60)
            client.sendall(head.encode() + b"\r\n\r\n")
            client.setblocking(False)
            self.sockets.append(client)
            self.selector.register(client, selectors.EVENT_WRITE, index)

    def send(self, most: int, until: int) -> None:
        """One round: each client that can sends `most` bytes, up to `until` in all."""
        for key, _ in self.selector.select(1):
            size = min(most, until - self.sent[key.data])
            if size > 0:
                self.sent[key.data] += key.fileobj.send(b"x" * size)

    def finish(self) -> list[bytes]:
        while min(self.sent) < self.size:
            self.send(1 << 16, self.size)
        answers = []
        for client in self.sockets:
            client.setblocking(True)
            client.settimeout(60)
            answer = b""
            while piece := client.recv(65536):
                answer += piece
            answers.append(answer)
        return answers

    def close(self) -> None:
        self.selector.close()
        for client in self.sockets:
            client.close()


WORKERS = {
    "prefork": "ServerLimit 256\nStartServers 210\nMaxRequestWorkers 256",
    "threaded": """
ThreadLimit 64
ServerLimit 5
ThreadsPerChild 64
StartServers 5
MinSpareThreads 1
MaxSpareThreads 320
MaxRequestWorkers 320""",
}


@pytest.mark.parametrize("spool", ["1M", "0"])
def test_slow_senders_hold_no_thread(server_factory, mpm, tmp_path_for_server, spool):
    """200 clients trickle 1 MB each: quick requests are answered, and without it they are not."""
    workers = WORKERS["prefork" if mpm == "prefork" else "threaded"]
    server = server_factory(configuration(f"threads=5 body-spool={spool}", workers))
    calls = tmp_path_for_server / "calls"
    calls.touch()
    calls.chmod(0o666)
    called = lambda: calls.read_text().count("called")  # noqa: E731
    size = 1_000_000
    slow = SlowSenders(server, 200, size, f"/input-start?{quote(str(calls))}")
    try:
        half = size // 2
        if spool == "0":
            wait_until(lambda: slow.send(5000, half) or called() >= 5, "all threads to be taken")
            quick = Background(lambda: server.get("/hello"))
            for _ in range(20):
                slow.send(1000, half)
                time.sleep(0.01)
            assert not quick.done
            assert called() == 5
        else:
            while min(slow.sent) < half:
                slow.send(5000, half)
                response = server.get("/hello")
                assert (response.status, response.body) == (200, b"Hello World!\n")
            assert called() == 0
            quick = Background(lambda: server.get("/hello"))
        finished = time.time()
        answers = slow.finish()
        assert quick.result().status == 200
    finally:
        slow.close()
    digest = hashlib.sha256(b"x" * size).hexdigest().encode()
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert digest in answer
        if spool != "0":
            assert float(re.search(rb"\[([0-9.]+),", answer)[1]) >= finished
    assert called() == 200


@pytest.mark.parametrize(
    ("spool", "size", "chunked", "ahead"),
    [
        ("", 1000, False, True),
        ("", 1 << 20, False, True),
        ("", (1 << 20) + 1, False, False),
        ("", 1000, True, False),
        ("body-spool=100K", 102_400, False, True),
        ("body-spool=100k", 102_401, False, False),
        ("body-spool=1000", 1000, False, True),
        ("body-spool=1000", 1001, False, False),
        ("body-spool=0", 1000, False, False),
        ("body-spool=100K,disk", 1000, True, True),
        ("body-spool=100K,disk", 102_401, False, True),
        ("body-spool=100K,disk", 3_000_000, False, True),
        ("body-spool=100K,disk", 3_000_000, True, True),
    ],
)
def test_what_is_read_ahead(server_factory, tmp_path_for_server, spool, size, chunked, ahead):
    """The body comes in two parts: whether the application is called before the second."""
    server = server_factory(configuration(f"threads=1 {spool}"))
    calls = tmp_path_for_server / "calls"
    calls.touch()
    calls.chmod(0o666)
    body = random_bytes(size)
    first, second = body[: size - 10], body[size - 10 :]
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    head = f"POST /input-start?{quote(str(calls))} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    with server.raw() as raw:
        raw.send(f"{head}{length}\r\n\r\n".encode() + framed(first, chunked))
        if ahead:
            # Time in which it would be called if it were called too early.
            time.sleep(0.3)
        else:
            wait_until(calls.read_text, "the call")
        middle = time.time()
        raw.send(framed(second, chunked) + (b"0\r\n\r\n" if chunked else b""))
        answer = raw.receive_all()
    assert hashlib.sha256(body).hexdigest().encode() in answer
    called = float(re.search(rb"\[([0-9.]+),", answer)[1])
    assert (called >= middle) is ahead


def framed(data: bytes, chunked: bool) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data) if chunked else data


@pytest.mark.parametrize("spool", ["1M", "1M,disk"])
def test_client_that_expects_100_continue_is_not_read_ahead(server_factory, spool):
    """100 is sent when the application reads, however the group is configured."""
    server = server_factory(configuration(f"threads=1 body-spool={spool}"))
    with server.raw() as raw:
        raw.send(
            b"POST /input-echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        )
        assert raw.receive_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        raw.send(b"body")
        answer = raw.receive_all()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"body" in answer


SIZES = [0, 1, 999, 1000, 1001, 65_536, 65_537, 327_680, 1_048_576, 5_000_001]


@pytest.mark.parametrize("spool", ["0", "1000", "64K", "300K", "1000,disk", "64K,disk", "1M,disk"])
@pytest.mark.parametrize("way", ["whole", "blocks", "lines"])
def test_bodies_arrive_whole(server_factory, spool, way):
    server = server_factory(configuration(f"threads=2 body-spool={spool}"))
    with server.connection() as connection:
        for size in SIZES:
            body = random_bytes(size)
            expected = [size, hashlib.sha256(body).hexdigest()]
            pieces = [body[at : at + 50_000] for at in range(0, size, 50_000)]
            for sent in (body, iter(pieces)):
                response = connection.request(f"/input-digest?{way}", method="POST", body=sent)
                assert response.status == 200
                assert response.json[:2] == expected


def test_file_has_no_name_and_goes_with_the_request(server_factory, tmp_path_for_server):
    folder = tmp_path_for_server / "spool"
    folder.mkdir()
    folder.chmod(0o777)
    server = server_factory(
        configuration("threads=1 body-spool=64K,disk"), environment={"TMPDIR": str(folder)}
    )
    body = random_bytes(1_000_000)
    head = f"POST /input-digest?whole HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"

    def files() -> list[str]:
        names = [name for child in server.httpd_children for name in child.descriptors.values()]
        return [name for name in names if str(folder) in name]

    with server.raw() as raw:
        raw.send(head.encode() + body[:500_000])
        wait_until(files, "the temporary file")
        assert [name for name in files() if "(deleted)" not in name] == []
        assert list(folder.iterdir()) == []
        raw.send(body[500_000:])
        assert hashlib.sha256(body).hexdigest().encode() in raw.receive_until(b"]")
        wait_until(lambda: not files(), "the temporary file to be gone")


def test_full_disk_is_507_and_said(server_factory):
    """A limit on the size of files, which httpd inherits, stands for the end of the disk."""
    server = server_factory(configuration("threads=1 body-spool=64K,disk"), start=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, hard))
    try:
        server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    [child] = server.httpd_children[:1]
    pid = child.pid
    assert server.post("/input-digest?whole", random_bytes(4_500_000)).status == 200
    head = b"POST /input-digest?whole HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"
    for _ in range(3):
        with server.raw() as raw:
            with contextlib.suppress(ConnectionError):
                raw.send(head + random_bytes(9_000_000))
            assert raw.receive_all().startswith(b"HTTP/1.1 507 ")
    assert server.post("/input-digest?whole", random_bytes(60_000)).status == 200
    assert server.get("/hello").status == 200
    assert pid in [child.pid for child in server.httpd_children]
    server.expect_log("WSGI0360.*temporary file in .*File too large", count=3)


def test_folder_without_permission_is_500_and_said(server_factory, tmp_path_for_server):
    folder = tmp_path_for_server / "closed"
    folder.mkdir()
    folder.chmod(0o555)
    server = server_factory(
        configuration("threads=1 body-spool=64K,disk"), environment={"TMPDIR": str(folder)}
    )
    assert server.post("/input-digest?whole", random_bytes(100_000)).status == 500
    assert server.get("/hello").status == 200
    server.expect_log("WSGI0360.*closed.*Permission denied", count=1)


@pytest.mark.parametrize("way", ["whole", "blocks", "lines"])
def test_file_that_cannot_be_read_again_is_500_and_said(server_factory, tmp_path_for_server, way):
    """It is cut off while the request waits for a thread, as if the disk had lost it."""
    folder = tmp_path_for_server / "spool"
    folder.mkdir()
    folder.chmod(0o777)
    server = server_factory(
        configuration("threads=1 body-spool=64K,disk"), environment={"TMPDIR": str(folder)}
    )
    held = HeldRequest(server, tmp_path_for_server).wait_started()
    body = random_bytes(600_000)
    waiting = Background(lambda: server.post(f"/input-digest?{way}", body))

    def whole_file() -> str | None:
        for child in server.httpd_children:
            for number, name in child.descriptors.items():
                path = f"/proc/{child.pid}/fd/{number}"
                if str(folder) in name and os.stat(path).st_size == len(body) - 65_536:
                    return path
        return None

    os.truncate(wait_until(whole_file, "the temporary file"), 100)
    held.release()
    assert held.result().status == 200
    assert waiting.result().status == 500
    server.expect_log("WSGI0360.*spool", count=1)
    server.expect_traceback("OSError: .* read error: what httpd had kept", count=1)
    assert server.post(f"/input-digest?{way}", body).status == 200


def test_missing_folder_is_500_and_said(server_factory, tmp_path_for_server):
    server = server_factory(
        configuration("threads=1 body-spool=64K,disk"),
        environment={"TMPDIR": str(tmp_path_for_server / "nowhere")},
    )
    assert server.post("/input-digest?whole", random_bytes(60_000)).status == 200
    assert server.post("/input-digest?whole", random_bytes(100_000)).status == 500
    assert server.get("/hello").status == 200
    server.expect_log("WSGI0360.*nowhere.*No such file", count=1)


@pytest.mark.parametrize("spool", ["1M", "64K,disk", "0"])
@pytest.mark.parametrize("size", [1000, 600_000])
def test_body_goes_to_another_process(server_factory, tmp_path_for_server, spool, size):
    """One thread: requests wait when the process is killed; the next one gets their bodies."""
    server = server_factory(configuration(f"threads=1 body-spool={spool}"))
    held = HeldRequest(server, tmp_path_for_server).wait_started()
    body = random_bytes(size)
    waiting = [Background(lambda: server.post("/input-digest?blocks", body)) for _ in range(3)]
    os.kill(held.pid, signal.SIGKILL)
    assert held.result().status == 502
    for request in waiting:
        response = request.result()
        assert response.status == 200
        assert response.json[:2] == [size, hashlib.sha256(body).hexdigest()]
    server.expect_log("WSGI014[67]", count=1)
    server.tolerate_log("signal 9")


@pytest.mark.parametrize("value", ["1T", "-1", "1M,file", "0,disk", "2G", "1,5M"])
def test_what_is_no_size_is_refused(server_factory, value):
    server = server_factory(start=False)
    result = server.configtest(configuration(f"body-spool={value}"))
    assert not result.accepted
    assert f"body-spool={value}" in result.output


def test_early_answers_leave_the_connections_usable(server_factory):
    """1,000 clients announce 10 MB; the application answers without reading."""
    server = server_factory(
        configuration("threads=3", "WSGIScriptAlias /input-unread ${APPS}/input-unread/app.wsgi")
    )
    pid = server.get("/pid").body
    [daemon] = server.daemon_processes
    size = 10 * 1024 * 1024
    head = f"POST /input-unread HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
    for number in range(1000):
        with server.raw() as raw:
            raw.send(head + b"x" * (number % 5 * 20_000))
            assert raw.receive_until(b"unread").startswith(b"HTTP/1.1 200 "), number
    with server.connection() as connection:
        for _ in range(10):
            response = connection.request("/input-unread", method="POST", body=b"x" * size)
            assert (response.status, response.body) == (200, b"unread")
    assert server.get("/pid").body == pid
    sockets = [name for name in daemon.descriptors.values() if name.startswith("socket:")]
    # A connection for each thread of httpd at most, the listener, the control socket.
    assert len(sockets) <= 60
    server.tolerate_log("AH")
