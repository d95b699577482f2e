# SPDX-License-Identifier: Apache-2.0
"""A small diagnostic application, in a group whose processes are replaced all the time."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from harness.client import Response
from harness.configuration import server_group, server_user
from harness.environments import Venv
from harness.server import Server
from harness.waiting import DEADLINE, wait_until
from systems.deployment import Environments, Servers, account, copy_folder

DAEMON = """
<IfModule mod_wsgi.c>
    WSGIPythonHome {venv}
    WSGIDaemonProcess pyApps {account} processes=2 threads=5 maximum-requests=5
    WSGIScriptAlias /hello ${{ROOT}}/hello/hello.wsgi

    <Directory ${{ROOT}}/hello>
        WSGIProcessGroup pyApps
        WSGIApplicationGroup %{{GLOBAL}}
        Require all granted
    </Directory>
</IfModule>
"""

EMBEDDED = """
<IfModule mod_wsgi.c>
    WSGIPythonHome {venv}
    WSGIScriptAlias /hello ${{ROOT}}/hello/hello.wsgi

    <Directory ${{ROOT}}/hello>
        WSGIApplicationGroup %{{GLOBAL}}
        Require all granted
    </Directory>
</IfModule>
"""


@pytest.fixture(scope="module")
def environment(venv: Environments) -> Venv:
    return venv("hello")


@pytest.fixture(scope="module")
def hello(mode: str, module_server_factory: Servers, environment: Venv) -> Server:
    server = module_server_factory(start=False)
    copy_folder(server, "hello")
    text = DAEMON if mode == "daemon" else EMBEDDED
    server.configure(text.format(venv=environment.path, account=account(group="nogroup")))
    return server.start()


def told(response: Response) -> dict[str, str]:
    assert response.status == 200, response.text
    assert response.complete
    return dict(line.split(": ", 1) for line in response.text.splitlines())


def test_process(hello, mode, environment):
    answer = told(hello.get("/hello"))
    processes = hello.daemon_processes if mode == "daemon" else hello.httpd_children
    parents = {process.pid: process.parent for process in processes}
    assert parents[int(answer["Process"])] == int(answer["Parent process"])
    assert answer["Python"] == str(environment.path)
    assert answer["environ mod_wsgi.process_group"] == ("pyApps" if mode == "daemon" else "")
    assert answer["environ mod_wsgi.application_group"] == ""


@pytest.mark.root_only("only root's httpd can change the user")
def test_user_and_group(hello, mode):
    answer = told(hello.get("/hello"))
    assert answer["User"] == server_user()
    assert answer["Group"] == ("nogroup" if mode == "daemon" else server_group())


def test_environ_and_query_string(hello):
    query = f"name={quote('Ångström & Söhne')}&empty=&sum=1%2B1"
    answer = told(hello.get(f"/hello/a/path?{query}", headers={"X-Greeting": "hej"}))
    # parse_qsl leaves out what has no value.
    assert {name: value for name, value in answer.items() if name.startswith("query ")} == {
        "query name": "Ångström & Söhne",
        "query sum": "1+1",
    }
    assert answer["environ QUERY_STRING"] == query
    assert answer["environ SCRIPT_NAME"] == "/hello"
    assert answer["environ PATH_INFO"] == "/a/path"
    assert answer["environ HTTP_X_GREETING"] == "hej"
    assert answer["environ SERVER_PORT"] == str(hello.port)


def test_nothing_is_lost_while_processes_are_replaced(hello, mode):
    clients, least = 8, 25
    # Embedded mode has no limit: the processes are httpd's.
    replacements = 10 if mode == "daemon" else 0
    served: Counter[int] = Counter()
    end = time.monotonic() + DEADLINE

    def wanted() -> Iterator[int]:
        """Numbers of requests, until there were enough of them on enough processes."""
        for number in itertools.count():
            if number >= least and (len(served) > replacements or time.monotonic() > end):
                return
            yield number

    def ask_on_one_connection(client: int) -> None:
        with hello.connection() as connection:
            for number in wanted():
                check(connection.request, f"kept-{client}-{number}")

    def ask_on_many(client: int) -> None:
        for number in wanted():
            check(hello.get, f"single-{client}-{number}")

    def check(ask: Callable[[str], Response], mark: str) -> None:
        """Ask; the answer must be the one to this very request."""
        answer = told(ask(f"/hello?mark={mark}"))
        assert answer["query mark"] == mark
        with lock:
            served[int(answer["Process"])] += 1

    lock = threading.Lock()
    with ThreadPoolExecutor(2 * clients) as pool:
        runs = [
            pool.submit(ask, client)
            for client in range(clients)
            for ask in (ask_on_one_connection, ask_on_many)
        ]
        for run in runs:
            run.result()
    assert served.total() >= 2 * clients * least
    if mode == "daemon":
        assert len(served) > replacements
        # Each has ended as the limit says, or is among those that serve now.
        wait_until(
            lambda: len(served.keys() & {process.pid for process in hello.daemon_processes}) <= 2,
            "the replaced processes to leave",
        )
    else:
        assert served.keys() <= {child.pid for child in hello.httpd_children}
