# SPDX-License-Identifier: Apache-2.0
"""Applications wrapped in wsgiref.validate, which checks both sides of the protocol (PEP 3333).

The applications of apps/ that are no valid WSGI on purpose, or that are no applications (hooks,
scripts that cannot be loaded), are not among them; neither are those that end their process, and
those that call read() without a size, which the validator does not let through.
"""

from urllib.parse import quote

import pytest

HEADERS = [("Content-Type", "text/plain"), ("X-One", "1"), ("Set-Cookie", "a=1")]

VALID = [
    ("hello", "", b""),
    ("respond", quote(repr(("200 OK", HEADERS, [b"one", b"", b"two"]))), b""),
    ("respond", quote(repr(("404 Not Found", HEADERS, [b"none"]))), b""),
    ("respond", quote(repr(("204 No Content", [("X-One", "1")], []))), b""),
    ("respond", quote(repr(("304 Not Modified", [("ETag", '"t"')], []))), b""),
    ("environ", "a=b&c=d", b""),
    ("environ", "", b"a body"),
    ("write", quote(repr([b"one", b"two"])), b""),
    ("returns", "tuple", b""),
    ("returns", "map", b""),
    ("returns", "empty-list", b""),
    ("file-wrapper", "case=regular", b""),
    ("file-wrapper", "case=offset", b""),
    ("file-wrapper", "case=bytesio", b""),
    ("input-echo", "", b"x" * 100_000),
    ("input-digest", "blocks", b"x" * 100_000),
    ("input-digest", "lines", b"line\n" * 1000),
    ("pid", "", b""),
    ("counter", "", b""),
    ("sized", "blocks=200000", b""),
    ("timed", "0", b""),
]


@pytest.mark.parametrize(("app", "query", "body"), VALID)
def test_valid_application(site, app, query, body):
    """The validator raises when one of the two breaks a rule: that would be a 500."""
    path = f"/validated/{app}?{query}"
    response = site.post(path, body) if body else site.get(path)
    plain = site.post(f"/{app}?{query}", body) if body else site.get(f"/{app}?{query}")
    assert response.status == plain.status
    assert response.status != 500
    if app not in ("environ", "counter", "timed"):
        assert response.body == plain.body
    assert response.complete


def test_the_validator_is_there(site):
    """What is not valid is refused: the test above can fail."""
    query = quote(repr(("200 OK", [("X-One", "1")], [b"x"])))
    assert site.get(f"/respond?{query}").status == 200
    assert site.get(f"/validated/respond?{query}").status == 500
    site.expect_traceback("AssertionError: No Content-Type header found", count=1)
