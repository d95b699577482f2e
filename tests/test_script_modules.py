# SPDX-License-Identifier: Apache-2.0
"""What a WSGI script is to Python: a module of its own, that knows where it comes from.

How it is loaded again is in test_daemon_life.py, what happens when it does not load in
test_errors.py.
"""

import hashlib
import json

import pytest

SCRIPT = '''"""Answers with what it knows of itself."""

import importlib.resources
import importlib.util
import inspect
import json
import pkgutil
import sys


def application(environ, start_response):
    module = sys.modules[__name__]
    spec = importlib.util.find_spec(__name__)
    answer = {
        "name": __name__,
        "file": __file__,
        "mtime": __mtime__,
        "namespace": module.__dict__ is globals(),
        "doc": __doc__,
        "package": __package__,
        "cached": __cached__,
        "loader": type(__loader__).__name__,
        "spec": [spec.name, spec.origin, spec.has_location, spec.submodule_search_locations],
        "beside": pkgutil.get_data(__name__, "beside.txt").decode(),
        "source": inspect.getsource(application).splitlines()[0],
        "path": __file__.rpartition("/")[0] in sys.path,
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
'''


MOUNTS = """
WSGIDaemonProcess main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /embedded ${ROOT}/site/app.wsgi
WSGIScriptAlias /daemon ${ROOT}/site/app.wsgi process-group=main
<Directory ${ROOT}/site>
    Require all granted
</Directory>
"""


@pytest.fixture(scope="module")
def server(module_server_factory):
    server = module_server_factory(
        """
WSGIDaemonProcess main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /embedded/script ${ROOT}/site/app.wsgi
WSGIScriptAlias /daemon/script ${ROOT}/site/app.wsgi process-group=main
WSGIScriptAlias /embedded/again ${ROOT}/site/app.wsgi
WSGIScriptAlias /daemon/again ${ROOT}/site/app.wsgi process-group=main
WSGIScriptAlias /embedded/package ${ROOT}/site/package/__init__.py
WSGIScriptAlias /daemon/package ${ROOT}/site/package/__init__.py process-group=main
<Directory ${ROOT}/site>
    Require all granted
</Directory>
""",
        start=False,
    )
    for folder in ("site", "site/package"):
        server.write(f"{folder}/beside.txt", "a text beside it")
    server.write("site/app.wsgi", SCRIPT)
    server.write("site/package/__init__.py", SCRIPT)
    return server.start()


def facts(server, mode: str, name: str) -> dict:
    response = server.get(f"/{mode}/{name}")
    assert response.status == 200
    return json.loads(response.text)


@pytest.mark.parametrize("name", ["script", "again"])
def test_script_is_a_module(server, mode, name):
    path = server.root / "site/app.wsgi"
    module = "_mod_wsgi_" + hashlib.md5(str(path).encode()).hexdigest()
    assert facts(server, mode, name) == {
        "name": module,
        "file": str(path),
        "mtime": path.stat().st_mtime_ns // 1000,
        "namespace": True,
        "doc": "Answers with what it knows of itself.",
        "package": None,
        "cached": None,
        "loader": "SourceFileLoader",
        "spec": [module, str(path), True, None],
        "beside": "a text beside it",
        "source": "def application(environ, start_response):",
        "path": False,
    }


def test_script_that_is_a_package(server, mode):
    """As in python-kdcproxy, whose script is the file of its package."""
    answer = facts(server, mode, "package")
    assert answer["spec"][3] == [str(server.root / "site/package")]
    assert answer["beside"] == "a text beside it"


REPLACED = """
import os
import sys
import types


class Module(types.ModuleType):
    pass


def application(environ, start_response):
    start_response("200 OK", [])
    return [f"{os.getpid()} {id(sys.modules[name])}".encode()]


name = __name__
sys.modules[name] = Module(name)
sys.modules[name].application = application
"""


def test_script_puts_another_module_in_its_place(server_factory, mode):
    server = server_factory(MOUNTS, start=False)
    server.write("site/app.wsgi", REPLACED)
    server.start()
    answers = {tuple(server.get(f"/{mode}").text.split()) for _ in range(6)}
    # One module for each process, of which embedded mode may have several.
    assert len(answers) == len({pid for pid, _ in answers})
    assert mode == "embedded" or len(answers) == 1


@pytest.mark.ours_only("processes of mod_wsgi crash")
def test_script_puts_something_else_in_its_place(server_factory, mode):
    server = server_factory(MOUNTS, start=False)
    server.write("site/app.wsgi", "import sys\nsys.modules[__name__] = object()\n")
    server.start()
    before = {process.pid for process in server.daemon_processes}
    for _ in range(3):
        assert server.get(f"/{mode}").status == 500
    server.expect_log("WSGI0109", count=3)
    server.expect_traceback("TypeError: .*an object of class object", count=3)
    assert {process.pid for process in server.daemon_processes} == before
