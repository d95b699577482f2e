# SPDX-License-Identifier: Apache-2.0
"""start_response: what it accepts, what it raises, what of it reaches the client."""

import re
from urllib.parse import quote

import pytest

from harness.plugin import differs
from harness.under_test import OURS

PLAIN = [("Content-Type", "text/plain")]


def respond(site, status, headers, blocks, method="GET", **options):
    """Ask the application to call start_response(status, headers) and return the blocks."""
    query = quote(repr((status, headers, blocks)))
    return site.request(f"/respond?{query}", method=method, **options)


def raised(site, *arguments) -> str:
    """The name of what start_response(*arguments) raises; empty if nothing."""
    response = site.post("/start-response-raises", repr(arguments).encode())
    if response.status == 299:
        return response.json[0]
    assert response.json == ["", ""]
    return ""


# Status


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        ("200 OK", 200, "OK"),
        ("201 Created", 201, "Created"),
        ("299 Of Our Own", 299, "Of Our Own"),
        ("404 Nothing here", 404, "Nothing here"),
        ("418 I'm a teapot", 418, "I'm a teapot"),
        ("503 Later", 503, "Later"),
        ("600 More", 600, "More"),
        ("999 High", 999, "High"),
    ],
)
def test_status_line_reaches_the_client(site, status, code, reason):
    response = respond(site, status, PLAIN, [b"body"])
    assert (response.status, response.reason, response.body) == (code, reason, b"body")


@pytest.mark.parametrize("status", ["200", "200 ", "200 OK"])
def test_status_without_reason_is_accepted(site, status):
    response = respond(site, status, PLAIN, [b"body"])
    assert (response.status, response.body) == (200, b"body")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (b"200 OK", "TypeError"),
        (200, "TypeError"),
        (None, "TypeError"),
        ("", "ValueError"),
        ("20", "ValueError"),
        ("2000 OK", "ValueError"),
        ("20x OK", "ValueError"),
        ("OK", "ValueError"),
        (" 200 OK", "ValueError"),
        ("200-OK", "ValueError"),
        ("200 O\nK", "ValueError"),
        ("200 O\rK", "ValueError"),
        ("200 O\tK", "ValueError"),
        ("200 O\x7fK", "ValueError"),
        ("200 \u20ac", "UnicodeEncodeError"),
    ],
)
def test_bad_status_raises(site, status, error):
    assert raised(site, status, PLAIN) == error


@pytest.mark.difference("an embedded NUL is an error instead of a silent end of the text")
def test_nul_in_the_status_raises(site):
    assert raised(site, "200 O\0K", PLAIN) == differs(upstream="", ours="ValueError")


@pytest.mark.parametrize("status", ["100 Continue", "099 Low"])
def test_status_that_is_no_answer_is_passed_on(site, status):
    """It is the application's to answer for."""
    query = quote(repr((status, PLAIN, [b"body"])))
    with site.raw() as raw:
        raw.send(f"GET /respond?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert raw.receive_all().startswith(f"HTTP/1.1 {status}\r\n".encode())


# Headers


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ((("A", "b"),), "TypeError"),
        (None, "TypeError"),
        ({"A": "b"}, "TypeError"),
        ([["A", "b"]], "TypeError"),
        (["A: b"], "TypeError"),
        ([("A",)], "ValueError"),
        ([("A", "b", "c")], "ValueError"),
        ([(b"A", "b")], "TypeError"),
        ([("A", b"b")], "TypeError"),
        ([("A", 1)], "TypeError"),
        ([("A", None)], "TypeError"),
        ([("", "b")], "ValueError"),
        ([("A B", "b")], "ValueError"),
        ([("A\n", "b")], "ValueError"),
        ([("A\t", "b")], "ValueError"),
        ([("A", "b\nc")], "ValueError"),
        ([("A", "b\rc")], "ValueError"),
        ([("A", "b\r\nSet-Cookie: evil=1")], "ValueError"),
        ([("\u20ac", "b")], "UnicodeEncodeError"),
        ([("A", "\u20ac")], "UnicodeEncodeError"),
    ],
)
def test_bad_headers_raise(site, headers, error):
    assert raised(site, "200 OK", headers) == error


