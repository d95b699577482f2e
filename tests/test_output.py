# SPDX-License-Identifier: Apache-2.0
"""The body of a response: write(), iterables, close(), lengths, and exceptions on the way."""

from urllib.parse import quote, urlencode

import pytest

from harness.plugin import differs
from harness.under_test import OURS

CLOSE = {"Connection": "close"}


def respond(site, status, response_headers, blocks, **options):
    """Ask the application to answer with these; options as for Site.request."""
    query = quote(repr((status, response_headers, blocks)))
    return site.request(f"/respond?{query}", **options)


# write()


def test_write_and_returned_blocks_come_in_order(site):
    response = site.get("/write?" + quote(repr([b"one ", b"", b"two "])))
    assert response.body == b"one two returned"


def test_write_of_what_is_not_bytes_raises(site):
    response = site.get("/write-raises")
    assert response.body == b"TypeError TypeError TypeError TypeError TypeError"


# What may be returned


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("tuple", b"tuple"),
        ("iterator", b"iterator"),
        ("map", b"map"),
        ("indexed", b"indexed"),
        ("set", b"set"),
        ("empty-list", b""),
        ("empty-tuple", b""),
        ("empty-blocks", b""),
        ("empty-iterator", b""),
        ("blocks-with-empty", b"ab"),
        ("bytes-subclass", b"sub"),
    ],
)
def test_iterables(site, kind, body):
    response = site.get(f"/returns?{kind}")
    assert (response.status, response.body, response.complete) == (200, body, True)
    assert response.header("Content-Type") == "text/plain"


@pytest.mark.parametrize(
    "kind",
    ["none", "str", "bytes", "int", "list-of-str", "list-of-bytearray", "list-of-memoryview",
     "list-of-int"],
)  # fmt: skip
def test_what_is_not_an_iterable_of_bytes_is_a_500(site, kind):
    response = site.get(f"/returns?{kind}")
    assert response.status == 500
    assert response.header("Content-Type").startswith("text/html")
    site.expect_traceback("TypeError")


@pytest.mark.difference("a response cut off by an error is visibly incomplete in both modes")
def test_bad_block_after_a_good_one_cuts_the_response_off(site):
    response = site.get("/returns?good-then-str", headers=CLOSE)
    assert (response.status, response.body) == (200, b"good")
    assert response.complete is differs(upstream=site.mode == "daemon", ours=False)
    site.expect_traceback("TypeError")


# Streaming


