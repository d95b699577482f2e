# SPDX-License-Identifier: Apache-2.0
"""Django: the admin, forms, uploads, streams and files, as under another WSGI server."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.environments import Venv
from systems.multipart import multipart
from systems.reference import SideBySide, side_by_side

MASKS = {
    r'(name="csrfmiddlewaretoken" value=")\w+': r"\1...",
    r"csrftoken=\w+": "csrftoken=...",
    r"sessionid=\w+": "sessionid=...",
    # It is signed with the time.
    r"messages=[^;]+": "messages=...",
    r"expires=[^;]+": "expires=...",
}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MAKE_USER = """
import django
django.setup()
from django.contrib.auth.models import User
User.objects.create_superuser("admin", "admin@site.example", "secret", last_login=None)
"""


@pytest.fixture(scope="module")
def database(venv, tmp_path_factory) -> Path:
    """Made once for both modes."""
    return tmp_path_factory.mktemp("django") / "db.sqlite3"


@pytest.fixture(scope="module")
def both(mode, module_server_factory, venv, database) -> Iterator[SideBySide]:
    def prepare(python: Venv, folder: Path) -> None:
        if not database.exists():
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("DJANGO_SETTINGS_MODULE", "project.settings")
                patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
                python.run(python.python, "-m", "django", "migrate", cwd=folder)
                python.run(python.python, "-c", MAKE_USER, cwd=folder)
            shutil.copyfile(folder / "data/db.sqlite3", database)
        shutil.copyfile(database, folder / "data/db.sqlite3")

    with side_by_side("django", mode, module_server_factory, venv, prepare) as both:
        yield both


def token(response) -> str:
    return re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', response.text)[1]


def log_in(client) -> None:
    page = client.get("/admin/", headers={"Accept-Language": "en"})
    assert (page.status, page.header("location")) == (302, "/admin/login/?next=/admin/")
    page = client.get("/admin/login/?next=/admin/")
    wrong = f"csrfmiddlewaretoken={token(page)}&username=admin&password=wrong".encode()
    assert (
        "Please enter the correct username"
        in client.post("/admin/login/?next=/admin/", wrong, headers=FORM).text
    )
    right = f"csrfmiddlewaretoken={token(page)}&username=admin&password=secret&next=/admin/"
    answer = client.post("/admin/login/?next=/admin/", right.encode(), headers=FORM)
    assert (answer.status, answer.header("location")) == (302, "/admin/")


def test_admin(both):
    def talk(client):
        log_in(client)
        assert "Site administration" in client.get("/admin/").text
        page = client.get("/admin/auth/group/add/")
        body, kind = multipart(
            {"csrfmiddlewaretoken": token(page), "name": "Gr\u00fcppe", "_save": "Save"}, {}
        )
        answer = client.post("/admin/auth/group/add/", body, headers=kind)
        assert (answer.status, answer.header("location")) == (302, "/admin/auth/group/")
        assert "Gr\u00fcppe" in client.get("/admin/auth/group/").text
        assert "admin@site.example" in client.get("/admin/auth/user/").text
        assert client.get("/admin/auth/user/1/change/").status == 200
        assert client.get("/admin/jsi18n/").status == 200
        out = f"csrfmiddlewaretoken={token(client.get('/admin/'))}".encode()
        assert client.post("/admin/logout/", out, headers=FORM).status == 200
        assert client.get("/admin/").status == 302

    both.compare(talk, MASKS | {r"(Last login|date joined|\d\d:\d\d)[^<]*": "a time"})


def test_forms(both):
    def talk(client):
        page = client.get("/form/")
        assert client.get("/form").header("location") == "/form/"
        data = f"csrfmiddlewaretoken={token(page)}&name=%C3%BC%26&number=12".encode()
        assert "&#x27;number&#x27;: 12" in client.post("/form/", data, headers=FORM).text
        data = f"csrfmiddlewaretoken={token(page)}&number=twelve".encode()
        assert "Enter a whole number" in client.post("/form/", data, headers=FORM).text
        assert client.post("/form/", b"name=x", headers=FORM).status == 403

    both.compare(talk, MASKS)


def test_uploads(both):
    files = {
        "small": ("ä b.txt", "text/plain", b"small"),
        "large": ("c.bin", "application/x-thing", bytes(range(256)) * 4000),
    }
    body, kind = multipart({"note": "größe"}, files)

    def talk(client):
        answer = client.post("/upload", body, headers=kind).json
        assert answer["fields"] == {"note": "größe"}
        assert {file["class"] for file in answer["files"].values()} == {"TemporaryUploadedFile"}
        small, of_small = multipart({}, {"small": files["small"]})
        answer = client.post("/upload", small, headers=of_small).json
        assert answer["files"]["small"]["class"] == "InMemoryUploadedFile"
        assert client.get("/upload").status == 405

    both.compare(talk, MASKS)


def test_streams_and_files(both):
    def talk(client):
        assert client.get("/stream").text.endswith("block 199 é\n")
        file = client.get("/download")
        assert (len(file.body), file.header("content-length")) == (307200, "307200")
        assert client.request("/download", method="HEAD").body == b""
        style = client.get("/static/admin/css/base.css")
        assert style.status == 200
        since = {"If-Modified-Since": style.header("last-modified")}
        assert client.get("/static/admin/css/base.css", headers=since).status == 304
        assert client.get("/static/none.css").status == 404

    both.compare(talk, MASKS)


def test_requests(both):
    def talk(client):
        answer = client.get("/echo/a%20b/%C3%BC?q=1&q=%26", headers={"X-Some": "thing"}).json
        assert answer["uri"] == "http://site.example/echo/a%20b/%C3%BC?q=1&q=%26"
        assert answer["headers"] == {"X-Some": "thing"}
        assert client.request("/echo/x", method="HEAD").body == b""
        assert client.get("/nothing").status == 404

    both.compare(talk, MASKS)


def test_exceptions_are_djangos(both):
    """It answers 500 itself; its logger has handlers, of which none writes to a stream."""

    def talk(client):
        assert client.get("/fail").status == 500

    both.compare(talk, MASKS)
