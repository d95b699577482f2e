# SPDX-License-Identifier: Apache-2.0
"""Every example configuration in conf/ is loaded as it stands and serves a request."""

from base64 import b64encode
from pathlib import Path

import pytest

CONF = Path(__file__).resolve().parent.parent / "conf"
TESTED = {"access.conf", "daemon.conf", "django.conf", "embedded.conf", "two-pythons.conf"}

APP = """\
import sys

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    group = environ["mod_wsgi.process_group"]
    version = "%d.%d" % sys.version_info[:2]
    return [("%s|%s|%s" % (group, version, sys.prefix)).encode()]
"""


def include(server, name, **variables):
    """The configuration that includes the example with these variables."""
    server.write(f"conf/{name}", (CONF / name).read_text())
    defines = "".join(f"Define {key} {value}\n" for key, value in variables.items())
    return f"{defines}Include {server.root}/conf/{name}\n"


def answer(response):
    assert response.status == 200, response.text
    return response.text.split("|")


def test_every_example_is_tested():
    assert {path.name for path in CONF.glob("*.conf")} == TESTED


@pytest.mark.parametrize(("name", "group"), [("daemon.conf", "site"), ("embedded.conf", "")])
def test_one_application(server_factory, venv, name, group):
    environment = venv("conf-plain")
    server = server_factory(start=False)
    server.write("site/app.wsgi", APP)
    server.configure(include(server, name, SITE=server.root / "site", VENV=environment.path))
    server.start()
    assert answer(server.get("/")) == [group, environment.version, str(environment.path)]


@pytest.mark.ours_only("mod_wsgi is built for one Python")
def test_two_pythons(server_factory, venv, interpreter):
    old = venv("conf-plain")
    new = venv("conf-3.12", python=interpreter("3.12"))
    server = server_factory(start=False)
    server.write("old/app.wsgi", APP)
    server.write("new/app.wsgi", APP)
    server.configure(
        include(
            server,
            "two-pythons.conf",
            OLD_SITE=server.root / "old",
            OLD_VENV=old.path,
            NEW_SITE=server.root / "new",
            NEW_VENV=new.path,
        )
    )
    server.start()
    assert answer(server.get("/old")) == ["old", old.version, str(old.path)]
    assert answer(server.get("/new")) == ["new", "3.12", str(new.path)]


USERS = """\
PASSWORDS = {"ann": "secret", "bob": "other"}

def check_password(environ, user, password):
    return PASSWORDS[user] == password if user in PASSWORDS else None

def groups_for_user(environ, user):
    return ["staff"] if user == "ann" else []
"""


@pytest.mark.ours_only("hooks of mod_wsgi run inside httpd")
def test_access(server_factory, venv):
    server = server_factory(
        start=False, modules=("alias", "auth_basic", "authn_core", "authz_core", "authz_user")
    )
    server.write("accounts/users.py", USERS)
    server.write("pages/page.txt", "a page\n")
    paths = {"PAGES": server.root / "pages", "USERS": server.root / "accounts/users.py"}
    server.configure(include(server, "access.conf", VENV=venv("conf-plain").path, **paths))
    server.start()

    def status(user, password):
        token = b64encode(f"{user}:{password}".encode()).decode()
        return server.get("/pages/page.txt", headers={"Authorization": f"Basic {token}"}).status

    assert server.get("/pages/page.txt").status == 401
    assert [status("ann", "secret"), status("ann", "wrong"), status("eve", "x")] == [200, 401, 401]
    assert status("bob", "other") == 401
    server.expect_log("WSGI0059", count=1)
    server.tolerate_log("AH01617|AH01618|AH01631")
    mapped = {name for child in server.httpd_children for name in child.mapped_files}
    assert not [name for name in mapped if "libpython" in str(name)]


def test_django(server_factory, venv):
    environment = venv("conf-django", ["django>=4.2,<6"])
    server = server_factory(start=False)
    project = server.root / "project"
    server.write(
        "project/shop/settings.py",
        'SECRET_KEY = "x"\nALLOWED_HOSTS = ["*"]\nROOT_URLCONF = "shop.urls"\n',
    )
    server.write("project/shop/__init__.py", "")
    server.write(
        "project/shop/urls.py",
        "from django.http import HttpResponse\n"
        "from django.urls import path\n"
        "urlpatterns = [path('hello/<name>/', "
        "lambda request, name: HttpResponse('hello ' + name))]\n",
    )
    server.write(
        "project/shop/wsgi.py",
        "import os\n"
        "from django.core.wsgi import get_wsgi_application\n"
        'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")\n'
        "application = get_wsgi_application()\n",
    )
    server.write("project/static/site.css", "body { margin: 0 }\n")
    server.configure(
        include(server, "django.conf", PROJECT=project, PACKAGE="shop", VENV=environment.path)
    )
    server.start()
    response = server.get("/hello/w%C3%B6rld/")
    assert (response.status, response.body) == (200, "hello wörld".encode())
    assert server.get("/static/site.css").body == b"body { margin: 0 }\n"
    assert server.get("/none/").status == 404
