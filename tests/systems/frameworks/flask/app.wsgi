# SPDX-License-Identifier: Apache-2.0
"""A Flask application: routes, forms, JSON, sessions, streams and files."""

import hashlib
from datetime import datetime, timezone
from pathlib import Path

from flask import Flask, abort, jsonify, redirect, request, send_file, session, url_for

DATA = Path(__file__).resolve().parent / "data"

application = Flask("framework")
application.secret_key = "a key for tests only"


@application.route("/items/<int:number>/<path:rest>", methods=["GET", "DELETE"])
def item(number, rest):
    known = {name: value for name, value in request.headers.items() if name.startswith("X-")}
    return jsonify(number=number, rest=rest, query=request.args.to_dict(False), headers=known)


@application.post("/form")
def form():
    return jsonify(request.form.to_dict(False))


@application.post("/json")
def json():
    return jsonify(received=request.get_json())


@application.post("/digest")
def digest():
    body = request.get_data()
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}"


@application.post("/upload")
def upload():
    file = request.files["file"]
    return jsonify(name=file.filename, type=file.mimetype, size=len(file.read()), **request.form)


@application.get("/count")
def count():
    session["count"] = session.get("count", 0) + 1
    response = jsonify(session["count"])
    response.set_cookie("plain", "1", path="/count")
    response.headers.add("X-Repeated", "a")
    response.headers.add("X-Repeated", "b")
    return response


@application.get("/stream")
def stream():
    return (f"line {number}\n" for number in range(300)), {"Content-Type": "text/plain"}


@application.get("/file")
def file():
    return send_file(DATA / "large.bin", conditional=True, max_age=60)


@application.get("/memory")
def memory():
    import io

    modified = datetime(2024, 1, 1, tzinfo=timezone.utc)
    return send_file(
        io.BytesIO(b"0123456789" * 100), mimetype="text/plain", etag="fixed", last_modified=modified
    )


@application.get("/away")
def away():
    return redirect(url_for("item", number=1, rest="a b"), 303)


@application.get("/teapot")
def teapot():
    abort(418)


@application.get("/empty")
def empty():
    return "", 204


@application.errorhandler(404)
def missing(error):
    return f"nothing at {request.full_path}", 404, {"X-Handler": "mine"}
