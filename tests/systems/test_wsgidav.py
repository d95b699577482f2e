# SPDX-License-Identifier: Apache-2.0
"""WsgiDAV: a share that a WebDAV client uses, as under another WSGI server."""

import re
import xml.etree.ElementTree as xml
from collections.abc import Iterator

import pytest

from systems.reference import SideBySide, side_by_side

# What has the time, an inode or a random number in it.
MASKS = {
    r"opaquelocktoken:[0-9a-fx-]+": "opaquelocktoken:...",
    r"\w\w\w, \d+ \w+ \d+ [\d:]+ GMT": "a date",
    r"\d+-\d+-\d+T[\d:]+Z": "a date",
    r"\d+-\d{10}-(\d+)": r"etag of \1 bytes",
    r"(quota-[a-z]+-bytes>)\d+": r"\1...",
    r"\d{4}-\d\d-\d\d [\d:.]+": "a date",
}
PATCH = b"""<propertyupdate xmlns="DAV:">
<set><prop><x xmlns="example:">1</x></prop></set></propertyupdate>"""
LOCK = b"""<lockinfo xmlns="DAV:">
<lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>"""
TEXT_XML = {"Content-Type": "application/xml"}


@pytest.fixture(scope="module")
def both(mode, module_server_factory, venv) -> Iterator[SideBySide]:
    with side_by_side("wsgidav", mode, module_server_factory, venv) as both:
        yield both


def hrefs(response) -> list[str]:
    assert response.status == 207
    return sorted(element.text for element in xml.fromstring(response.body).iter("{DAV:}href"))


def test_reading(both):
    def talk(client):
        assert "2" in client.request("/", method="OPTIONS").header("dav")
        found = client.request("/folder", method="PROPFIND", headers={"Depth": "1"})
        assert hrefs(found) == ["/folder/", "/folder/small.txt"]
        query = b'<propfind xmlns="DAV:"><prop><getcontentlength/><x/></prop></propfind>'
        client.request(
            "/large.bin", method="PROPFIND", body=query, headers={"Depth": "0"} | TEXT_XML
        )
        whole = client.get("/large.bin")
        assert len(whole.body) == 307200
        part = client.get("/large.bin", headers={"Range": "bytes=100-199"})
        assert (part.status, part.body) == (206, whole.body[100:200])
        assert client.get("/large.bin", headers={"Range": "bytes=307000-"}).status == 206
        assert client.request("/large.bin", method="HEAD").body == b""
        assert client.get("/none").status == 404
        assert client.request("/none", method="PROPFIND").status == 404

    both.compare(talk, MASKS)


def test_writing(both):
    def talk(client):
        def dav(method, path, status, body=None, **headers):
            headers = {name.replace("_", "-"): text for name, text in headers.items()}
            response = client.request(path, method=method, body=body, headers=headers)
            assert response.status == status, (method, path, response.status, response.text)
            return response

        dav("MKCOL", "/new", 201)
        dav("MKCOL", "/new", 405)
        dav("MKCOL", "/a/b", 409)
        dav("PUT", "/new/text.txt", 201, b"first")
        dav("PUT", "/new/text.txt", 204, b"second")
        dav("PUT", "/new/large.bin", 201, bytes(2 << 20))
        # As some clients send it: without a length.
        dav("PUT", "/new/chunks.bin", 201, (b"x" * 1000 for _ in range(100)))
        assert dav("GET", "/new/text.txt", 200).body == b"second"
        assert len(dav("GET", "/new/chunks.bin", 200).body) == 100000
        there = "http://site.example/new/"
        dav("COPY", "/new/text.txt", 201, Destination=f"{there}copy.txt")
        dav("MOVE", "/new/copy.txt", 201, Destination=f"{there}moved.txt")
        dav("COPY", "/new/text.txt", 412, Destination=f"{there}moved.txt", Overwrite="F")
        found = dav("PROPFIND", "/new", 207, Depth="1")
        names = ["", "chunks.bin", "large.bin", "moved.txt", "text.txt"]
        assert hrefs(found) == [f"/new/{name}" for name in names]
        dav("PROPPATCH", "/new/text.txt", 207, PATCH, Content_Type="application/xml")
        answer = dav("LOCK", "/new/text.txt", 200, LOCK, Timeout="Second-500", Depth="0")
        token = re.search(r"opaquelocktoken:[^<>]+", answer.text)[0]
        dav("PUT", "/new/text.txt", 423, b"third")
        dav("PUT", "/new/text.txt", 204, b"third", If=f"(<{token}>)")
        dav("UNLOCK", "/new/text.txt", 204, Lock_Token=f"<{token}>")
        dav("DELETE", "/new/moved.txt", 204)
        dav("DELETE", "/new", 204)
        dav("GET", "/new/text.txt", 404)

    both.compare(talk, MASKS)
