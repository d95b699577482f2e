# SPDX-License-Identifier: Apache-2.0
"""A JSON service made with Falcon: a package in the site-packages of its environment.

As in a careful deployment the code belongs to someone else than the account which runs it.
"""

import json
import os
import pwd

import pytest

from harness.configuration import server_user
from harness.environments import Venv
from harness.server import Server
from systems.deployment import Environments, Servers, account, install_package

SCRIPT = "from inventory import application\n"

DAEMON = """
WSGIDaemonProcess inventory {account} threads=5 python-home={venv}
WSGIScriptAlias /api ${{ROOT}}/site/service.wsgi process-group=inventory
<Directory ${{ROOT}}/site>
    Require all granted
</Directory>
"""

EMBEDDED = """
WSGIPythonHome {venv}
WSGIScriptAlias /api ${{ROOT}}/site/service.wsgi
<Directory ${{ROOT}}/site>
    Require all granted
</Directory>
"""


@pytest.fixture(scope="module")
def environment(venv: Environments) -> Venv:
    environment = venv("falcon", ["falcon==4.4.0"])
    install_package(environment, "falcon/inventory")
    return environment


@pytest.fixture(scope="module")
def service(mode: str, environment: Venv, module_server_factory: Servers) -> Server:
    server = module_server_factory(start=False)
    server.write("site/service.wsgi", SCRIPT)
    text = DAEMON if mode == "daemon" else EMBEDDED
    server.configure(text.format(account=account(), venv=environment.path))
    return server.start()


def test_json_in_and_out(service):
    items = [{"name": f"Stück {number}", "count": number, "price": 0.5} for number in range(5000)]
    response = service.post(
        "/api/totals", json.dumps(items).encode(), headers={"Content-Type": "application/json"}
    )
    assert response.status == 200, response.text
    assert response.header("content-type") == "application/json"
    assert response.json == {
        "value": sum(range(5000)) / 2,
        "names": sorted(item["name"] for item in items),
    }


def test_path_and_parameters(service):
    response = service.get("/api/items/sm%C3%B6rg%C3%A5s?size=2&tag=a&tag=b&note=%E2%82%AC")
    assert response.status == 200, response.text
    assert response.json == {
        "name": "smörgås",
        "parameters": {"size": "2", "tag": ["a", "b"], "note": "€"},
        "root": "/api",
    }


def test_errors_are_the_services(service):
    malformed = service.post(
        "/api/totals", b'{"name": ', headers={"Content-Type": "application/json"}
    )
    assert (malformed.status, malformed.json["title"]) == (400, "Invalid JSON")
    wrong = service.post("/api/totals", b"{}", headers={"Content-Type": "application/json"})
    assert (wrong.status, wrong.json["title"]) == (422, "A list is needed")
    method = service.get("/api/totals")
    assert (method.status, method.header("allow")) == (405, "POST, OPTIONS")
    assert service.get("/api/nothing").status == 404


def test_process(service, mode, environment):
    answer = service.get("/api/process").json
    assert answer["folder"] == str(environment.site_packages / "inventory")
    assert answer["daemon"] == ("inventory" if mode == "daemon" else "")


@pytest.mark.root_only("only root's httpd runs as another user than the owner of the code")
def test_process_cannot_change_its_code(service, environment):
    answer = service.get("/api/process").json
    assert answer["user"] == pwd.getpwnam(server_user()).pw_uid
    assert answer["owner"] == os.geteuid() != answer["user"]
    response = service.post("/api/process", b"")
    assert response.json == {"new file": "EACCES", "own file": "EACCES", "rename": "EACCES"}
    # Nor has Python left bytecode there on its own.
    assert not (environment.site_packages / "inventory/__pycache__").exists()
