# SPDX-License-Identifier: Apache-2.0
"""wsgi.input: its methods, bodies of all sizes, and what happens to a body nobody reads.

Clients that go away while they send are in test_bad_input.py.
"""

import hashlib
import socket
from urllib.parse import quote

import pytest

from harness.plugin import differs

BODY = b"first\nsecond line\n\nfourth without end"


def call(site, calls, body=BODY) -> list[str]:
    """The repr of what each method call returns, or the name of what it raises."""
    response = site.post("/input-calls?" + quote(repr(calls)), body)
    assert response.status == 200
    return response.json


METHODS = pytest.mark.parametrize(
    ("calls", "results"),
    [
        ([("read",)], [BODY]),
        ([("read", -1)], [BODY]),
        ([("read", 5), ("read", 1), ("read",)], [b"first", b"\n", BODY[6:]]),
        ([("read", 10000)], [BODY]),
        ([("read", 0)], [b""]),
        ([("read", 0), ("read",)], [b"", BODY]),
        ([("read",), ("read",), ("read", 5)], [BODY, b"", b""]),
        ([("readline",)] * 6, [*BODY.splitlines(True), b"", b""]),
        ([("readline", 3), ("readline", 100)], [b"fir", b"st\n"]),
        ([("readline", 0), ("readline",)], [b"", b"first\n"]),
        ([("readline", -1)], [b"first\n"]),
        ([("readline",), ("read",)], [b"first\n", BODY[6:]]),
        ([("read", 2), ("readline",)], [b"fi", b"rst\n"]),
        ([("readlines",)], [BODY.splitlines(True)]),
        ([("readlines", 8)], [BODY.splitlines(True)[:2]]),
        ([("readlines",), ("readlines",)], [BODY.splitlines(True), []]),
        ([("list",)], [BODY.splitlines(True)]),
        ([("next",), ("next",)], [b"first\n", b"second line\n"]),
        ([("read",), ("readline",), ("readlines",), ("list",)], [BODY, b"", [], []]),
        ([("close",), ("read",)], [None, BODY]),
        ([("read", True), ("read", False)], [b"f", b""]),
        ([("read", -7)], [BODY]),
        ([("readlines", 0)], [BODY.splitlines(True)]),
        ([("readlines", -1)], [BODY.splitlines(True)]),
        ([("readlines", 6)], [BODY.splitlines(True)[:1]]),
        ([("readlines", 7)], [BODY.splitlines(True)[:2]]),
        ([("next",), ("read", 3), ("readline",)], [b"first\n", b"sec", b"ond line\n"]),
    ],
)


@METHODS
def test_methods(site, calls, results):
    assert call(site, calls) == [repr(result) for result in results]


@pytest.fixture(scope="module")
def chunked(module_server_factory):
    return module_server_factory("""
WSGIDaemonProcess main threads=3
WSGIApplicationGroup %{GLOBAL}
WSGIChunkedRequest On
WSGIScriptAlias /embedded/input-calls ${APPS}/input-calls/app.wsgi
WSGIScriptAlias /embedded/input-digest ${APPS}/input-digest/app.wsgi
WSGIScriptAlias /daemon/input-calls ${APPS}/input-calls/app.wsgi process-group=main
WSGIScriptAlias /daemon/input-digest ${APPS}/input-digest/app.wsgi process-group=main
""")


@METHODS
def test_methods_on_a_chunked_body(chunked, mode, calls, results):
    for size in (1, 7, 100):
        chunks = [BODY[at : at + size] for at in range(0, len(BODY), size)]
        path = f"/{mode}/input-calls?{quote(repr(calls))}"
        assert chunked.post(path, iter(chunks)).json == [repr(result) for result in results]


