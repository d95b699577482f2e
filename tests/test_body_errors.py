# SPDX-License-Identifier: Apache-2.0
"""Bodies that cannot be read to their end: what the application, the client and the log get."""

import gzip
import hashlib
import random
import re

import pytest

from harness.under_test import OURS

# Each way is a path: embedded, and process groups that collect nothing, short bodies, or all.
WAYS = ("embedded", "pulled", "collected", "disk")
GROUPS = {
    "embedded": "%{GLOBAL}",
    "pulled": "pulled",
    "collected": "collected",
    "disk": "disk",
}
APPLICATIONS = ("input-error", "input-digest", "input-echo", "hello")


def configuration(*lines: str) -> str:
    spools = {"pulled": "body-spool=0", "collected": "", "disk": "body-spool=1K,disk"}
    text = [*lines, "WSGIApplicationGroup %{GLOBAL}", "WSGIChunkedRequest On"]
    for way in WAYS:
        if way != "embedded":
            text.append(f"WSGIDaemonProcess {way} threads=3 {spools[way] if OURS else ''}")
        text += [
            f"WSGIScriptAlias /{way}/{name} ${{APPS}}/{name}/app.wsgi process-group={GROUPS[way]}"
            for name in APPLICATIONS
        ]
    return "\n".join(text) + "\n"


@pytest.fixture(scope="module")
def server(module_server_factory):
    return module_server_factory(configuration("LimitRequestBody 100000"))


@pytest.fixture(params=WAYS)
def way(request):
    return request.param


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def post(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def is_read_ahead(way: str, framing: str) -> bool:
    """Whether the application is not called at all."""
    return OURS and (way == "disk" or (way == "collected" and framing == "length"))


def assert_healthy(server, way: str) -> None:
    response = server.get(f"/{way}/hello")
    assert (response.status, response.body) == (200, b"Hello World!\n")


def documents(answer: bytes) -> int:
    """How many answers or error pages there are in what came."""
    return max(answer.count(b"HTTP/1.1 "), answer.count(b"<!DOCTYPE"))


@pytest.mark.ours_only("mod_wsgi has no class of its own for it")
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("query", ["", "?caught"])
def test_client_that_goes_away(server, way, framing, how, query):
    """Reading raises mod_wsgi.ClientDisconnected; one line, at level info."""
    raw = server.raw()
    if framing == "length":
        raw.send(post(f"/{way}/input-error{query}", "Content-Length: 50000") + b"beginning")
    else:
        header = "Transfer-Encoding: chunked"
        raw.send(post(f"/{way}/input-error{query}", header) + chunk(b"beginning"))
    getattr(raw, how)()
    if is_read_ahead(way, framing):
        server.expect_log("WSGI0126.*the client closed the connection", count=1)
        assert server.wait_log("WSGI0126").level == "info"
        assert_healthy(server, way)
        return
    server.expect_log("INPUT-ERROR-APP", count=1)
    told = server.wait_log("INPUT-ERROR-APP").message
    assert re.search(
        r"APP mod_wsgi\.ClientDisconnected>builtins\.ConnectionAbortedError>.*builtins\.OSError>.*"
        r" mod_wsgi request data read error: .* again=ClientDisconnected$",
        told,
    ), told
    if not query:
        record = server.wait_log("mod_wsgi request data read error: .* before WSGI script")
        assert record.level == "info"
    assert_healthy(server, way)
    assert not server.find_log("Traceback")


@pytest.mark.difference("one document, that of the reason; in mod_wsgi two may follow each other")
@pytest.mark.parametrize("size", [100_001, 2_000_000], ids=str)
def test_chunked_body_over_the_limit(server, way, size):
    with server.raw() as raw:
        raw.send(post(f"/{way}/input-error", "Transfer-Encoding: chunked", "Connection: close"))
        try:
            for _ in range(size // 10_000):
                raw.send(chunk(b"x" * 10_000))
            raw.send(chunk(b"y" * (size % 10_000 or 1)) + b"0\r\n\r\n")
        except ConnectionError:
            pass
        answer = raw.receive_all()
    if OURS:
        assert answer.startswith(b"HTTP/1.1 413 "), answer
        assert documents(answer) == 1, answer
    server.tolerate_log("AH01587|AH01588|INPUT-ERROR-APP|WSGI0126|Traceback|OSError|  ")
    if not is_read_ahead(way, "chunked"):
        server.tolerate_log("WSGI0174|WSGI014")
    assert_healthy(server, way)


@pytest.mark.difference("one document, that of the reason; in mod_wsgi two may follow each other")
@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\nbody\r\n0\r\n\r\n",
        b"-5\r\nbody\r\n0\r\n\r\n",
        b"5\r\nhello\r\nnot a length\r\n",
        b"5 5\r\nhello\r\n0\r\n\r\n",
        b"ffffffffffffffffff\r\nhello\r\n",
        b"5\r\nhelloX\r\n0\r\n\r\n",
    ],
    ids=lambda chunks: ascii(chunks[:20]),
)
def test_malformed_chunks(server, way, chunks):
    with server.raw() as raw:
        raw.send(post(f"/{way}/input-error", "Transfer-Encoding: chunked") + chunks)
        answer = raw.receive_all()
    if OURS:
        assert answer.startswith(b"HTTP/1.1 400 ") or b"413" in answer[:20], answer
        assert documents(answer) == 1, answer
    server.tolerate_log("AH01586|AH01587|AH01588|AH02901|INPUT-ERROR-APP|WSGI0126")
    server.tolerate_log("WSGI0174|WSGI014|Traceback|OSError|  ")
    assert_healthy(server, way)


