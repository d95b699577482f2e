# SPDX-License-Identifier: Apache-2.0
"""Webware for Python 3, a framework of servlets, as its deployment guide sets it up.

The pages are those of the application that `webware make` writes and the examples that come
with Webware. Its guide uses more options of WSGIDaemonProcess than any other we know.
"""

import os
import re
from html import escape, unescape
from pathlib import Path
from xmlrpc.client import dumps, loads

import pytest

from harness.client import Response
from harness.configuration import server_group
from harness.environments import Venv
from harness.server import Server
from systems.deployment import Environments, Servers, account, page

STATIC = """
<Directory ${{ROOT}}/site/Static>
    Require all granted
</Directory>
"""
SCRIPTS = """
<Directory ${{ROOT}}/site/Scripts>
    Require all granted
</Directory>
"""
GROUP = """
WSGIDaemonProcess webware threads=20 python-home={venv}
WSGIProcessGroup webware
"""
HOME = """
WSGIPythonHome {venv}
"""
AT_ROOT = "WSGIScriptAlias / ${{ROOT}}/site/Scripts/WSGIScript.py"
AT_APP = "WSGIScriptAlias /app ${{ROOT}}/site/Scripts/WSGIScript.py"
STATIC_AT_STATIC = "Alias /static ${{ROOT}}/site/Static"
STATIC_AT_ROOT = "DocumentRoot ${{ROOT}}/site/Static"
OPTIONS = """
    display-name='%{{GROUP}}' \\
    lang='C.UTF-8' locale='C.UTF-8' \\
    queue-timeout=45 socket-timeout=60 connect-timeout=15 \\
    request-timeout=60 inactivity-timeout=0 startup-timeout=15 \\
    deadlock-timeout=60 graceful-timeout=15 eviction-timeout=0 \\
    restart-interval=0 shutdown-timeout=5 maximum-requests=0
"""
ALL_OPTIONS = f"""
WSGIDaemonProcess webware \\
    {{account}} \\
    threads=15 \\
    python-home={{venv}} \\{OPTIONS}
WSGIProcessGroup webware
"""
DEBUGGING = """
LogLevel info
WSGIVerboseDebugging On
"""

DEPLOYMENTS = {
    "root": (STATIC_AT_STATIC, STATIC, GROUP, AT_ROOT, SCRIPTS),
    "root-embedded": (STATIC_AT_STATIC, STATIC, HOME, AT_ROOT, SCRIPTS),
    "app": (STATIC_AT_ROOT, STATIC, GROUP, AT_APP, SCRIPTS),
    "app-embedded": (STATIC_AT_ROOT, STATIC, HOME, AT_APP, SCRIPTS),
    "options": (STATIC_AT_STATIC, STATIC, ALL_OPTIONS, AT_ROOT, SCRIPTS),
    "debugging": (DEBUGGING, STATIC_AT_STATIC, STATIC, GROUP, AT_ROOT, SCRIPTS),
    "debugging-embedded": (DEBUGGING, STATIC_AT_STATIC, STATIC, HOME, AT_ROOT, SCRIPTS),
}
"""The guide's configurations; "-embedded" is the same without the process group."""

MACRO = f"""
<Macro WSGIProcess $name $threads>
    WSGIDaemonProcess $name \\
    {{account}} \\
    threads=$threads \\
    python-home={{venv}} \\{OPTIONS}
</Macro>

Use WSGIProcess app1 25

WSGIScriptAlias /app1 \\
    ${{{{ROOT}}}}/site1/Scripts/WSGIScript.py process-group=app1

<Directory ${{{{ROOT}}}}/site1/Scripts>
    Require all granted
</Directory>

Use WSGIProcess app2 10

WSGIScriptAlias /app2 \\
    ${{{{ROOT}}}}/site2/Scripts/WSGIScript.py process-group=app2

<Directory ${{{{ROOT}}}}/site2/Scripts>
    Require all granted
</Directory>
"""


def make_application(server: Server, environment: Venv, name: str) -> Path:
    """An application's working directory, readable and partly writable by the server's group."""
    group = ["-g", server_group()] if os.geteuid() == 0 else []
    environment.run(environment.path / "bin/webware", "make", *group, server.root / name)
    return server.root / name


class Site:
    """An application of Webware as its visitors see it."""

    def __init__(self, server: Server, folder: Path, prefix: str, static: str, mode: str) -> None:
        self.server = server
        self.folder = folder
        self.prefix = prefix
        self.static = static
        self.mode = mode

    def get(self, path: str, **options) -> Response:
        return self.server.get(self.prefix + path, **options)

    def post(self, path: str, body: bytes, **options) -> Response:
        return self.server.post(self.prefix + path, body, **options)


@pytest.fixture(scope="module")
def environment(venv: Environments) -> Venv:
    return venv("webware", ["Webware-for-Python==3.1.0"])


@pytest.fixture(scope="module", params=DEPLOYMENTS)
def site(request: pytest.FixtureRequest, environment: Venv, module_server_factory: Servers) -> Site:
    server = module_server_factory(start=False)
    folder = make_application(server, environment, "site")
    parts = DEPLOYMENTS[request.param]
    text = "\n".join(parts).format(account=account(), venv=environment.path)
    server.configure(text)
    server.write("site/Static/note.txt", "static\n")
    return Site(
        server.start(),
        folder,
        "/app" if AT_APP in parts else "",
        "" if STATIC_AT_ROOT in parts else "/static",
        "embedded" if HOME in parts else "daemon",
    )


def environ_shown(response: Response) -> dict[str, str]:
    """The WSGI environ as the page RequestInformation tabulates it."""
    rows = re.findall(r"<tr[^>]*><td>([^<]*)</td><td>(.*?)</td></tr>", page(response), re.DOTALL)
    return {key: unescape(value.replace("<wbr>", "")) for key, value in rows}


