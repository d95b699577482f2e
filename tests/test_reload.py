# SPDX-License-Identifier: Apache-2.0
"""Changed code in daemon processes: when it is taken up, and what happens when it does not load.

That a changed script answers the next request is in test_daemon_life.py.
"""

import os
import signal

import pytest

from harness.background import HeldRequest
from harness.load import Load
from harness.processes import Process
from harness.waiting import wait_until

SOAK = float(os.environ.get("MOD_WSGI_SOAK", "0"))

pytestmark = pytest.mark.ours_only("reload= and reload-on= are ours")

APPLICATION = """
import os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [("%s %%d" %% os.getpid()).encode()]
"""

WITH_MODULE = """
import os
import {module}

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [("%s %d" % ({module}.TEXT, os.getpid())).encode()]
"""


@pytest.fixture
def serving(server_factory):
    """A server with one script; `options` are those of its process group. The application group is
    known from the configuration (`static`) or not."""

    def serve(options: str, script: str = APPLICATION % "one", groups: str = "static", files=()):
        server = server_factory(start=False)
        for path, content in files:
            server.write(path, content)
        server.write("site/app.wsgi", script)
        where = {
            "static": "WSGIScriptAlias / ${ROOT}/site/app.wsgi process-group=main "
            "application-group=%{GLOBAL}",
            "dynamic": "WSGIScriptAlias / ${ROOT}/site/app.wsgi\nWSGIProcessGroup main",
        }[groups]
        server.configure(f"""
WSGIDaemonProcess main {options}
{where}
<Directory ${{ROOT}}/site>
    Require all granted
</Directory>
""")
        return server.start()

    return serve


def change(server, path: str, content: str) -> None:
    """Another content, and another time than the file had, whatever the clock's grain."""
    file = server.root / path
    before = file.stat()
    server.write(path, content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))


def said(server) -> tuple[str, int]:
    response = server.get("/")
    assert response.status == 200
    text, pid = response.text.split()
    return text, int(pid)


@pytest.mark.parametrize(
    ("options", "groups"),
    [
        ("", "static"),
        ("processes=2", "static"),
        ("isolation=interpreter", "static"),
        ("", "dynamic"),
        ("isolation=interpreter", "dynamic"),
    ],
)
def test_keep_goes_on_with_the_old_code(serving, options, groups):
    server = serving(f"reload=keep {options}", groups=groups)
    count = 2 if "processes=2" in options else 1
    wait_until(lambda: len(server.find_log("is ready")) == count, "all processes to be ready")
    before = {said(server) for _ in range(10)}
    change(server, "site/app.wsgi", "this is no Python\n")
    for _ in range(10):
        assert said(server)[0] == "one"
    assert {pid for _, pid in before} <= {process.pid for process in server.daemon_processes}
    # One attempt for all processes, and none for each request.
    assert len(server.find_log("WSGI0354")) == 1
    server.expect_log("WSGI0106", count=1)
    server.expect_traceback("SyntaxError", count=1)
    server.expect_log("WSGI0354: WSGI process group 'main': the changed code is not used", count=1)
    change(server, "site/app.wsgi", APPLICATION % "two")
    assert {said(server)[0] for _ in range(10)} == {"two"}
    change(server, "site/app.wsgi", APPLICATION % "three")
    assert {said(server)[0] for _ in range(10)} == {"three"}


def test_keep_with_code_that_ends_its_process(serving):
    server = serving("reload=keep")
    before = said(server)
    change(server, "site/app.wsgi", "import os\nos._exit(7)\n")
    assert said(server) == before
    assert said(server) == before
    server.expect_log("WSGI0354.*exit(ed with status| code) 7", count=1)
    change(server, "site/app.wsgi", APPLICATION % "two")
    assert said(server)[0] == "two"


def test_keep_does_not_recycle_into_code_that_does_not_load(serving):
    server = serving("reload=keep threads=2")
    before = said(server)
    change(server, "site/app.wsgi", "raise ValueError('no')\n")
    assert said(server) == before
    os.kill(before[1], signal.SIGUSR1)
    server.wait_log("WSGI0308.*do not load")
    assert said(server) == before
    change(server, "site/app.wsgi", APPLICATION % "two")
    wait_until(lambda: said(server)[0] == "two", "the new code")
    server.expect_log("WSGI0354", count=1)
    server.expect_log("WSGI0308.*do not load")
    server.expect_log("WSGI0110")
    server.expect_traceback("ValueError: no")


def test_keep_without_old_code_serves_the_new_one(serving):
    server = serving("reload=keep", script="raise ValueError('no')\n")
    assert server.get("/").status == 500
    change(server, "site/app.wsgi", APPLICATION % "two")
    assert said(server)[0] == "two"
    server.expect_log("WSGI0109|WSGI0110")
    server.expect_traceback("ValueError: no")