def test_application_may_answer_a_body_that_cannot_be_read(server, way):
    with server.raw() as raw:
        raw.send(post(f"/{way}/input-error?caught", "Transfer-Encoding: chunked") + b"zz\r\n")
        answer = raw.receive_all()
    server.tolerate_log("AH01586|AH01587|AH01588|AH02901|INPUT-ERROR-APP|WSGI0126|WSGI014")
    if OURS:
        assert documents(answer) == 1, answer
    assert_healthy(server, way)


INFLATE = "SetInputFilter DEFLATE"


@pytest.fixture(scope="module")
def inflating(module_server_factory):
    return module_server_factory(
        configuration("LimitRequestBody 0", INFLATE), modules=("filter", "deflate")
    )


@pytest.mark.parametrize("length", [0, 1, 10_000, 100_000, 1_000_000, 20_000_000], ids=str)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_body_that_a_filter_makes_longer(inflating, way, framing, length):
    """The application gets all of it, however long it is beside Content-Length."""
    # mod_deflate refuses what has a ratio of more than 200.
    body = random.Random(1).randbytes(length // 2).hex().encode().ljust(length, b"x")
    packed = gzip.compress(body)
    response = inflating.post(
        f"/{way}/input-digest?blocks",
        packed if framing == "length" else iter([packed]),
        headers={"Content-Encoding": "gzip"},
    )
    assert response.status == 200
    assert response.json[:2] == [length, hashlib.sha256(body).hexdigest()]


def test_body_that_a_filter_cannot_read(inflating, way):
    packed = gzip.compress(random.Random(1).randbytes(50_000).hex().encode())[:-20_000]
    headers = {"Content-Encoding": "gzip", "Connection": "close"}
    response = inflating.post(f"/{way}/input-error", packed, headers=headers)
    if OURS:
        assert response.status == 400
        if is_read_ahead(way, "length"):
            inflating.expect_log("WSGI0126.*malformed", count=1)
        else:
            inflating.expect_log(r"INPUT-ERROR-APP builtins\.OSError.*read error", count=1)
            inflating.expect_traceback("OSError", count=1)
    else:
        inflating.tolerate_log("INPUT-ERROR-APP|WSGI0126|WSGI0174|Traceback|OSError|  ")
    inflating.expect_log("AH02481", count=1)
    assert_healthy(inflating, way)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_client_that_sends_nothing_more(server_factory, way, framing):
    server = server_factory(configuration("Timeout 2"))
    with server.raw() as raw:
        if framing == "length":
            raw.send(post(f"/{way}/input-error", "Content-Length: 5000") + b"beginning")
        else:
            header = "Transfer-Encoding: chunked"
            raw.send(post(f"/{way}/input-error", header) + chunk(b"beginning"))
        answer = raw.receive_all()
    if OURS:
        assert answer.startswith(b"HTTP/1.1 408 "), answer
        assert documents(answer) == 1
        if is_read_ahead(way, framing):
            server.expect_log("WSGI0126.*sent nothing in time", count=1)
        else:
            server.expect_log(r"INPUT-ERROR-APP builtins\.TimeoutError.*read error", count=1)
            server.expect_traceback("TimeoutError", count=1)
    else:
        server.tolerate_log("INPUT-ERROR-APP|WSGI0126|WSGI0174|Traceback|OSError|  ")
    assert_healthy(server, way)


@pytest.mark.ours_only("in mod_wsgi, reading ends after socket-timeout")
def test_process_that_waits_less_long_than_httpd(server_factory):
    """Reading ends after twice socket-timeout, and httpd still tells the client why."""
    server = server_factory("""
Timeout 4
WSGIDaemonProcess main threads=1 socket-timeout=1 body-spool=0
WSGIApplicationGroup %{GLOBAL}
WSGIProcessGroup main
WSGIScriptAlias /input-error ${APPS}/input-error/app.wsgi
WSGIScriptAlias /hello ${APPS}/hello/app.wsgi
""")
    with server.raw() as raw:
        raw.send(post("/input-error", "Content-Length: 5000") + b"beginning")
        # The only thread is free again before httpd gives up.
        server.wait_log(r"INPUT-ERROR-APP builtins\.TimeoutError")
        assert server.get("/hello").status == 200
        assert server.find_log("WSGI0126") == []
        answer = raw.receive_all()
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert documents(answer) == 1
    server.expect_log("WSGI0126.*sent nothing in time", count=1)
    server.tolerate_log(
        r"INPUT-ERROR-APP builtins\.TimeoutError|WSGI0174|Traceback|TimeoutError|  "
    )
    assert server.get("/hello").status == 200
