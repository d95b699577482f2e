# SPDX-License-Identifier: Apache-2.0
"""Flask: routes, forms, sessions, streams and files, as under another WSGI server."""

import json
from collections.abc import Iterator

import pytest

from systems.multipart import multipart
from systems.reference import SideBySide, side_by_side

SESSION = {r"session=[^;]+": "session=..."}
# The one has the path in it, the other the time.
FILES = {r'-\d+"': '-..."', r"^\w\w\w, \d+ \w+ 20(2[5-9]|[3-9]\d) [\d:]+ GMT": "later"}


@pytest.fixture(scope="module")
def both(mode, module_server_factory, venv) -> Iterator[SideBySide]:
    with side_by_side("flask", mode, module_server_factory, venv) as both:
        yield both


def test_routes(both):
    def talk(client):
        answer = client.get("/items/12/a%20b/%C3%BC?q=1&q=%26&e=", headers={"X-Some": "thing"})
        assert answer.json == {
            "number": 12,
            "rest": "a b/ü",
            "query": {"q": ["1", "&"], "e": [""]},
            "headers": {"X-Some": "thing"},
        }
        assert client.request("/items/1/x", method="HEAD").body == b""
        assert client.request("/items/1/x", method="DELETE").status == 200
        assert client.request("/items/1/x", method="OPTIONS").header("allow")
        assert client.request("/items/1/x", method="PUT", body=b"x").status == 405
        assert client.get("/items/twelve/x").status == 404
        assert client.get("/away").status == 303
        assert client.get("/teapot").status == 418
        assert client.get("/empty").status == 204
        assert client.get("/nothing/here?and=this").header("x-handler") == "mine"

    both.compare(talk)


def test_bodies(both):
    form = b"a=1&a=2&name=%C3%BC+x"
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    upload, of_upload = multipart({"note": "größe"}, {"file": ("a é.txt", "text/x", b"x" * 300000)})

    def talk(client):
        assert client.post("/form", form, headers=kind).json["name"] == ["ü x"]
        data = json.dumps({"text": "ü", "list": [1, None]}).encode()
        client.post("/json", data, headers={"Content-Type": "application/json"})
        assert (
            client.post("/json", b"{", headers={"Content-Type": "application/json"}).status == 400
        )
        assert client.post("/json", data).status == 415
        assert client.post("/upload", upload, headers=of_upload).json["size"] == 300000
        assert client.post("/digest", b"").text.startswith("0 ")
        assert client.post("/digest", bytes(1 << 20)).text.startswith("1048576 ")
        # In chunks, without a length.
        pieces = (b"piece %d" % number for number in range(1000))
        assert client.post("/digest", pieces).text.startswith("8890 ")

    both.compare(talk)


def test_session_and_cookies(both):
    def talk(client):
        counts = [client.get("/count").json for _ in range(3)]
        assert counts == [1, 2, 3]
        assert client.cookies["plain"] == "1"

    both.compare(talk, SESSION)


def test_streams_and_files(both):
    def talk(client):
        assert client.get("/stream").text.endswith("line 299\n")
        whole = client.get("/file")
        assert len(whole.body) == 307200
        etag = whole.header("etag")
        assert client.request("/file", method="HEAD").header("content-length") == "307200"
        assert client.get("/file", headers={"If-None-Match": etag}).status == 304
        part = client.get("/file", headers={"Range": "bytes=100-299"})
        assert (part.status, len(part.body)) == (206, 200)
        assert client.get("/file", headers={"Range": "bytes=-100"}).status == 206
        assert client.get("/file", headers={"Range": "bytes=400000-"}).status == 416
        old = {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}
        assert client.get("/file", headers=old).status == 304
        assert client.get("/memory").header("etag") == '"fixed"'
        assert client.get("/memory", headers={"If-None-Match": '"fixed"'}).status == 304

    both.compare(talk, FILES)
