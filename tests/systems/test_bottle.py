# SPDX-License-Identifier: Apache-2.0
"""Bottle: routes, forms, cookies, generators and static files, as under another WSGI server."""

from collections.abc import Iterator

import pytest

from systems.multipart import multipart
from systems.reference import SideBySide, side_by_side

# The first is made of an inode, among others.
FILES = {r"\b[0-9a-f]{40}\b": "...", r"\w+, \d+ \w+ \d+ [\d:]+ GMT": "a date"}


@pytest.fixture(scope="module")
def both(mode, module_server_factory, venv) -> Iterator[SideBySide]:
    with side_by_side("bottle", mode, module_server_factory, venv) as both:
        yield both


def test_routes(both):
    def talk(client):
        answer = client.get("/hello/%E2%82%AC%20x?q=%C3%BC")
        assert answer.json == {"name": "€ x", "query": {"q": "ü"}}
        assert client.request("/hello/there", method="HEAD").body == b""
        assert client.request("/hello/there", method="PATCH").status == 405
        assert client.get("/nothing").status == 404
        assert client.get("/redirect").status == 303
        assert client.get("/abort").status == 409

    both.compare(talk)


def test_bodies(both):
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    upload, of_upload = multipart({"name": "ü"}, {"file": ("b.txt", "text/plain", b"y" * 200000)})

    def talk(client):
        assert client.post("/form", b"name=%C3%BC&b=", headers=kind).json["fields"]["name"] == "ü"
        assert client.post("/form", upload, headers=of_upload).json["upload"] == ["b.txt", 200000]
        assert client.request("/body", method="PUT", body=bytes(3 << 20)).text == str(3 << 20)
        # Not in chunks: Bottle wants to take them apart itself where the environ has
        # HTTP_TRANSFER_ENCODING, as with mod_wsgi, and httpd has done it.

    both.compare(talk)


def test_cookies_and_generators(both):
    def talk(client):
        assert [client.get("/cookies").text for _ in range(3)] == ["1", "2", "3"]
        assert client.get("/yield").text.endswith("blöck 199\n")

    both.compare(talk)


def test_static_files(both):
    def talk(client):
        whole = client.get("/static/large.bin")
        assert len(whole.body) == 307200
        assert client.get("/static/folder/small.txt").text == "smörgås\n"
        assert client.request("/static/large.bin", method="HEAD").body == b""
        since = {"If-Modified-Since": whole.header("last-modified")}
        assert client.get("/static/large.bin", headers=since).status == 304
        part = client.get("/static/large.bin", headers={"Range": "bytes=1000-1999"})
        assert (part.status, part.body) == (206, whole.body[1000:2000])
        assert client.get("/static/large.bin", headers={"Range": "bytes=400000-"}).status == 416
        assert client.get("/static/none").status == 404

    both.compare(talk, FILES)