@pytest.mark.difference("an embedded NUL is an error instead of a silent end of the text")
@pytest.mark.parametrize("header", [("A\0B", "c"), ("A", "b\0c")])
def test_nul_in_a_header_raises(site, header):
    assert raised(site, "200 OK", [header]) == differs(upstream="", ours="ValueError")


@pytest.mark.difference("a name that is no token (RFC 9110) is an error at once")
@pytest.mark.parametrize("name", ["A:B", "A(", "A/B", 'A"B', "A,B", "A=B", "\u00e9"])
def test_separator_in_a_header_name_is_a_500(site, name):
    """mod_wsgi leaves it to httpd, and in daemon mode a colon makes another header of it."""
    split = name == "A:B" and site.mode == "daemon"
    response = respond(site, "200 OK", [(name, "b")], [b"body"])
    assert response.status == differs(upstream=200 if split else 500, ours=500)
    if OURS:
        site.expect_traceback("ValueError", count=1)
    elif not split:
        site.expect_log("AH02429", count=1)


def test_tab_in_a_header_value(site):
    response = respond(site, "200 OK", [*PLAIN, ("X-Odd", "a\tb")], [b"body"])
    assert (response.status, response.header("X-Odd")) == (200, "a\tb")


@pytest.mark.difference("one error document, in daemon mode too")
@pytest.mark.parametrize("character", ["\x01", "\x1f", "\x7f"], ids=repr)
def test_control_character_in_a_header_value_is_httpds_500(site, character):
    response = respond(site, "200 OK", [*PLAIN, ("X-Odd", f"a{character}b")], [b"body"])
    assert response.status == 500
    upstream = 2 if site.mode == "daemon" else 1
    assert response.body.count(b"<html>") == differs(upstream=upstream, ours=1)
    site.expect_log("AH02430", count=1)


def test_headers_of_the_connection_are_accepted(site):
    headers = [*PLAIN, ("Connection", "x-mine"), ("Keep-Alive", "9"), ("Upgrade", "x")]
    response = respond(site, "200 OK", headers, [b"body"])
    assert (response.status, response.body) == (200, b"body")
    assert "x-mine" in response.header("Connection")


@pytest.mark.difference("Transfer-Encoding of an application is left out, as it does not hold")
def test_transfer_encoding_is_httpds(site):
    response = respond(site, "200 OK", [*PLAIN, ("Transfer-Encoding", "gzip")], [b"body"])
    assert response.status == 200
    assert response.header("Transfer-Encoding") == differs(upstream="gzip, chunked", ours=None)
    if OURS:
        assert response.body == b"body"


def test_list_of_another_class(site):
    """As the list of wsgiref.headers.Headers or of a framework may be."""
    assert site.get("/start-response-object").json["a class of its own"] == "accepted"


def test_error_of_start_response_that_nobody_catches_is_a_500(site):
    assert respond(site, "200\n", PLAIN, [b"body"]).status == 500
    site.expect_traceback("ValueError")


def test_headers_reach_the_client(site):
    headers = [("Content-Type", "text/x; charset=x"), ("X-One", "1"), ("x-latin", "gr\u00fc\u00df")]
    response = respond(site, "200 OK", headers, [b"body"])
    assert response.header("Content-Type") == "text/x; charset=x"
    assert response.header("X-One") == "1"
    assert response.header("X-Latin") == "gr\u00fc\u00df"


def test_empty_header_value_reaches_the_client(site):
    assert respond(site, "200 OK", [*PLAIN, ("X-Empty", "")], [b"body"]).header("X-Empty") == ""


def test_response_without_headers(site):
    response = respond(site, "200 OK", [], [b"body"])
    assert (response.status, response.body) == (200, b"body")


