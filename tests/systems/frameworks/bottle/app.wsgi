# SPDX-License-Identifier: Apache-2.0
"""A Bottle application: routes, forms, cookies, generators and static files."""

import tempfile
from pathlib import Path

import bottle

DATA = Path(__file__).resolve().parent / "data"
# Bottle keeps a thread's last request, and the file with its body, until the thread ends.
tempfile.tempdir = str(DATA)

application = bottle.Bottle()


@application.route("/hello/<name>", method=["GET", "POST"])
def hello(name):
    bottle.response.set_header("X-Name", name.encode("unicode-escape").decode())
    return {"name": name, "query": dict(bottle.request.query.decode())}


@application.post("/form")
def form():
    upload = bottle.request.files.get("file")
    fields = dict(bottle.request.forms.decode())
    return {"fields": fields, "upload": upload and [upload.raw_filename, len(upload.file.read())]}


@application.get("/cookies")
def cookies():
    count = int(bottle.request.get_cookie("count", "0")) + 1
    bottle.response.set_cookie("count", str(count))
    bottle.response.set_cookie("secret", "value", secret="a key for tests only", httponly=True)
    return str(count)


@application.get("/yield")
def blocks():
    bottle.response.content_type = "text/plain; charset=utf-8"
    yield "first\n"
    for number in range(200):
        yield f"blöck {number}\n"


@application.get("/static/<path:path>")
def static(path):
    return bottle.static_file(path, root=DATA)


@application.get("/redirect")
def redirect():
    bottle.redirect("/hello/there")


@application.get("/abort")
def abort():
    bottle.abort(409, "Conflict of tests")


@application.put("/body")
def body():
    return str(len(bottle.request.body.read()))
