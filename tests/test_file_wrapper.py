# SPDX-License-Identifier: Apache-2.0
"""wsgi.file_wrapper: regular files, other files, offsets and lengths."""

import pytest

from harness.plugin import differs

CONTENT = bytes(range(256)) * 1000


def test_facts(site):
    assert site.get("/file-wrapper-facts").json == {
        "is a class": True,
        "is mod_wsgi.FileWrapper": True,
        "default block": 8192,
        "filelike": True,
        "first block": 8192,
        "keywords": "10",
        "negative": "ValueError",
        "filelike after close": "ValueError",
        "block is read only": "AttributeError",
        "close that raises": "None",
        "without read": "AttributeError",
    }


@pytest.mark.parametrize(
    ("case", "body", "length"),
    [
        ("regular", CONTENT, str(len(CONTENT))),
        ("offset", CONTENT[1000:], str(len(CONTENT) - 1000)),
        ("at-end", b"", "0"),
        ("subclass", CONTENT, str(len(CONTENT))),
        ("big", CONTENT * 40, str(len(CONTENT) * 40)),
    ],
)
def test_regular_file_has_a_length(site, case, body, length):
    response = site.get(f"/file-wrapper?case={case}")
    assert (response.status, response.complete) == (200, True)
    assert response.body == body
    assert response.header("Content-Length") == length


@pytest.mark.parametrize(
    ("case", "body"),
    [
        ("bytesio", CONTENT),
        ("pipe", CONTENT[:5000]),
        ("null", b""),
        ("written-before", b"before" + CONTENT),
        ("inside-another", CONTENT),
    ],
)
def test_anything_else_is_iterated(site, case, body):
    response = site.get(f"/file-wrapper?case={case}")
    assert (response.status, response.complete) == (200, True)
    assert response.body == body


@pytest.mark.difference("a file without close() is no error, as PEP 3333 asks for read() only")
def test_file_that_has_only_read(site):
    response = site.get("/file-wrapper?case=only-read")
    assert (response.status, response.body, response.complete) == (200, CONTENT, True)
    if differs(upstream=True, ours=False):
        site.expect_traceback("AttributeError: .*'close'", count=1)


@pytest.mark.parametrize(
    ("case", "length", "body"),
    [
        ("regular", 100, CONTENT[:100]),
        ("offset", 100, CONTENT[1000:1100]),
        ("bytesio", 100, CONTENT[:100]),
        ("regular", 0, b""),
    ],
)
def test_content_length_limits_what_is_sent(site, case, length, body):
    with site.connection() as connection:
        response = connection.request(f"/file-wrapper?case={case}&length={length}")
        assert response.body == body
        assert response.header("Content-Length") == str(length)
        assert connection.request("/hello").body == b"Hello World!\n"


@pytest.mark.ours_only("mod_wsgi sends bytes from behind the end of the file, or crashes")
def test_content_length_beyond_the_end_of_the_file(site):
    response = site.get(
        f"/file-wrapper?case=regular&length={len(CONTENT) + 10}", headers={"Connection": "close"}
    )
    assert (response.body, response.complete) == (CONTENT, False)


def test_head_of_a_file(site):
    with site.connection() as connection:
        response = connection.request("/file-wrapper?case=regular", method="HEAD")
        assert (response.body, response.header("Content-Length")) == (b"", str(len(CONTENT)))
        assert connection.request("/hello").body == b"Hello World!\n"


def test_file_is_closed(site):
    assert site.get("/file-wrapper?case=tracked").body == CONTENT
    site.expect_log("FILE-WRAPPER-APP closed", count=1)


def test_file_stands_where_it_stood(site):
    """What is sent is not read by way of the file's own position."""
    assert site.get("/file-wrapper?case=told").body == CONTENT[1000:]
    site.expect_log("FILE-WRAPPER-APP closed at 1000$", count=1)


def test_file_of_text_is_a_500(site):
    assert site.get("/file-wrapper?case=str").status == 500
    site.expect_traceback("TypeError", count=1)


def test_descriptors_are_not_kept(site):
    """Each response opens a file; two hundred must leave no more open than a few did."""
    site.get("/file-wrapper?case=regular")
    processes = site.server.httpd_children + site.server.daemon_processes
    before = sum(len(process.descriptors) for process in processes)
    for _ in range(200):
        assert site.get("/file-wrapper?case=regular").status == 200
    processes = site.server.httpd_children + site.server.daemon_processes
    after = sum(len(process.descriptors) for process in processes)
    assert after < before + 100