def test_page_of_the_new_application(site):
    text = page(site.get("/"))
    assert "<title>My Sample Context</title>" in text
    assert "<h1>Welcome to Webware for Python!</h1>" in text
    # It names its own file, and its links begin where the application is mounted.
    assert "<b>MyContext/Main.py</b>" in text
    assert f'<a href="{site.prefix}/Examples/">Examples</a>' in text


def test_examples(site, environment):
    welcome = page(site.get("/Examples/"))
    assert "<h2>Welcome to Webware for Python 3.1!</h2>" in welcome
    assert f">Python {environment.ask('import platform; print(platform.python_version())')}<" in (
        welcome
    )
    assert "<p>This is a very simple servlet.</p>" in page(site.get("/Examples/Simple"))
    assert "<h4>The current time is:</h4>" in page(site.get("/Examples/ShowTime"))


def test_where_the_application_runs(site):
    shown = environ_shown(site.get("/Examples/RequestInformation?answer=42&list=1&list=2"))
    assert shown["answer"] == "42"
    assert shown["list"] == "['1', '2']"
    assert shown["SCRIPT_NAME"] == site.prefix
    assert shown["PATH_INFO"] == "/Examples/RequestInformation"
    assert shown["mod_wsgi.process_group"] == ("webware" if site.mode == "daemon" else "")
    assert len(site.server.daemon_processes) == (1 if site.mode == "daemon" else 0)
    if site.mode == "daemon":
        assert (shown["wsgi.multithread"], shown["wsgi.multiprocess"]) == ("True", "False")


def test_session_counts_visits(site):
    counts = []
    with site.server.connection() as connection:
        cookie = {}
        for _ in range(3):
            response = connection.request(f"{site.prefix}/Examples/CountVisits", headers=cookie)
            counts.append(re.search(r"&nbsp;(\d+)&nbsp;", page(response))[1])
            cookie = cookie or {"Cookie": response.header("set-cookie").partition(";")[0]}
    assert counts == ["1", "2", "3"]


def test_upload_of_a_file(site):
    boundary = "a-boundary-of-parts"
    content = "".join(f"<line> {number}\n" for number in range(20000))
    body = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="filename"; filename="lines.txt"\r\n'
        "Content-Type: text/plain\r\n\r\n"
        f"{content}\r\n--{boundary}--\r\n"
    )
    response = site.post(
        "/Examples/FileUpload",
        body.encode(),
        headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    text = page(response)
    assert "<strong>lines.txt</strong>" in text
    assert f"{len(content)} bytes" in text
    assert escape(content.strip()) in text


def test_remote_procedure_call(site):
    def call(name: str) -> int:
        response = site.post(
            "/Examples/XMLRPCExample",
            dumps((6, 7), name).encode(),
            headers={"Content-Type": "text/xml"},
        )
        assert (response.status, response.header("content-type")) == (200, "text/xml")
        return loads(response.body)[0][0]

    assert (call("multiply"), call("add")) == (42, 13)


def test_template_is_compiled_to_a_servlet(site):
    text = page(site.get("/PSP/Examples/Hello"))
    assert "Hello from PSP!" in text
    assert '<li><a href="Braces.psp"> Braces.psp</a></li>' in text
    assert list((site.folder / "Cache").rglob("*Hello*.py"))


def test_error_of_a_servlet(site):
    assert "<h1>Error Test</h1>" in page(site.get("/Examples/Error"))
    response = site.post(
        "/Examples/Error",
        b"error=RuntimeError",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert "The site is having technical difficulties" in page(response, 500)
    errors = (site.folder / "Logs/Errors.csv").read_text()
    assert "Error.py,RuntimeError,You clicked that button!" in errors


def test_unknown_page_is_answered_by_the_application(site):
    text = page(site.get("/Examples/NoSuchPage"), 404)
    assert f"The page you requested, <strong>{site.prefix}/Examples/NoSuchPage</strong>," in text


def test_static_file_is_httpds(site):
    response = site.server.get(f"{site.static}/note.txt")
    assert (response.status, response.body) == (200, b"static\n")
    assert response.header("accept-ranges") == "bytes"


def test_macro_with_two_process_groups(environment, server_factory):
    server = server_factory(start=False, modules=["macro"])
    folders = {f"app{n}": make_application(server, environment, f"site{n}") for n in (1, 2)}
    server.configure(MACRO.format(account=account(), venv=environment.path))
    server.start()
    pids = {}
    for name, folder in folders.items():
        assert f'<a href="/{name}/Examples/">Examples</a>' in page(server.get(f"/{name}/"))
        shown = environ_shown(server.get(f"/{name}/Examples/RequestInformation"))
        assert (shown["SCRIPT_NAME"], shown["mod_wsgi.process_group"]) == (f"/{name}", name)
        started = re.search(r"Process id: (\d+)", (folder / "Logs/Application.log").read_text())
        pids[name] = int(started[1])
    titles = {process.pid: process.command_line for process in server.daemon_processes}
    assert titles.keys() == set(pids.values())
    for name, pid in pids.items():
        assert titles[pid].startswith(f"(wsgi:{name})".encode())


@pytest.mark.parametrize("deployment", ["root", "root-embedded"])
def test_application_is_told_of_the_end(environment, server_factory, deployment):
    server = server_factory(start=False)
    folder = make_application(server, environment, "site")
    text = "\n".join(DEPLOYMENTS[deployment]).format(venv=environment.path)
    server.configure(text)
    server.start()
    page(server.get("/"))
    assert server.stop() == []
    log = (folder / "Logs/Application.log").read_text()
    assert log.count("Application has been successfully shut down.") == 1