def test_each_block_is_sent_at_once(site, tmp_path_for_server):
    go = tmp_path_for_server / "go"
    with site.raw() as raw:
        raw.send(f"GET /stream?{go} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        data = raw.receive_until(b"first\n")
        assert b"second" not in data
        go.touch()
        assert b"second\n" in raw.receive_all()


def test_large_blocks(site):
    blocks = [b"x" * 100_000, b"y" * 3_000_000, b"z"]
    response = site.post("/large-blocks", repr([len(block) for block in blocks]).encode())
    assert [response.body.count(block[:1]) for block in blocks] == [len(block) for block in blocks]
    assert response.complete


def test_many_small_blocks(site):
    response = site.post("/large-blocks", repr([1] * 20_000).encode())
    assert (len(response.body), response.complete) == (20_000, True)


# close()


def messages(site, word):
    """What the application told the log, in order."""
    return [record.message.partition(word)[2].strip() for record in site.find_log(word)]


def test_close_comes_after_the_last_block(site):
    site.expect_log("CLOSE-APP", count=5)
    response = site.get("/close")
    assert response.body == b"one two"
    site.wait_log("CLOSE-APP input")
    assert messages(site, "CLOSE-APP") == [
        "iterated",
        "continued after one",
        "continued after two",
        "closed",
        "input b''",
    ]


def test_close_comes_after_an_exception_of_the_iteration(site):
    site.get("/close?iteration-raises", headers=CLOSE)
    site.wait_log("CLOSE-APP input")
    assert "closed" in messages(site, "CLOSE-APP")
    site.expect_log("CLOSE-APP", count=4)
    site.expect_traceback("ValueError: in the iteration", count=1)


def test_exception_of_close_does_not_harm_the_response(site):
    response = site.get("/close?close-raises")
    assert (response.status, response.body, response.complete) == (200, b"one two", True)
    site.expect_log("CLOSE-APP", count=5)
    site.expect_traceback(r"ValueError: in close\(\)", count=1)


@pytest.mark.parametrize("case", ["writes", "of-iterator"])
def test_close_of_what_was_returned(site, case):
    """It runs while the request can still be written to; that of the iterator is not called."""
    response = site.get(f"/odd-close?{case}")
    expected = b"one two closed" if case == "writes" else b"one two"
    assert (response.status, response.body, response.complete) == (200, expected, True)


@pytest.mark.parametrize(
    ("case", "number", "error"),
    [
        ("lookup-raises", "WSGI0194", "ValueError: no close for you"),
        ("not-callable", "WSGI0174", "TypeError: 'int' object is not callable"),
        ("exits", "WSGI0175", "SystemExit: 4"),
    ],
)
def test_close_that_cannot_be_called(site, case, number, error):
    response = site.get(f"/odd-close?{case}")
    assert (response.status, response.body, response.complete) == (200, b"one two", True)
    if number == "WSGI0194":
        site.expect_log(number, count=1)
        number = "WSGI0174"
    site.expect_traceback(error, number, count=1)


def end(site, **query):
    return site.get("/ends?" + urlencode(query), headers=CLOSE)


RAISED_BY_CLOSE = ["", "ValueError", "SystemExit", "KeyboardInterrupt", "RequestTimeout"]


def expect_of_close(site, close):
    number = "WSGI0175" if close == "SystemExit" else "WSGI0174"
    if close not in ("", "RequestTimeout"):
        site.expect_traceback(rf"{close}: told to raise in close\(\)", number, count=1)


@pytest.mark.parametrize("close", RAISED_BY_CLOSE)
@pytest.mark.parametrize("length", [{}, {"length": 7}])
def test_whole_response_stays_whole_whatever_close_raises(site, length, close):
    response = end(site, close=close, **length)
    assert (response.status, response.body, response.complete) == (200, b"one two", True)
    expect_of_close(site, close)


@pytest.mark.parametrize("close", RAISED_BY_CLOSE)
def test_short_response_stays_short_whatever_close_raises(site, close):
    response = end(site, close=close, length=10)
    assert (response.status, response.body, response.complete) == (200, b"one two", False)
    expect_of_close(site, close)


@pytest.mark.difference("a response cut off by an error is visibly incomplete in both modes")
@pytest.mark.parametrize("close", RAISED_BY_CLOSE)
def test_response_that_is_cut_off_stays_so_whatever_close_raises(site, close):
    response = end(site, close=close, blocks="raises")
    assert (response.status, response.body) == (200, b"one two")
    assert response.complete is differs(upstream=site.mode == "daemon", ours=False)
    site.expect_traceback("ValueError: told to raise in the iteration", count=1)
    expect_of_close(site, close)


def test_close_may_write_the_rest(site):
    response = end(site, close="writes", length=14)
    assert (response.body, response.complete) == (b"one two closed", True)


def test_exception_after_all_of_the_announced_length(site):
    """The response is whole, and the connection can be used again."""
    with site.connection() as connection:
        response = connection.request("/ends?blocks=raises&length=7")
        assert (response.status, response.body, response.complete) == (200, b"one two", True)
        assert connection.request("/hello").body == b"Hello World!\n"
    site.expect_traceback("ValueError: told to raise in the iteration", count=1)


@pytest.mark.parametrize("path", ["/ends?blocks=raises", "/raises?when=output&what=ValueError"])
def test_exception_after_the_head_of_a_head_request(site, path):
    response = site.request(path, method="HEAD", headers=CLOSE)
    assert (response.status, response.body) == (200, b"")
    assert response.header("Content-Type") == "text/plain"
    site.expect_traceback("ValueError: told to raise", count=1)


def test_timeout_in_close_is_no_error(site):
    response = site.get("/odd-close?times-out")
    assert (response.status, response.body, response.complete) == (200, b"one two", True)


# Exceptions


@pytest.mark.parametrize("what", ["ValueError", "KeyboardInterrupt", "BaseException"])
@pytest.mark.parametrize("when", ["start", "call", "iterate"])
def test_exception_before_output_is_a_500(site, when, what):
    response = site.get(f"/raises?when={when}&what={what}")
    assert (response.status, response.reason) == (500, "Internal Server Error")
    assert response.header("X-From") is None
    assert response.header("Content-Type").startswith("text/html")
    assert b"told to raise" not in response.body
    site.expect_traceback(f"{what}: told to raise", count=1)


@pytest.mark.difference("a response cut off by an error is visibly incomplete in both modes")
def test_exception_after_output_cuts_a_chunked_response_off(site):
    response = site.get("/raises?when=output&what=ValueError", headers=CLOSE)
    assert (response.status, response.body) == (200, b"output")
    assert response.complete is differs(upstream=site.mode == "daemon", ours=False)
    site.expect_traceback("ValueError: told to raise", count=1)


@pytest.mark.difference("an exception after write() cuts the response off; no error page follows")
def test_exception_after_write_cuts_the_response_off(site):
    response = site.get("/raises?when=write&what=ValueError", headers=CLOSE)
    assert response.status == 200
    assert response.body.startswith(b"output")
    assert response.complete is differs(upstream=True, ours=False)
    if OURS:
        assert response.body == b"output"
    site.expect_traceback("ValueError: told to raise", count=1)


def test_exception_after_output_with_a_length_is_short(site):
    response = site.get("/raises?when=output&what=ValueError&length=10", headers=CLOSE)
    assert (response.status, response.body, response.complete) == (200, b"output", False)
    assert response.header("Content-Length") == "10"
    site.expect_traceback("ValueError: told to raise", count=1)


@pytest.mark.difference("a response cut off by an error is visibly incomplete in both modes")
def test_exit_after_output_cuts_the_response_off(site):
    response = site.get("/raises?when=output&what=SystemExit", headers=CLOSE)
    assert (response.status, response.body) == (200, b"output")
    assert response.complete is differs(upstream=site.mode == "daemon", ours=False)
    site.expect_traceback("SystemExit: told to raise", "WSGI0175", count=1)


@pytest.mark.parametrize("when", ["start", "call", "iterate"])
def test_timeout_before_output_is_a_504_without_a_body(site, when):
    """And no traceback: what is worth knowing was logged when it was raised."""
    response = site.get(f"/raises?when={when}&what=RequestTimeout")
    assert (response.status, response.reason, response.body) == (504, "Gateway Timeout", b"")
    assert response.header("Content-Type") is None
    assert response.header("X-From") is None


@pytest.mark.difference("a response cut off by an error is visibly incomplete in both modes")
def test_timeout_after_output_cuts_the_response_off(site):
    response = site.get("/raises?when=output&what=RequestTimeout", headers=CLOSE)
    assert (response.status, response.body) == (200, b"output")
    assert response.complete is differs(upstream=site.mode == "daemon", ours=False)


def test_server_goes_on_after_exceptions(site):
    for _ in range(20):
        assert site.get("/raises?when=call&what=ValueError").status == 500
    assert site.get("/hello").status == 200
    site.expect_traceback("ValueError: told to raise", count=20)


# Length


def test_more_than_content_length_is_dropped(site):
    response = respond(site, "200 OK", [("Content-Length", "3")], [b"abcdef", b"ghi"])
    assert (response.body, response.header("Content-Length")) == (b"abc", "3")
    assert response.complete


def test_connection_is_usable_after_excess_was_dropped(site):
    query = quote(repr(("200 OK", [("Content-Length", "3")], [b"abcdef", b"ghi"])))
    with site.connection() as connection:
        assert connection.request(f"/respond?{query}").body == b"abc"
        assert connection.request("/hello").body == b"Hello World!\n"


def test_less_than_content_length_is_incomplete(site):
    response = respond(site, "200 OK", [("Content-Length", "9")], [b"abc"], headers=CLOSE)
    assert (response.body, response.complete) == (b"abc", False)


@pytest.mark.parametrize("blocks", [[b"abcdef"], [b"abc", b"def"], [b"", b"abcd", b"e", b"f"]])
def test_more_than_content_length_is_not_written(site, blocks):
    response = site.get("/write?length=3&blocks=" + quote(repr(blocks)))
    assert (response.body, response.header("Content-Length")) == (b"abc", "3")
    assert response.complete


@pytest.mark.parametrize(
    ("length", "body"), [("", b""), (" 3", b"abc"), ("+3", b"abc"), ("03", b"abc")]
)
def test_content_length_as_a_number(site, length, body):
    response = respond(site, "200 OK", [("Content-Length", length)], [b"abcdef"])
    assert (response.status, response.body, response.complete) == (200, body, True)
    assert response.header("Content-Length") == str(len(body))


def test_empty_response_of_length_0(site):
    response = respond(site, "200 OK", [("Content-Length", "0")], [])
    assert (response.status, response.body, response.header("Content-Length")) == (200, b"", "0")


@pytest.mark.difference("a list or tuple has a known length, so Content-Length is added")
@pytest.mark.parametrize("blocks", [[b"one"], [b"one ", b"two"], (b"one ", b"", b"two")])
def test_content_length_of_a_list_is_known(site, blocks):
    response = respond(site, "200 OK", [("Content-Type", "text/plain")], blocks)
    body = b"".join(blocks)
    assert response.body == body
    expected = differs(upstream=(None, "chunked"), ours=(str(len(body)), None))
    assert (response.header("Content-Length"), response.header("Transfer-Encoding")) == expected


@pytest.mark.difference("a list has a known length, so Content-Length is added")
def test_content_length_of_an_empty_list(site):
    response = respond(site, "200 OK", [("Content-Type", "text/plain")], [])
    upstream = None if site.mode == "daemon" else "0"
    assert response.header("Content-Length") == differs(upstream=upstream, ours="0")


def test_generator_is_sent_in_chunks(site):
    response = site.get("/late-start-response")
    assert response.header("Content-Length") is None
    assert response.header("Transfer-Encoding") == "chunked"


def test_response_to_http_1_0_ends_with_the_connection(site):
    with site.raw() as raw:
        raw.send(b"GET /late-start-response HTTP/1.0\r\n\r\n")
        answer = raw.receive_all()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body == b"late"


# Responses without a body


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_status_that_has_no_body(site, status):
    query = quote(repr((status, [("X-From", "app")], [b"must not be sent"])))
    with site.connection() as connection:
        response = connection.request(f"/respond?{query}")
        assert (response.status, response.body) == (int(status[:3]), b"")
        assert response.header("X-From") == "app"
        assert connection.request("/hello").body == b"Hello World!\n"


def test_head_has_the_headers_of_get_and_no_body(site):
    headers = [("Content-Type", "text/plain"), ("Content-Length", "8"), ("X-From", "app")]
    query = quote(repr(("200 OK", headers, [b"the body"])))
    with site.connection() as connection:
        response = connection.request(f"/respond?{query}", method="HEAD")
        assert (response.status, response.body) == (200, b"")
        assert response.header("Content-Length") == "8"
        assert response.header("X-From") == "app"
        assert connection.request("/hello").body == b"Hello World!\n"


def test_keep_alive_serves_many_requests(site):
    with site.connection() as connection:
        for _ in range(50):
            assert connection.request("/hello").body == b"Hello World!\n"
