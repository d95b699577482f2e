# SPDX-License-Identifier: Apache-2.0
"""Responses on their way: promptly, in few writes, whole or visibly not, in little memory."""

import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from harness.plugin import differs
from harness.under_test import OURS
from harness.waiting import wait_until

BOTH = """
WSGIApplicationGroup %{{GLOBAL}}
WSGIDaemonProcess main {options}
WSGIScriptAlias /embedded ${{APPS}}/{app}/app.wsgi
WSGIScriptAlias /daemon ${{APPS}}/{app}/app.wsgi process-group=main
"""


def both(app: str, options: str = "") -> str:
    """The application in both modes, at /embedded and /daemon."""
    return BOTH.format(app=app, options=options)


def respond(status, headers, blocks) -> str:
    return "/respond?" + quote(repr((status, headers, blocks)))


# When blocks reach the client


def test_a_block_is_visible_within_milliseconds_while_the_application_sleeps(site):
    """Asked for are 10 ms; the best of some, as the machine may be busy."""
    delays = []
    for _ in range(10):
        with site.raw() as raw:
            raw.send(b"GET /timed?0.5 HTTP/1.0\r\nHost: x\r\n\r\n")
            data = b""
            while not re.search(rb"\r\n\r\n\d+\.\d+\n", data):
                data += raw.receive()
            seen = time.clock_gettime(time.CLOCK_MONOTONIC)
            assert b"end" not in data
        delays.append(seen - float(data.rpartition(b"\r\n\r\n")[2]))
    assert min(delays) < 0.1


@pytest.mark.ours_only("mod_wsgi reads the whole body before the application runs, in daemon mode")
def test_what_was_sent_is_flushed_before_more_of_the_body_is_awaited(site):
    """A client that sends its body (too large to be collected) when it has seen a block."""
    with site.raw() as raw:
        raw.send(
            b"POST /rendezvous HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Content-Length: 2000000\r\n\r\n"
        )
        raw.receive_until(b"ready")
        raw.send(b"body " + b"x" * (2_000_000 - 5))
        assert b"body " in raw.receive_all()


def chunks_of(server, path: str) -> int:
    """How many chunks a response comes in: each is what went to httpd's filters at once."""
    with server.raw() as raw:
        raw.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        body = raw.receive_all().partition(b"\r\n\r\n")[2]
    count = 0
    while body:
        size, _, body = body.partition(b"\r\n")
        body = body[int(size, 16) + 2 :]
        count += int(size, 16) > 0
    return count


def test_without_a_flush_delay_each_block_is_flushed(server_factory):
    """Blocks with 50 ms between them do not meet in any buffer."""
    server = server_factory(both("sized", "response-flush-delay=0"))
    count = chunks_of(server, "/daemon?blocks=262144&pause=0.05")
    # mod_wsgi passes them on in pieces of 8 KiB.
    assert count == 4 if OURS else count >= 4


