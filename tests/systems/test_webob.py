# SPDX-License-Identifier: Apache-2.0
"""WebOb's requests and responses, under WebTest's checks, as under another WSGI server."""

from collections.abc import Iterator

import pytest

from systems.multipart import multipart
from systems.reference import SideBySide, side_by_side

EXPIRES = {r"expires=\w\w\w, \d\d-\w\w\w-20\d\d [\d:]+ GMT": "expires=..."}


@pytest.fixture(scope="module")
def both(mode, module_server_factory, venv) -> Iterator[SideBySide]:
    with side_by_side("webob", mode, module_server_factory, venv) as both:
        yield both


HEADERS = [
    {"Accept": "text/html;q=0.5, */*;q=0.1", "Accept-Language": "de, en;q=0.7"},
    {"Range": "bytes=1-2", "If-None-Match": '"a", W/"b"', "X-Requested-With": "XMLHttpRequest"},
    {"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT", "Cookie": 'a=1; b="zwei drei"; c='},
    {"Authorization": "Basic dTpw", "Content-Type": "text/plain; charset=utf-8"},
]


def test_requests(both):
    def talk(client):
        for headers in HEADERS:
            assert client.get("/echo/x%20y/%C3%BC?q=1&q=%E2%82%AC", headers=headers).status == 200
        for method in ("HEAD", "DELETE", "OPTIONS", "PATCH"):
            assert client.request("/echo/z", method=method).status == 200
        assert client.get("/nothing").status == 404

    both.compare(talk)


def test_bodies(both):
    upload, of_upload = multipart({"name": "ü"}, {"file": ("d.bin", "x/y", bytes(150000))})
    kind = {"Content-Type": "application/x-www-form-urlencoded"}

    def talk(client):
        assert client.post("/echo", b"a=1&b=%C3%BC", headers=kind).json["post"]["b"] == "ü"
        assert client.post("/echo", upload, headers=of_upload).json["post"]["file"][1] == 150000
        for size in (0, 1, 8192, 65536, 65537, 2 << 20):
            assert client.post("/body", bytes(size)).json[0] == size
        assert client.request("/body", method="PUT", body=b"put").json[0] == 3

    both.compare(talk)


def test_responses(both):
    def talk(client):
        whole = client.get("/conditional")
        etag = whole.header("etag")
        assert client.get("/conditional", headers={"If-None-Match": etag}).status == 304
        since = {"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"}
        assert client.get("/conditional", headers=since).status == 304
        part = client.get("/conditional", headers={"Range": "bytes=10-19"})
        assert (part.status, part.body) == (206, whole.body[10:20])
        assert client.get("/conditional", headers={"Range": "bytes=-5"}).body == whole.body[-5:]
        assert client.get("/conditional", headers={"Range": "bytes=5000-"}).status == 416
        changed = {"Range": "bytes=10-19", "If-Range": '"another"'}
        assert client.get("/conditional", headers=changed).status == 200
        assert client.get("/headers").reason == "Own Words"

    both.compare(talk, EXPIRES)