def test_long_header_reaches_the_client(site):
    response = respond(site, "200 OK", [*PLAIN, ("X-Long", "v" * 4000)], [b"body"])
    assert response.header("X-Long") == "v" * 4000


def test_many_headers_reach_the_client(site):
    headers = [(f"X-{number}", str(number)) for number in range(60)]
    response = respond(site, "200 OK", headers, [b"body"])
    found = {name: value for name, value in response.headers if name.startswith("X-")}
    assert found == dict(headers)


def test_repeated_cookies_stay_separate(site):
    headers = [
        *PLAIN,
        ("Set-Cookie", "a=1"),
        ("X", "y"),
        ("Set-Cookie", "b=2"),
        ("set-cookie", "a=3"),
    ]
    response = respond(site, "200 OK", headers, [b"body"])
    assert response.header_values("Set-Cookie") == ["a=1", "b=2", "a=3"]


def test_repeated_www_authenticate_stay_separate(site):
    headers = [*PLAIN, ("WWW-Authenticate", 'Basic realm="a"'), ("WWW-Authenticate", "Negotiate")]
    response = respond(site, "401 Who?", headers, [b"body"])
    assert response.header_values("WWW-Authenticate") == ['Basic realm="a"', "Negotiate"]
    assert response.body == b"body"


def test_other_repeated_headers(site):
    """mod_wsgi keeps the lines in embedded mode and joins them, as CGI does, in daemon mode."""
    response = respond(site, "200 OK", [*PLAIN, ("X-Many", "1"), ("X-Many", "2")], [b"body"])
    joined = ["1, 2"] if site.mode == "daemon" else ["1", "2"]
    assert response.header_values("X-Many") == joined


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Content-Range", ["bytes 0-1/8", "bytes 0-3/4"]),
        ("Content-Length", ["2", "4"]),
        ("Location", ["http://example.org/1", "http://example.org/2"]),
    ],
)
def test_last_of_what_may_be_there_once(site, name, values):
    headers = [*PLAIN, *((name, value) for value in values)]
    response = respond(site, "206 Some", headers, [b"body"])
    assert (response.status, response.body) == (206, b"body")
    is_last = site.mode == "daemon" or name == "Content-Length"
    assert response.header_values(name) == (values[-1:] if is_last else values)


@pytest.mark.difference("Last-Modified is sent as the application says it, in both modes")
@pytest.mark.parametrize("date", ["Sun, 06 Nov 2094 08:49:37 GMT", "no date"])
def test_last_modified_that_cannot_be(site, date):
    """In daemon mode, mod_wsgi reads the date and makes a new one of it."""
    response = respond(site, "200 OK", [*PLAIN, ("Last-Modified", date)], [b"body"])
    assert response.status == 200
    changed = differs(upstream=site.mode == "daemon", ours=False)
    assert (response.header("Last-Modified") != date) == changed


def test_last_content_type_wins(site):
    headers = [("Content-Type", "text/first"), ("content-type", "text/last")]
    response = respond(site, "200 OK", headers, [b"body"])
    assert response.header("Content-Type") == "text/last"


@pytest.mark.difference("a header named Status is a header like others, in both modes")
def test_status_header(site):
    response = respond(site, "200 OK", [*PLAIN, ("Status", "403 Forbidden")], [b"body"])
    assert response.body == b"body"
    upstream = 403 if site.mode == "daemon" else 200
    assert response.status == differs(upstream=upstream, ours=200)


@pytest.mark.difference("the answer 200 Error of an application is not taken for a failure")
def test_status_200_error(site):
    response = respond(site, "200 Error", PLAIN, [b"body"])
    upstream = 500 if site.mode == "daemon" else 200
    assert response.status == differs(upstream=upstream, ours=200)


def test_date_and_server_are_httpds(site):
    headers = [*PLAIN, ("Date", "yesterday"), ("Server", "mine")]
    response = respond(site, "200 OK", headers, [b"body"])
    assert response.header("Date").endswith("GMT")
    assert response.header("Server").startswith("Apache/")