@pytest.mark.parametrize("way", ["whole", "blocks", "lines", "limited-lines"])
@pytest.mark.parametrize("size", [0, 1, 8192, 65_537, 3_000_000], ids=str)
def test_chunked_body_arrives_whole(chunked, mode, way, size):
    body = (b"0123456789abcdef" * 500 + b"\n") * (size // 8001 + 1)
    body = body[:size]
    chunks = [body[at : at + 10_007] for at in range(0, size, 10_007)]
    response = chunked.post(f"/{mode}/input-digest?{way}", iter(chunks))
    assert response.json == [size, hashlib.sha256(body).hexdigest(), None]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("read", "5"), "TypeError"),
        (("read", 1, 2), "TypeError"),
        (("readline", "5"), "TypeError"),
        (("readlines", "5"), "TypeError"),
        (("read", 5.0), "TypeError"),
        (("read", 1 << 70), "OverflowError"),
        (("close", 1), "TypeError"),
        (("no_such_method",), "AttributeError"),
        (("readinto", 1), "AttributeError"),
        (("fileno",), "AttributeError"),
        (("tell",), "AttributeError"),
        (("readable",), "AttributeError"),
        (("flush",), "AttributeError"),
        (("seek", 0), "AttributeError"),
    ],
)
def test_wrong_calls_raise(site, arguments, error):
    assert call(site, [arguments, ("read",)]) == [error, repr(BODY)]


@pytest.mark.difference("None is no size, as it is for the files of io")
@pytest.mark.parametrize(
    ("name", "result"),
    [("read", BODY), ("readline", b"first\n"), ("readlines", BODY.splitlines(True))],
)
def test_none_as_size(site, name, result):
    assert call(site, [(name, None)]) == [differs(upstream="TypeError", ours=repr(result))]


def test_next_at_the_end_raises_stop_iteration(site):
    assert call(site, [("read",), ("next",)]) == [repr(BODY), "StopIteration"]


def test_no_body(site):
    calls = [("read",), ("readline",), ("readlines",), ("list",)]
    assert site.get("/input-calls?" + quote(repr(calls))).json == ["b''", "b''", "[]", "[]"]


def test_empty_body(site):
    assert call(site, [("read",), ("readline",)], b"") == ["b''", "b''"]


