# SPDX-License-Identifier: Apache-2.0
"""Pyramid: routes, renderers, sessions, static views and files, as under another WSGI server."""

from collections.abc import Iterator

import pytest

from systems.multipart import multipart
from systems.reference import SideBySide, side_by_side

SESSION = {r"session=[^;]+": "session=..."}
EXPIRES = {r"\w+, \d+ \w+ 20(2[5-9]|[3-9]\d) [\d:]+ GMT": "later"}


@pytest.fixture(scope="module")
def both(mode, module_server_factory, venv) -> Iterator[SideBySide]:
    with side_by_side("pyramid", mode, module_server_factory, venv) as both:
        yield both


def test_routes(both):
    def talk(client):
        answer = client.get("/item/k%C3%BC/a/b%20c?q=1&q=2").json
        assert answer["match"] == {"kind": "kü", "rest": ["a", "b c"]}
        assert answer["application"] == "http://site.example"
        assert client.request("/item/a/b", method="HEAD").body == b""
        assert client.get("/found").header("location") == "http://site.example/item/a/b/c"
        assert client.get("/conflict").status == 409
        assert client.get("/nothing").json == {"missing": "/nothing"}

    both.compare(talk)


def test_bodies_and_session(both):
    upload, of_upload = multipart({"name": "ü"}, {"file": ("c.txt", "text/plain", b"z" * 200000)})
    kind = {"Content-Type": "application/x-www-form-urlencoded"}

    def talk(client):
        assert client.post("/form", upload, headers=of_upload).json["size"] == 200000
        assert client.post("/form", b"name=%C3%BC", headers=kind).json["fields"] == {"name": "ü"}
        assert [client.get("/count").json["count"] for _ in range(3)] == [1, 2, 3]

    both.compare(talk, SESSION)


def test_streams_and_files(both):
    def talk(client):
        assert client.get("/stream").text.endswith("block 199\n")
        assert len(client.get("/file").body) == 307200
        assert client.request("/file", method="HEAD").header("content-length") == "307200"
        assert len(client.get("/static/large.bin").body) == 307200
        assert client.get("/static/folder/small.txt").text == "smörgås\n"
        assert client.get("/static/none").status == 404
        assert client.get("/conditional").status == 200
        assert client.get("/conditional", headers={"If-None-Match": '"fixed"'}).status == 304
        part = client.get("/conditional", headers={"Range": "bytes=5-9"})
        assert (part.status, part.body) == (206, b"56789")

    both.compare(talk, EXPIRES)