def test_location_with_a_redirect_status(site):
    headers = [*PLAIN, ("Location", "/hello")]
    response = respond(site, "302 Found", headers, [b"moved"])
    assert (response.status, response.header("Location")) == (302, "/hello")
    assert response.body == b"moved"


def test_location_with_status_200_is_an_internal_redirect_in_daemon_mode_only(site):
    response = respond(site, "200 OK", [*PLAIN, ("Location", "/hello")], [b"body"])
    expected = b"Hello World!\n" if site.mode == "daemon" else b"body"
    assert (response.status, response.body) == (200, expected)


def test_location_elsewhere_with_status_200_is_sent(site):
    headers = [*PLAIN, ("Location", "http://example.org/")]
    response = respond(site, "200 OK", headers, [b"body"])
    assert (response.status, response.body) == (200, b"body")
    assert response.header("Location") == "http://example.org/"


def test_etag_and_last_modified_are_sent(site):
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    headers = [*PLAIN, ("ETag", '"tag"'), ("Last-Modified", date)]
    response = respond(site, "200 OK", headers, [b"body"])
    assert (response.header("ETag"), response.header("Last-Modified")) == ('"tag"', date)


# Calling it twice, exc_info


@pytest.mark.parametrize("case", ["short-exc-info", "empty-exc-info"])
def test_exc_info_that_is_no_triple_after_output(site, case):
    assert site.get(f"/start-response-twice?{case}").body.startswith(b"output TypeError ")


def test_exception_of_exc_info_comes_with_its_traceback(site):
    body = site.get("/start-response-twice?traceback-exc-info").body
    assert body == b"output application application raise_told"


@pytest.mark.parametrize(
    ("case", "status", "body"),
    [
        ("before-output", 202, b"second"),
        ("before-output-exc-info", 500, b"told"),
    ],
)
def test_second_call_before_output_replaces_the_first(site, case, status, body):
    response = site.get(f"/start-response-twice?{case}")
    assert (response.status, response.body) == (status, body)
    assert response.header("X-First") is None
    assert response.header("X-Second") == "2"


@pytest.mark.parametrize(
    ("case", "body"),
    [
        ("after-output", rb"output RuntimeError .*"),
        ("after-output-exc-info", rb"output Told after output"),
        ("after-empty-write", rb"RuntimeError .*"),
        ("after-exc-info-empty-write", rb"Told after output"),
    ],
)
def test_second_call_after_output_raises(site, case, body):
    response = site.get(f"/start-response-twice?{case}")
    assert (response.status, response.reason, response.header("X-First")) == (200, "First", "1")
    assert re.fullmatch(body, response.body)


def test_start_response_object(site):
    assert site.get("/start-response-object").json == {
        "keywords": "TypeError",
        "one argument": "TypeError",
        "exc_info of another type": "RuntimeError",
        "a class of its own": "accepted",
        "write is callable": True,
    }


def test_adapter(site):
    """start_response is a method of it; what it tells of TLS is in test_layers.py."""
    assert site.get("/adapter").json == {
        "type": "Adapter",
        "write before start_response": "RuntimeError",
        "ssl_is_https": "0",
        "a variable": "None",
        "its name as bytes": "None",
        "no such variable": "None",
        "name of another type": "TypeError",
    }


@pytest.mark.parametrize("query", ["", "empty"])
def test_output_without_start_response_is_a_500(site, query):
    assert site.get(f"/no-start-response?{query}").status == 500
    site.expect_traceback("RuntimeError")


def test_start_response_may_come_with_the_first_block(site):
    response = site.get("/late-start-response")
    assert (response.status, response.reason, response.body) == (200, "Late", b"late")


@pytest.mark.parametrize("length", ["-1", "abc", "1x", "99999999999999999999999", "1 2"])
def test_bad_content_length_is_a_500(site, length):
    assert respond(site, "200 OK", [*PLAIN, ("Content-Length", length)], [b"body"]).status == 500
    site.expect_traceback("ValueError")
