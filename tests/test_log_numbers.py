# SPDX-License-Identifier: Apache-2.0
"""Conditions that have a number in the log and are no other test's subject."""

import resource

import pytest

from harness.under_test import OURS

MOUNTS = """
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /hello ${APPS}/hello/app.wsgi process-group=main
"""


def with_options(options: str) -> str:
    return f"WSGIDaemonProcess main {options}\n{MOUNTS}"


# Daemon processes that do not start

as_root = pytest.mark.root_only("the group is to have another user or root directory")


@pytest.mark.ours_only("requests to a group whose processes do not start hang in mod_wsgi")
@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("home=/no/such/folder", "WSGI0009: .* /no/such/folder: /no does not exist: check home="),
        pytest.param("user=nobody", "WSGI0010: .* /nonexistent: .*give the group", marks=as_root),
        pytest.param("chroot=/no/such/folder", "WSGI0003: .* /no/such/folder: No", marks=as_root),
        ("python-home=${ROOT}/odd", "WSGI0101: .*/odd/bin/python is a directory"),
        ("process-limit=1", "WSGI0068: no thread for timers: Resource temporarily unavailable"),
    ],
)
def test_process_that_cannot_start(server_factory, options, line):
    server = server_factory(start=False)
    (server.root / "odd/bin/python").mkdir(parents=True)
    server.configure(with_options(f"connect-timeout=1 {options}"))
    server.start()
    # A script outside of chroot= is refused before a process is asked for.
    outside = options.startswith("chroot=")
    assert server.get("/hello").status == (502 if outside else 503)
    server.wait_log("WSGI0308")
    server.expect_log(rf"\[wsgi:crit\] .*{line}")
    server.expect_log("WSGI0308: .*: a daemon process did not start: ")
    server.expect_log("WSGI0081" if outside else "WSGI0301", count=1)


LIMITS = {
    "cpu-time-limit": (resource.RLIMIT_CPU, 10**6, "WSGI0076"),
    "memory-limit": (resource.RLIMIT_DATA, 1 << 44, "WSGI0077"),
    "virtual-memory-limit": (resource.RLIMIT_AS, 1 << 44, "WSGI0078"),
    "process-limit": (resource.RLIMIT_NPROC, 10**5, "WSGI0329"),
}


@pytest.mark.root_only("the users of httpd and of the group have to be different ones")
@pytest.mark.parametrize("option", LIMITS)
def test_limit_that_cannot_be_set(server_factory, option):
    """httpd has a hard limit below it; the process starts without."""
    if option == "process-limit" and not OURS:
        pytest.skip("mod_wsgi has no such option")
    kind, hard, number = LIMITS[option]
    _, most = resource.getrlimit(kind)
    hard = hard if most == resource.RLIM_INFINITY else min(hard, most)
    server = server_factory(with_options(f"{option}={2 * hard}"))
    server.tolerate_log(number)
    assert server.get("/hello").status == 200
    resource.prlimit(server.pid, kind, (hard, hard))
    server.restart()
    assert server.get("/hello").status == 200
    server.expect_log(rf"\[wsgi:warn\] .*{number}: .*{2 * hard}")


# Interpreters that cannot be embedded


@pytest.mark.ours_only("mod_wsgi has the Python that it was built for")
@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (r"3.12.4\n/opt/static\n\n", "WSGI0036: Python 3.12.4 at .* has no shared library"),
        (r"2.7.18\n/usr\n/usr/lib/libpython2.7.so\n", "WSGI0099: Python 2.7.18 at .* is too old"),
    ],
    ids=["static", "old"],
)
def test_interpreter_that_cannot_be_embedded(server_factory, answer, line):
    server = server_factory(start=False)
    server.write("home/bin/python", f"#!/bin/sh\nprintf '{answer}' >&3\n")
    (server.root / "home/bin/python").chmod(0o755)
    server.configure(
        "WSGIPythonHome ${ROOT}/home\nWSGIApplicationGroup %{GLOBAL}\n"
        "WSGIScriptAlias /hello ${APPS}/hello/app.wsgi\n"
    )
    server.start()
    assert server.get("/hello").status == 500
    server.expect_log(rf"\[wsgi:warn\] \[[^]]*\] {line}")
    server.expect_log(f"WSGI0001: Python cannot be started in this httpd child: {line}", count=1)
    server.expect_log(f"WSGI0210: Python is not running in this httpd child.* {line}", count=1)


# Scripts, subscribers, folders of packages


def test_imported_script_that_exits(server_factory, mode):
    """Nobody asks for it, and the process goes on."""
    group = {"embedded": "%{GLOBAL}", "daemon": "main"}[mode]
    imported = (
        f"${{APPS}}/exit-at-import/app.wsgi process-group={group} application-group=%{{GLOBAL}}"
    )
    server = server_factory(f"{with_options('')}\nWSGIImportScript {imported}\n")
    assert server.get("/hello").status == 200
    server.wait_log("WSGI0108: .*exit-at-import/app.wsgi")
    server.expect_log("WSGI0108", count=1)
    if OURS:
        server.expect_traceback("SystemExit: not today", "WSGI0175", count=1)


SUBSCRIBER = """
import mod_wsgi

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"answered"]

@mod_wsgi.subscribe_events
def fails(name, **payload):
    if name.startswith("re"):
        raise ValueError("told to fail at " + name)
"""


def test_subscriber_that_fails(server_factory, mode):
    server = server_factory(
        """
WSGIDaemonProcess main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /embedded ${APPS}/subscriber.wsgi
WSGIScriptAlias /daemon ${APPS}/subscriber.wsgi process-group=main
""",
        start=False,
    )
    server.write("apps/subscriber.wsgi", SUBSCRIBER)
    server.start()
    response = server.get(f"/{mode}")
    assert (response.status, response.body) == (200, b"answered")
    server.wait_log("told to fail at request_finished")
    for event in ("request_started", "response_started", "request_finished"):
        server.expect_traceback(f"ValueError: told to fail at {event}", f"WSGI0112: .*{event}", 1)


@pytest.mark.parametrize("where", ["all", "group"])
def test_folder_of_packages_that_exits(server_factory, mode, where):
    """A .pth file in it does; the interpreter is used all the same, and so are further folders."""
    path = "WSGIPythonPath ${ROOT}/odd"
    if where == "group":
        path = f"<WSGIInterpreterOptions application-group=odd>\n{path}\n</WSGIInterpreterOptions>"
    server = server_factory(
        f"""
WSGIDaemonProcess main python-path=${{ROOT}}/odd
{path}
WSGIApplicationGroup odd
WSGIScriptAlias /embedded ${{APPS}}/hello/app.wsgi
WSGIScriptAlias /daemon ${{APPS}}/hello/app.wsgi process-group=main
""",
        start=False,
    )
    server.write("odd/exits.pth", "import sys; sys.exit('not today')\n")
    server.start()
    assert server.get(f"/{mode}").status == 200
    server.expect_log("WSGI0091: .*/odd'")
    server.expect_log("SystemExit: not today")
    server.tolerate_log("WSGI0189|Traceback|  File|    ")
