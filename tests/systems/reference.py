# SPDX-License-Identifier: Apache-2.0
"""The same application under httpd and under waitress, and the same requests to both.

Each server has a copy of the application's folder, with the same data. What the two answer is
written down without what belongs to a server rather than to the application (Date, Server, how the
connection goes on), and has to be equal.
"""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.client import Connection, Response
from harness.configuration import ONE_CHILD, server_group, server_user
from harness.environments import Venv
from harness.server import Server
from systems.deployment import Environments, Servers, account

REQUIREMENTS = [
    "bottle==0.13.4",
    "Django==5.2.19",
    "Flask==3.1.3",
    "pyramid==2.1",
    # Pyramid imports pkg_resources, which later releases warn of.
    "setuptools==75.8.2",
    "waitress==3.0.2",
    "WebOb==1.8.11",
    "WebTest==3.0.7",
    "WsgiDAV==4.4.0",
]
HOST = "site.example"

_APPLICATIONS = Path(__file__).resolve().parent / "frameworks"
_OF_SERVERS = {"connection", "date", "keep-alive", "server", "transfer-encoding"}
_LARGE = bytes(range(256)) * 1200
_SMALL = "smörgås\n".encode()
_MODIFIED = 1_700_000_000

_SERVE = """
import os, runpy, sys, waitress
path = sys.argv[1]
os.chdir(os.path.dirname(path))
server = waitress.create_server(runpy.run_path(path)["application"], host="127.0.0.1", port=0)
print(server.effective_port, flush=True)
server.run()
"""

_DAEMON = """
WSGIDaemonProcess main {account} threads=5 python-home={venv}
WSGIScriptAlias / ${{ROOT}}/httpd/app.wsgi process-group=main application-group=%{{GLOBAL}}
"""
_EMBEDDED = """
WSGIPythonHome {venv}
WSGIScriptAlias / ${{ROOT}}/httpd/app.wsgi application-group=%{{GLOBAL}}
"""
_BOTH = """
WSGIChunkedRequest On
WSGIPassAuthorization On
<Directory ${ROOT}/httpd>
    Require all granted
</Directory>
"""

Masks = Mapping[str, str]
"""Regular expressions of what differs from run to run, and what is written in its place."""


@dataclass
class Client:
    """A client of one of the servers, with its cookies."""

    port: int
    masks: Masks
    cookies: dict[str, str] = field(default_factory=dict)
    written: list[dict[str, Any]] = field(default_factory=list)
    """What came back, as far as it is the application's."""

    def get(self, path: str, **options) -> Response:
        return self.request(path, **options)

    def post(self, path: str, body, **options) -> Response:
        return self.request(path, method="POST", body=body, **options)

    def request(self, path: str, headers: Mapping[str, str] | None = None, **options) -> Response:
        headers = dict(headers or {})
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={text}" for name, text in self.cookies.items())
        with Connection(self.port) as connection:
            response = connection.request(path, headers=headers, host=HOST, **options)
        assert response.complete
        for cookie in response.header_values("set-cookie"):
            name, _, text = cookie.partition(";")[0].partition("=")
            self.cookies[name] = text
        self._write(options.get("method", "GET"), path, response)
        return response

    def _write(self, method: str, path: str, response: Response) -> None:
        headers: dict[str, list[str]] = {}
        body = self._mask(response.body.decode("latin-1"))
        for name, text in response.headers:
            if name.lower() == "allow":
                # Frameworks keep methods in sets.
                text = ", ".join(sorted(text.split(", ")))
            if name.lower() == "content-length" and text == str(len(response.body)):
                # What is masked need not be as long as in the other server's answer.
                text = str(len(body))
            if name.lower() not in _OF_SERVERS:
                headers.setdefault(name.lower(), []).append(self._mask(text))
        if response.status == 204:
            # httpd sends none, as there is no content.
            headers.pop("content-type", None)
        if len(body) > 20_000:
            body = f"{len(body)} bytes, {hashlib.sha256(body.encode()).hexdigest()}"
        self.written.append(
            {
                "request": f"{method} {path}",
                "status": f"{response.status} {response.reason}",
                "headers": {
                    # Repeated ones may be joined; cookies never are.
                    name: sorted(texts) if name == "set-cookie" else ", ".join(texts)
                    for name, texts in sorted(headers.items())
                },
                "body": body,
            }
        )

    def _mask(self, text: str) -> str:
        for pattern, replacement in self.masks.items():
            text = re.sub(pattern, replacement, text)
        return text


@dataclass(frozen=True)
class SideBySide:
    """Both servers."""

    httpd: Server
    reference_port: int

    def compare(self, talk: Callable[[Client], object], masks: Masks | None = None) -> Client:
        """Hold the same conversation with both; returns the client of httpd."""
        clients = [Client(port, masks or {}) for port in (self.httpd.port, self.reference_port)]
        for client in clients:
            talk(client)
        ours, reference = (client.written for client in clients)
        assert len(ours) == len(reference) > 0
        wrong = []
        for answer, expected in zip(ours, reference, strict=True):
            if "content-length" not in expected["headers"]:
                # Then it is not the application's: a server may add it.
                answer["headers"].pop("content-length", None)
            wrong += [
                f"{answer['request']}: {part}\n"
                f"  httpd:    {answer[part]}\n  waitress: {expected[part]}"
                for part in answer
                if answer[part] != expected[part]
            ]
        assert not wrong, "\n".join(wrong)
        return clients[0]


def environment(venv: Environments) -> Venv:
    """One for all frameworks, and for the server that they are compared with."""
    return venv("frameworks", REQUIREMENTS)


@contextlib.contextmanager
def side_by_side(
    name: str,
    mode: str,
    module_server_factory: Servers,
    venv: Environments,
    prepare: Callable[[Venv, Path], object] | None = None,
) -> Iterator[SideBySide]:
    """The application of tests/systems/frameworks/<name>, under both servers.

    `prepare` is called with the folder of the one under httpd, which is then copied.
    """
    python = environment(venv)
    server = module_server_factory(start=False)
    source = _APPLICATIONS / name
    for file in sorted(source.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            server.write(f"httpd/{file.relative_to(source)}", file.read_bytes())
    _write_data(server)
    if prepare:
        prepare(python, server.root / "httpd")
    shutil.copytree(server.root / "httpd", server.root / "reference")
    if server_user():
        data = server.root / "httpd/data"
        for path in (data, *data.rglob("*")):
            shutil.chown(path, server_user(), server_group())
    text = _DAEMON if mode == "daemon" else _EMBEDDED
    # WsgiDAV has its locks in memory, and waitress has one process, too.
    server.configure(text.format(account=account(), venv=python.path) + _BOTH + ONE_CHILD)
    server.start()
    with _waitress(python, server.root / "reference/app.wsgi") as port:
        yield SideBySide(server, port)


def _write_data(server: Server) -> None:
    for name, content in {"large.bin": _LARGE, "folder/small.txt": _SMALL}.items():
        file = server.write(f"httpd/data/{name}", content)
        os.utime(file, (_MODIFIED, _MODIFIED))


@contextlib.contextmanager
def _waitress(python: Venv, script: Path) -> Iterator[int]:
    command = [python.python, "-c", _SERVE, script]
    with (
        open(script.with_suffix(".log"), "wb") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            line = process.stdout.readline()
            assert line, f"waitress did not start: {Path(log.name).read_text()}"
            yield int(line)
        finally:
            process.terminate()