def test_a_long_flush_delay_lets_small_blocks_go_together(server_factory):
    """With 100 s, the two blocks of a response that takes 0.5 s go with its end: nothing of it can
    be seen before. With the default, the first is seen at once."""
    server = server_factory(both("timed", "response-flush-delay=100000"))
    with server.raw() as raw:
        raw.send(b"GET /daemon?0.5 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        first = raw.receive()
    assert b"end\n" in first


@pytest.mark.parametrize("size", [65536, 1_000_000])
def test_response_buffer_size_bounds_what_is_not_flushed(server_factory, size):
    """A compressing filter holds back what is not flushed; with a small buffer it may not."""
    server = server_factory(
        both("sized", f"response-flush-delay=100000 response-buffer-size={size}")
        + "SetOutputFilter DEFLATE\n",
        modules=("deflate", "filter"),
    )
    with server.raw() as raw:
        raw.send(
            b"GET /daemon?blocks=1048576&pause=0.05 HTTP/1.1\r\nHost: x\r\n"
            b"Accept-Encoding: gzip\r\nConnection: close\r\n\r\n"
        )
        started = time.monotonic()
        raw.receive_until(b"\r\n\r\n")
        first = time.monotonic() - started
        raw.receive_all()
        whole = time.monotonic() - started
    # 16 blocks: the head comes with the first or the last quarter of them.
    assert (first < whole / 2) == (size == 65536)


def test_response_socket_timeout(server_factory):
    """A client that does not read is given up after that time and not after httpd's Timeout."""
    server = server_factory("Timeout 300\n" + both("endless", "response-socket-timeout=1"))
    with server.raw() as raw:
        raw.send(b"GET /daemon HTTP/1.1\r\nHost: x\r\n\r\n")
        raw.receive_until(b"xxxx")
        server.expect_log("ENDLESS-APP closed", count=1)
        server.tolerate_log("WSGI0118|WSGI0120|AH")
        server.wait_log("ENDLESS-APP closed")


def test_a_list_is_answered_in_one_write(server_factory, mode):
    """Head and body in the first segment that the client gets."""
    if not OURS:
        pytest.skip("mod_wsgi sends each block by itself")
    server = server_factory(both("respond"))
    for _ in range(5):
        with server.raw() as raw:
            query = quote(repr(("200 OK", [("Content-Type", "text/plain")], [b"one ", b"two"])))
            raw.send(f"GET /{mode}?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert raw.receive().endswith(b"\r\n\r\none two")


# Responses that are cut off


@pytest.fixture(scope="module")
def h2(module_server_factory):
    return module_server_factory(
        "Protocols h2c http/1.1\n"
        + both("raises")
        + "WSGIScriptAlias /die ${APPS}/die/app.wsgi process-group=main\n"
        + "WSGIScriptAlias /hello ${APPS}/hello/app.wsgi\n",
        modules=("http2",),
    )


def curl(server, path: str, *options: str, port: str = "") -> subprocess.CompletedProcess:
    """curl's exit code is 92 for a stream of HTTP/2 that was reset, 18 for a body that is short."""
    return subprocess.run(
        [
            *("curl", "--silent", "--show-error", "--max-time", "60", *options),
            f"http://127.0.0.1:{server.ports[port]}{path}",
        ],
        capture_output=True,
    )


@pytest.mark.difference("a response cut off by an error is visibly incomplete in both modes")
@pytest.mark.parametrize("length", ["", "&length=100"])
def test_a_stream_of_http2_that_is_cut_off_is_reset(h2, mode, length):
    path = f"/{mode}?when=output&what=ValueError{length}"
    result = curl(h2, path, "--http2-prior-knowledge")
    h2.expect_traceback("ValueError: told to raise", count=1)
    h2.tolerate_log("AH")
    assert (result.returncode == 92) is differs(upstream=bool(length), ours=True), result


@pytest.mark.ours_only("mod_wsgi ends the stream as if the response were whole")
def test_a_stream_of_http2_whose_process_dies_is_reset(h2):
    result = curl(h2, "/die?after-output-kill", "--http2-prior-knowledge")
    h2.expect_log("WSGI0119", count=1)
    h2.expect_log("WSGI0303", count=1)
    h2.wait_log("WSGI0303")
    assert result.returncode == 92, result


def test_http2_goes_on_after_a_reset(h2, mode):
    """The next stream of a new connection is served."""
    result = curl(h2, "/hello", "--http2-prior-knowledge")
    assert (result.returncode, result.stdout) == (0, b"Hello World!\n")


@pytest.mark.difference("a response cut off by an error is visibly incomplete in both modes")
def test_http_1_0_without_a_length_that_is_cut_off(site):
    """There is no sign for it in HTTP/1.0 but the end of the connection; it must not be kept alive,
    and the reset of the socket is the only thing that tells it from a whole response."""
    with site.raw() as raw:
        raw.send(
            b"GET /raises?when=output&what=ValueError HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        )
        answer = raw.receive_all()
    assert b"keep-alive" not in answer.lower().partition(b"\r\n\r\n")[0]
    assert answer.endswith(b"\r\n\r\noutput")
    site.expect_traceback("ValueError: told to raise", count=1)


# Files


def read_by(processes) -> int:
    """Bytes that the processes have read from files."""
    total = 0
    for process in processes:
        lines = Path(f"/proc/{process.pid}/io").read_text().splitlines()
        total += int(dict(line.split(": ") for line in lines)["rchar"])
    return total


SIZE = 20 << 20


@pytest.fixture
def large_file(site):
    path = site.server.write("htdocs/large.bin", os.urandom(SIZE))
    yield path
    path.unlink()


@pytest.mark.ours_only(
    "mod_wsgi reads the file in the daemon process, and sends its bytes to httpd"
)
def test_the_daemon_process_has_no_part_in_sending_a_file(server_factory):
    """It is stopped as soon as it has passed the descriptor on; the client gets all the same."""
    server = server_factory(both("stops"))
    content = os.urandom(SIZE)
    path = server.write("htdocs/large.bin", content)
    with server.raw() as raw:
        raw.send(f"GET /daemon?{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        data = raw.receive_until(b"\r\n\r\n")
        while len(data) < SIZE:
            data += raw.receive(1 << 20)
        (process,) = server.daemon_processes
        wait_until(lambda: process.state == "T", "the daemon process is stopped")
        while len(data.partition(b"\r\n\r\n")[2]) < SIZE:
            data += raw.receive(1 << 20)
        os.kill(process.pid, signal.SIGCONT)
    assert data.partition(b"\r\n\r\n")[2] == content


@pytest.mark.ours_only(
    "mod_wsgi reads the file in the daemon process, and sends its bytes to httpd"
)
@pytest.mark.root_only("only root sees what processes of another user read")
def test_no_byte_of_a_file_is_read_by_the_daemon_process(site, large_file):
    if site.mode == "embedded":
        pytest.skip("there is no daemon process")
    site.get("/hello")
    before = read_by(site.server.daemon_processes)
    assert len(site.get(f"/sized?file={large_file}").body) == SIZE
    assert read_by(site.server.daemon_processes) - before < SIZE // 100
    # As any other iterable it is read: the measure measures.
    before = read_by(site.server.daemon_processes)
    assert len(site.get(f"/sized?file={large_file}&iterated=1").body) == SIZE
    assert read_by(site.server.daemon_processes) - before >= SIZE


@pytest.mark.parametrize("enable", ["", "EnableMMAP Off\n", "WSGIEnableSendfile On\n"])
def test_a_file_arrives_as_it_is(server_factory, mode, enable):
    server = server_factory(enable + both("sized"))
    content = os.urandom(9 << 20)
    path = server.write("htdocs/file.bin", content)
    assert server.get(f"/{mode}?file={path}").body == content


@pytest.mark.parametrize("range_", ["bytes=5-9", "bytes=-6", "bytes=10-", "bytes=99999999-"])
def test_range_of_a_file(site, large_file, range_):
    """Upstream's daemon mode sends the file as a stream, of which httpd cannot send a part."""
    content = large_file.read_bytes()
    response = site.get(f"/sized?file={large_file}", headers={"Range": range_})
    upstream_ignores = not OURS and site.mode == "daemon"
    if upstream_ignores:
        assert (response.status, response.body) == (200, content)
    elif range_ == "bytes=99999999-":
        assert response.status == 416
        if not OURS:
            site.tolerate_log("AH|WSGI0174|OSError")
    else:
        expected = {
            "bytes=5-9": content[5:10],
            "bytes=-6": content[-6:],
            "bytes=10-": content[10:],
        }
        assert (response.status, response.body) == (206, expected[range_])


@pytest.mark.ours_only(
    "mod_wsgi's daemon process dies of SIGBUS, and its embedded mode takes minutes"
)
def test_a_file_that_shrinks_while_it_is_sent(site):
    """The response is visibly incomplete, and nobody crashes."""
    path = site.server.write("htdocs/shrinking.bin", b"x" * SIZE)
    with site.raw() as raw:
        raw.send(f"GET /sized?file={path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = raw.receive_until(b"\r\n\r\n")
        assert f"content-length: {SIZE}".encode() in head.lower()
        os.truncate(path, 0)
        rest = raw.receive_all()
    assert len(rest) < SIZE
    path.unlink()
    assert site.get("/hello").status == 200


@pytest.mark.difference("a file that was closed is no fast path, and reading it raises")
def test_a_closed_file_is_a_500(server_factory, mode):
    server = server_factory(both("scripted"), start=False)
    server.write(
        "apps/scripted/app.wsgi",
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    file = open(__file__, 'rb')\n"
        "    file.close()\n"
        "    return environ['wsgi.file_wrapper'](file)\n",
    )
    server.start()
    assert server.get(f"/{mode}").status == 500
    server.expect_traceback("ValueError: ", count=1)


# Conditional requests


DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("name", "value"), [("If-None-Match", '"tag"'), ("If-Modified-Since", DATE)]
)
def test_conditional_request(site, name, value):
    """httpd compares for its own files only: the application is asked, and its answer is sent."""
    headers = [("Content-Type", "text/plain"), ("ETag", '"tag"'), ("Last-Modified", DATE)]
    response = site.get(respond("200 OK", headers, [b"body"]), headers={name: value})
    assert (response.status, response.body) == (200, b"body")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_length_of_what_has_no_body(site, status):
    """A Content-Length of the application does not make the client wait for a body."""
    path = respond(status, [("Content-Length", "17")], [b"must not be sent!"])
    with site.connection() as connection:
        response = connection.request(path)
        assert (response.status, response.body) == (int(status[:3]), b"")
        assert connection.request("/hello").body == b"Hello World!\n"


def test_a_header_of_64_kib(site):
    """No limit of ours; mod_wsgi's daemon mode has one of 32 KiB."""
    value = "v" * 65536
    with site.raw() as raw:
        raw.send(b"GET /long-header HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = raw.receive_all()
    if not OURS and site.mode == "daemon":
        assert answer.startswith(b"HTTP/1.1 500")
        site.expect_log("WSGI0144", count=1)
    else:
        assert answer.startswith(b"HTTP/1.1 200")
        assert f"X-Long: {value}\r\n".encode() in answer


# Memory


BIG = 256 << 20
MOST_GROWTH = 16 << 20


class Watch:
    """The most private memory that each process of a server has while the watch runs."""

    def __init__(self, processes):
        self.before = {process: process.private_memory for process in processes}
        self.most = dict(self.before)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self):
        while not self._stop.wait(0.02):
            for process in self.most:
                if process.exists:
                    self.most[process] = max(self.most[process], process.private_memory)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def growth(self) -> int:
        return max(self.most[process] - self.before[process] for process in self.most)


@pytest.mark.root_only("only root sees the memory of another user's processes")
@pytest.mark.parametrize("pace", ["fast", "slow"])
@pytest.mark.parametrize("kind", ["blocks", "file"])
def test_a_large_response_is_never_in_memory(site, kind, pace):
    size = BIG if pace == "fast" else BIG // 8
    path = site.server.root / "htdocs/big.bin"
    if kind == "file":
        with open(path, "wb") as file:
            file.truncate(size)
        path.chmod(0o644)
    site.get("/sized?blocks=65536")
    processes = [*site.server.httpd_children, *site.server.daemon_processes]
    with Watch(processes) as watch, site.raw() as raw:
        what = f"file={path}" if kind == "file" else f"blocks={size}"
        raw.send(f"GET /sized?{what} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        received, room = 0, memoryview(bytearray(1 << 20))
        while got := raw.socket.recv_into(room):
            received += got
            if pace == "slow":
                # Sixteen times as slow as it could be, at the least.
                time.sleep(got / (64 << 20))
    assert received > size
    assert watch.growth() < MOST_GROWTH
    path.unlink(missing_ok=True)


# Notes


def logged(server) -> list[list[str]]:
    path = server.root / "logs/notes.log"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


NOTES = """
LogFormat "%{mod_wsgi.process_group}n %{mod_wsgi.daemon_pid}n %{mod_wsgi.queue_time}n \
%{mod_wsgi.application_time}n %D %>s" notes
CustomLog ${ROOT}/logs/notes.log notes
"""


@pytest.mark.ours_only("mod_wsgi has no notes for the access log")
@pytest.mark.parametrize("app", ["timed", "pid"])
def test_notes_tell_who_answered_and_how_long_it_took(server_factory, mode, app):
    server = server_factory(NOTES + both(app, "display-name=x"))
    assert server.get(f"/{mode}?0.2").status == 200
    wait_until(lambda: logged(server), "a line in the access log")
    group, pid, queue, application, whole, status = logged(server)[0]
    assert status == "200"
    assert int(application) <= int(whole)
    if app == "timed":
        assert int(application) >= 200_000
    if mode == "embedded":
        assert (group, pid, queue) == ("-", "-", "-")
    else:
        assert group == "main"
        assert int(pid) in [process.pid for process in server.daemon_processes]
        assert 0 <= int(queue) <= int(whole)


@pytest.mark.ours_only("mod_wsgi has no notes for the access log")
def test_the_time_in_the_queue_is_that_of_waiting_for_a_thread(server_factory):
    server = server_factory(NOTES + both("timed", "threads=1"))
    threads = [threading.Thread(target=server.get, args=("/daemon?0.5",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(logged(server)) == 2, "two lines in the access log")
    shortest, longest = sorted(int(line[2]) for line in logged(server))
    # One of them waited while the other slept.
    assert longest > 250_000 > shortest
    assert all(500_000 <= int(line[3]) < 1_000_000 + longest for line in logged(server))


@pytest.mark.ours_only("mod_wsgi has no notes for the access log")
def test_notes_of_an_application_that_fails(server_factory, mode):
    server = server_factory(NOTES + both("raises"))
    assert server.get(f"/{mode}?when=call&what=ValueError").status == 500
    server.expect_traceback("ValueError: told to raise", count=1)
    wait_until(lambda: logged(server), "a line in the access log")
    group, _, _, application, _, status = logged(server)[0]
    assert (group, status) == ("-" if mode == "embedded" else "main", "500")
    assert int(application) > 0
