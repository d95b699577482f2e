# SPDX-License-Identifier: Apache-2.0
"""The resources of the service and their routes."""

import errno
import os
from pathlib import Path

import falcon


class Totals:
    """POST [{"name": ..., "count": ..., "price": ...}, ...]: what the stock is worth."""

    def on_post(self, request, response):
        items = request.get_media()
        if not isinstance(items, list):
            raise falcon.HTTPUnprocessableEntity(title="A list is needed")
        response.media = {
            "value": sum(item["count"] * item["price"] for item in items),
            "names": sorted(item["name"] for item in items),
        }


class Item:
    """GET: the name in the path and the parameters, as they came."""

    def on_get(self, request, response, name):
        response.media = {"name": name, "parameters": request.params, "root": request.root_path}


class Process:
    """GET: who runs the code and whose it is. POST: try to change it."""

    _folder = Path(__file__).parent

    def on_get(self, request, response):
        response.media = {
            "user": os.geteuid(),
            "owner": self._folder.stat().st_uid,
            "folder": str(self._folder),
            "daemon": request.env["mod_wsgi.process_group"],
        }

    def on_post(self, request, response):
        response.media = {
            "new file": self._error(lambda: (self._folder / "new.py").touch()),
            "own file": self._error(lambda: Path(__file__).open("a").close()),
            "rename": self._error(lambda: Path(__file__).rename(self._folder / "other.py")),
        }

    @staticmethod
    def _error(change):
        try:
            change()
        except OSError as error:
            return errno.errorcode[error.errno]
        return None


def create_application():
    application = falcon.App()
    application.add_route("/totals", Totals())
    application.add_route("/items/{name}", Item())
    application.add_route("/process", Process())
    return application