@pytest.mark.parametrize("way", ["whole", "blocks", "lines", "limited-lines"])
@pytest.mark.parametrize(
    "size", [1, 8191, 8192, 8193, 65535, 65536, 65537, 10 * 1024 * 1024], ids=str
)
def test_body_arrives_whole(site, way, size):
    body = (b"0123456789abcdef" * 500 + b"\n") * (size // 8001 + 1)
    body = body[:size]
    length, digest, content_length = site.post(f"/input-digest?{way}", body).json
    assert (length, content_length) == (size, str(size))
    assert digest == hashlib.sha256(body).hexdigest()


def test_one_long_line(site):
    body = b"x" * 300_000
    assert site.post("/input-digest?lines", body).json[0] == len(body)


def test_body_that_comes_in_pieces(site):
    with site.raw() as raw:
        raw.send(
            b"POST /input-calls?" + quote(repr([("readline",), ("read", 3), ("read",)])).encode()
            + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 12\r\n\r\n"
        )  # fmt: skip
        raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (b"a", b"b\n", b"cd", b"e", b"f", b"ghijk"):
            raw.send(piece)
        answer = raw.receive_all()
    assert b"""["b'ab\\\\n'", "b'cde'", "b'fghijk'"]""" in answer


def test_echo_of_a_large_body_while_it_is_read(site):
    body = bytes(range(256)) * 400
    assert site.post("/input-echo", body).body == body


def test_body_that_nobody_reads(site):
    with site.connection() as connection:
        response = connection.request("/input-unread", method="POST", body=b"x" * 100_000)
        assert (response.status, response.body) == (200, b"unread")
        assert connection.request("/hello").body == b"Hello World!\n"


def test_large_body_that_nobody_reads(site):
    body = b"x" * (10 * 1024 * 1024)
    response = site.post("/input-unread", body)
    assert (response.status, response.body) == (200, b"unread")


def test_keep_alive_after_a_body_read_in_part(site):
    query = quote(repr([("read", 3)]))
    with site.connection() as connection:
        response = connection.request(f"/input-calls?{query}", method="POST", body=BODY)
        assert response.json == ["b'fir'"]
        assert connection.request("/hello").body == b"Hello World!\n"


def test_objects_of_a_request_cannot_be_used_after_it(site):
    with site.connection() as connection:
        assert connection.request("/kept", method="POST", body=BODY).json == {}
        results = connection.request("/kept").json
    assert results == {
        "read": "RuntimeError",
        "readline": "RuntimeError",
        "readlines": "RuntimeError",
        "next": "RuntimeError",
        "iter": "RuntimeError",
        "close": "RuntimeError",
        "errors": "RuntimeError",
        "flush": "None",
        "write": "RuntimeError",
        "start_response": "RuntimeError",
        "ssl": "RuntimeError",
    }


EXPECT = (
    b"POST /input-%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"
)


def test_client_is_told_to_continue_when_the_body_is_wanted(site):
    with site.raw() as raw:
        raw.send(EXPECT % b"echo")
        assert raw.receive_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        raw.send(b"body")
        answer = raw.receive_all()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"body" in answer


@pytest.mark.difference("in daemon mode too, 100 Continue is sent only when the body is read")
def test_client_is_not_told_to_continue_when_nobody_reads(site):
    with site.raw() as raw:
        raw.send(EXPECT % b"unread")
        first = raw.receive_until(b"\r\n\r\n")
        upstream = b"HTTP/1.1 100 " if site.mode == "daemon" else b"HTTP/1.1 200 "
        assert first.startswith(differs(upstream=upstream, ours=b"HTTP/1.1 200 "))
        raw.send(b"body")
        raw.receive_all()


def test_client_is_told_to_continue_by_a_read_of_nothing(site):
    """read(0) says that the body is wanted, though it waits for none of it."""
    calls = quote(repr([("read", 0), ("read",)]))
    with site.raw() as raw:
        raw.send(
            f"POST /input-calls?{calls} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n".encode()
        )
        assert raw.receive_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        raw.send(b"body")
        assert b"""["b''", "b'body'"]""" in raw.receive_all()


@pytest.mark.difference("in daemon mode too, 100 Continue is sent only when the body is read")
def test_client_is_not_told_to_continue_after_the_head(site):
    """A client that has the head of the answer waits for no interim response any more."""
    with site.raw() as raw:
        raw.send(
            b"POST /rendezvous HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
        begin = raw.receive_until(b"\r\n\r\n")
        upstream = b"HTTP/1.1 100 " if site.mode == "daemon" else b"HTTP/1.1 200 "
        assert begin.startswith(differs(upstream=upstream, ours=b"HTTP/1.1 200 "))
        raw.send(b"hello")
        rest = raw.receive_all()
    assert b"hello" in rest
    if differs(upstream=site.mode == "embedded", ours=True):
        assert b" 100 " not in rest


def test_other_expectation_is_refused_by_httpd(site):
    with site.raw() as raw:
        raw.send(
            b"POST /input-echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Expect: the-unexpected\r\nContent-Length: 4\r\n\r\nbody"
        )
        assert raw.receive_all().startswith(b"HTTP/1.1 417 ")
    site.expect_log("AH00570", count=1)


def test_chunked_body_with_a_length(chunked, mode):
    """httpd does not believe the length, and ends the connection."""
    calls = quote(repr([("read",)]))
    with chunked.raw() as raw:
        raw.send(
            f"POST /{mode}/input-calls?{calls} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
            "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n".encode()
        )
        answer = raw.receive_all()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"""["b'body'"]""" in answer


def test_chunked_body_is_refused(site):
    response = site.post("/input-echo", iter([b"some", b"body"]))
    assert response.status == 411
    site.expect_log("WSGI0139", count=1)


def test_bad_content_length_is_refused_by_httpd(site):
    with site.raw() as raw:
        raw.send(b"POST /input-echo HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n")
        assert raw.receive_all().startswith(b"HTTP/1.1 400 ")


def test_body_over_the_limit_is_refused(server_factory, mode):
    server = server_factory("""
WSGIDaemonProcess main
WSGIApplicationGroup %{GLOBAL}
LimitRequestBody 1000
WSGIScriptAlias /embedded ${APPS}/input-echo/app.wsgi
WSGIScriptAlias /daemon ${APPS}/input-echo/app.wsgi process-group=main
""")
    assert server.post(f"/{mode}", b"x" * 1000).status == 200
    assert server.post(f"/{mode}", b"x" * 1001).status == 413
    server.expect_log("larger than the configured limit")