def test_strict_answers_500_and_the_log_has_the_traceback(serving):
    server = serving("reload=strict")
    said(server)
    change(server, "site/app.wsgi", "raise ValueError('no')\n")
    assert server.get("/").status == 500
    server.expect_log("WSGI0109|WSGI0110")
    server.expect_traceback("ValueError: no")
    change(server, "site/app.wsgi", APPLICATION % "two")
    assert said(server)[0] == "two"


@pytest.mark.parametrize("options", ["", "processes=2", "isolation=interpreter"])
def test_changed_module_is_changed_code(serving, options):
    server = serving(
        f"reload-on=modules python-path=${{ROOT}}/lib {options}",
        WITH_MODULE.replace("{module}", "deep"),
        files=[
            ("lib/deep/__init__.py", "from deep.part import TEXT\n"),
            ("lib/deep/part.py", "TEXT = 'one'\n"),
        ],
    )
    before = said(server)
    assert before[0] == "one"
    assert said(server)[0] == "one"
    change(server, "lib/deep/part.py", "TEXT = 'two'\n")
    wait_until(lambda: said(server)[0] == "two", "the new code of the module")
    pids = {said(server)[1] for _ in range(10)}
    for _ in range(10):
        assert said(server)[1] in pids | {process.pid for process in server.daemon_processes}
    assert before[1] not in pids


def test_module_is_not_watched_without_being_asked(serving):
    server = serving(
        "python-path=${ROOT}/lib",
        WITH_MODULE.replace("{module}", "part"),
        files=[("lib/part.py", "TEXT = 'one'\n")],
    )
    before = said(server)
    change(server, "lib/part.py", "TEXT = 'two'\n")
    assert {said(server) for _ in range(5)} == {before}


def test_keep_with_a_module_that_does_not_load(serving):
    server = serving(
        "reload=keep reload-on=modules python-path=${ROOT}/lib",
        WITH_MODULE.replace("{module}", "part"),
        files=[("lib/part.py", "TEXT = 'one'\n")],
    )
    before = said(server)
    change(server, "lib/part.py", "TEXT =\n")
    wait_until(lambda: said(server) == before and server.find_log("WSGI0354"), "the attempt")
    assert {said(server) for _ in range(5)} == {before}
    server.expect_log("WSGI0354", count=1)
    server.expect_log("WSGI0110", count=1)
    server.expect_traceback("SyntaxError", count=1)
    change(server, "lib/part.py", "TEXT = 'two'\n")
    wait_until(lambda: said(server)[0] == "two", "the new code of the module")


def test_requests_in_flight_finish_on_the_old_code(server_factory, tmp_path_for_server):
    """With keep, they go on in a process that takes no others for the time being."""
    server = server_factory("""
WSGIDaemonProcess main reload=keep threads=2
WSGIScriptAlias / ${APPS}/hold/app.wsgi process-group=main application-group=%{GLOBAL}
""")
    held = HeldRequest(server, tmp_path_for_server, "/")
    old = held.pid
    server.touch(server.apps / "hold/app.wsgi")
    other = HeldRequest(server, tmp_path_for_server, "/")
    assert other.pid != old
    held.release()
    other.release()
    assert held.result().text == str(old)
    assert other.result().text == str(other.pid)
    wait_until(lambda: Process.of(old) is None, "the old process to leave")


@pytest.mark.parametrize(
    "options", ["threads=10", "processes=2 threads=5", "threads=10 reload=keep"]
)
def test_touch_each_second_costs_no_request_and_little_time(server_factory, options):
    server = server_factory(f"""
WSGIDaemonProcess main {options}
WSGIScriptAlias /a ${{APPS}}/twenty-milliseconds/app.wsgi \\
    process-group=main application-group=%{{GLOBAL}}
""")
    script = server.apps / "twenty-milliseconds/app.wsgi"
    assert server.get("/a").status == 200
    with Load(server, "/a", clients=8) as load:
        for number in range(1, 1 + max(4, round(2000 * SOAK))):
            # Another process has answered for a while: then, the file changes again.
            wait_until(lambda number=number: len(load.bodies) >= number, "the new code to answer")
            served = load.served
            wait_until(lambda served=served: load.served >= served + 300, "300 answers")
            server.touch(script)
    assert load.failures == []
    # A cold start takes much longer than this on a machine that is busy with something else.
    assert load.slowest < 10


def test_processes_stand_by_after_a_change(serving):
    server = serving("processes=2")
    said(server)
    change(server, "site/app.wsgi", APPLICATION % "two")
    assert said(server)[0] == "two"
    wait_until(lambda: len(server.find_log("will stand by")) == 2, "two processes to stand by")
    standing = {
        int(record.message.split("daemon process ")[1].split()[0])
        for record in server.find_log("will stand by")
    }
    change(server, "site/app.wsgi", APPLICATION % "three")
    text, pid = said(server)
    assert (text, pid in standing) == ("three", True)
