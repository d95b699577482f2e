# SPDX-License-Identifier: Apache-2.0
"""<WSGIInterpreterOptions>: settings for the interpreters of some process and application groups.

What the section refuses is in test_vocabulary.py; its settings for all are in test_restrictions.py
and test_python_settings.py.
"""

from ast import literal_eval
from urllib.parse import quote

import pytest

from harness.plugin import differs
from harness.under_test import OURS

HEAD = """
WSGIDestroyInterpreter Off
Define EVALUATE ${APPS}/evaluate/app.wsgi
"""


def mounts(*groups: str) -> str:
    """The application in each application group, embedded and in the process group main."""
    return "".join(
        f"WSGIScriptAlias /embedded/{group} ${{EVALUATE}}\n"
        f"WSGIScriptAlias /daemon/{group} ${{EVALUATE}}\n"
        f"<LocationMatch ^/(embedded|daemon)/{group}$>\n"
        f"WSGIApplicationGroup {'%{GLOBAL}' if group == 'global' else group}\n</LocationMatch>\n"
        f"<Location /daemon/{group}>\nWSGIProcessGroup main\n</Location>\n"
        for group in groups
    )


def block(selectors: str, *lines: str) -> str:
    return (
        f"<WSGIInterpreterOptions {selectors}>\n"
        + "\n".join(lines)
        + ("\n</WSGIInterpreterOptions>\n")
    )


def value(server, path: str, expression: str):
    response = server.get(f"/{path}?{quote(expression)}")
    assert response.status == 200
    return literal_eval(response.text)


# Which sections hold for an interpreter

SCALARS = "".join(
    [
        block("process-group=main", "WSGIRestrictStdout On"),
        block("application-group=a", "WSGIRestrictStdout On"),
        block("process-group=main application-group=b", "WSGIRestrictStdout Off"),
        block("application-group=c", "WSGIRestrictStdout On"),
        block("application-group=c", "WSGIRestrictStdout Off"),
        block("process-group=%{GLOBAL} application-group=d", "WSGIRestrictStdout On"),
        block("APPLICATION-GROUP=e", "WSGIRestrictStdout On"),
        block("application-group=%{GLOBAL}", "WSGIRestrictStdin On"),
        block("process-group=none", "WSGIRestrictStdin On"),
        block("application-group=%{SERVER}", "WSGIRestrictStdin On"),
        block("process-group=main", "WSGIRestrictStdout On"),
    ]
)


@pytest.fixture(scope="module")
def chosen(module_server_factory):
    config = HEAD + "WSGIDaemonProcess main threads=1\n" + SCALARS
    return module_server_factory(
        config
        + mounts("a", "b", "c", "d", "e", "x", "global")
        + "WSGIScriptAlias /embedded/server ${EVALUATE} application-group=%{SERVER}\n"
    )


RESTRICTED = {"embedded": "ade", "daemon": "acdex"}


@pytest.mark.parametrize("group", list("abcdex"))
def test_most_specific_section_wins(chosen, mode, group):
    """Of two that are as specific, the later one."""
    name = value(chosen, f"{mode}/{group}", "type(sys.stdout).__name__")
    assert name == ("Restricted" if group in RESTRICTED[mode] else "TextIOWrapper")


@pytest.mark.parametrize(("group", "restricted"), [("global", True), ("x", False)])
def test_main_interpreter(chosen, mode, group, restricted):
    name = value(chosen, f"{mode}/{group}", "type(sys.stdin).__name__")
    assert (name == "Restricted") is restricted


def test_selectors_are_literal(chosen):
    assert value(chosen, "embedded/server", "mod_wsgi.application_group").startswith("localhost:")
    assert value(chosen, "embedded/server", "type(sys.stdin).__name__") == "TextIOWrapper"


@pytest.mark.difference("quotes are no part of a name")
@pytest.mark.parametrize("quoted", ['"a"', "'a'"])
def test_quoted_selector(server_factory, mode, quoted):
    server = server_factory(
        HEAD
        + "WSGIDaemonProcess main threads=1\nWSGIDestroyInterpreter Off\n"
        + block(f"application-group={quoted}", "WSGIRestrictStdout On")
        + mounts("a")
    )
    name = value(server, f"{mode}/a", "type(sys.stdout).__name__")
    assert name == differs(upstream="TextIOWrapper", ours="Restricted")


def test_inner_value_of_what_is_on_for_all(server_factory, mode):
    server = server_factory(
        HEAD
        + "WSGIDaemonProcess main threads=1\nWSGIRestrictStdout On\nWSGIRestrictStdin On\n"
        + block("application-group=a", "WSGIRestrictStdout Off")
        + mounts("a", "x")
    )
    expression = "(type(sys.stdout).__name__, type(sys.stdin).__name__)"
    assert value(server, f"{mode}/a", expression) == ("TextIOWrapper", "Restricted")
    assert value(server, f"{mode}/x", expression) == ("Restricted", "Restricted")


def test_signals(server_factory, mode):
    server = server_factory(
        HEAD
        + "WSGIDaemonProcess main threads=1\n"
        + block("application-group=a", "WSGIRestrictSignal Off")
        + mounts("a", "x")
    )
    expression = "type(signal.signal(signal.SIGURG, signal.SIG_IGN)).__name__"
    assert "ValueError" in server.get(f"/{mode}/a?{quote(expression)}").text
    assert server.get(f"/{mode}/x?{quote(expression)}").text == "'Handlers'"


def test_other_directives_hold_for_the_server(server_factory):
    server = server_factory(
        "WSGIDaemonProcess main threads=1\nWSGIApplicationGroup %{GLOBAL}\n"
        + block("application-group=none", "WSGIProcessGroup main", "WSGIPassAuthorization On")
        + "WSGIScriptAlias / ${APPS}/environ/app.wsgi\n"
    )
    environ = server.get("/", headers={"Authorization": "x"}).json
    assert environ["mod_wsgi.process_group"][1] == "main"
    assert environ["HTTP_AUTHORIZATION"][1] == "x"


# WSGIPythonPath


@pytest.fixture(scope="module")
def paths(module_server_factory):
    server = module_server_factory(
        HEAD
        + "WSGIDaemonProcess main threads=1 python-path=${ROOT}/daemon\n"
        + "WSGIPythonPath ${ROOT}/top:${ROOT}/second\n"
        + block("process-group=main application-group=a", "WSGIPythonPath ${ROOT}/both")
        + block("process-group=main", "WSGIPythonPath ${ROOT}/group")
        + block("application-group=a", "WSGIPythonPath ${ROOT}/application")
        + block("application-group=a", "WSGIPythonPath ${ROOT}/later")
        + block("process-group=%{GLOBAL}", "WSGIPythonPath ${ROOT}/embedded")
        + mounts("a", "x", "global"),
        start=False,
    )
    names = ("daemon", "top", "second", "both", "group", "application", "later", "embedded")
    for name in names:
        server.write(f"{name}/x.py", "")
    return server.start()


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("embedded/x", ["embedded", "top", "second"]),
        ("embedded/global", ["embedded", "top", "second"]),
        ("embedded/a", ["embedded", "later", "application", "top", "second"]),
        ("daemon/x", ["group", "daemon"]),
        ("daemon/global", ["group", "daemon"]),
        ("daemon/a", ["both", "later", "application", "group", "daemon"]),
    ],
)
def test_python_path_adds_up(paths, path, names):
    """The most specific comes first, before what Python has itself."""
    found = value(paths, path, "sys.path")
    assert found[: len(names)] == [f"{paths.root}/{name}" for name in names]
    assert not [entry for entry in found[len(names) :] if entry.startswith(str(paths.root))]


# WSGISwitchInterval


@pytest.fixture(scope="module")
def intervals(module_server_factory):
    return module_server_factory(
        HEAD
        + "WSGIDaemonProcess main threads=1\n"
        + block("process-group=main", "WSGISwitchInterval 0.25")
        + block("process-group=%{GLOBAL}", "WSGISwitchInterval 0.125")
        + mounts("global")
    )


def test_switch_interval_of_a_process_group(intervals, mode):
    interval = value(intervals, f"{mode}/global", "sys.getswitchinterval()")
    assert interval == (0.25 if mode == "daemon" else 0.125)


@pytest.mark.difference("application groups in daemon mode have a process of their own")
def test_switch_interval_of_an_application_group(server_factory, mode):
    """An interpreter that shares its GIL cannot have an interval of its own."""
    server = server_factory(
        HEAD
        + "WSGIDaemonProcess main threads=1\n"
        + block("application-group=a", "WSGISwitchInterval 0.25")
        + mounts("a")
    )
    own = differs(upstream=False, ours=mode == "daemon")
    interval = value(server, f"{mode}/a", "sys.getswitchinterval()")
    assert (interval == 0.25) is own
    if not own:
        server.expect_log("WSGI0199", count=1)


# WSGIPerInterpreterGIL and WSGIFreeThreading


def test_own_gil_needs_python_3_12(server_factory, mode):
    server = server_factory(
        HEAD
        + "WSGIPerInterpreterGIL On\nWSGIDaemonProcess main threads=1"
        + (" isolation=interpreter\n" if OURS else "\n")
        + mounts("a")
    )
    if value(server, f"{mode}/a", "sys.version_info[:2]") >= (3, 12):
        pytest.skip("the system's Python has it")
    server.expect_log("WSGI0198")


OWN_GIL = "mod_wsgi from PyPI runs on the system's Python"


@pytest.mark.ours_only(OWN_GIL)
@pytest.mark.parametrize("version", ["3.12", "3.13"])
@pytest.mark.parametrize(
    ("lines", "own"),
    [
        ("WSGIPerInterpreterGIL On\n", True),
        ("WSGIPerInterpreterGIL Off\n", False),
        ("", False),
        (block("process-group=main", "WSGIPerInterpreterGIL On"), True),
        (block("process-group=other", "WSGIPerInterpreterGIL On"), False),
        (
            "WSGIPerInterpreterGIL On\n"
            + block("application-group=a", "WSGIPerInterpreterGIL Off"),
            False,
        ),
    ],
)
def test_own_gil(server_factory, venv, interpreter, version, lines, own):
    """Interpreters that share a GIL share its switch interval."""
    home = venv("plain", python=interpreter(version)).path
    server = server_factory(
        HEAD
        + f"WSGIDaemonProcess main threads=2 isolation=interpreter python-home={home}\n"
        + lines
        + "".join(
            f"WSGIScriptAlias /{name} ${{EVALUATE}} process-group=main application-group={group}\n"
            for name, group in (("a", "a"), ("global", "%{GLOBAL}"))
        )
    )
    assert value(server, "global", "os.getpid()") == value(server, "a", "os.getpid()")
    assert value(server, "a", "sys.setswitchinterval(0.25)") is None
    assert value(server, "a", "sys.getswitchinterval()") == 0.25
    assert (value(server, "global", "sys.getswitchinterval()") != 0.25) is own


@pytest.mark.ours_only(OWN_GIL)
def test_switch_interval_of_an_interpreter_with_its_own_gil(server_factory, venv, interpreter):
    home = venv("plain", python=interpreter("3.13")).path
    server = server_factory(
        HEAD
        + f"WSGIDaemonProcess main threads=2 isolation=interpreter python-home={home}\n"
        + "WSGIPerInterpreterGIL On\n"
        + block("application-group=a", "WSGISwitchInterval 0.25")
        + "".join(
            f"WSGIScriptAlias /{name} ${{EVALUATE}} process-group=main application-group={name}\n"
            for name in "ab"
        )
    )
    assert value(server, "a", "sys.getswitchinterval()") == 0.25
    assert value(server, "b", "sys.getswitchinterval()") != 0.25


def test_free_threading_needs_another_python(server_factory, mode):
    server = server_factory(
        HEAD + "WSGIFreeThreading On\nWSGIDaemonProcess main threads=1\n" + mounts("global")
    )
    assert value(server, f"{mode}/global", "1 + 1") == 2
    server.expect_log("WSGI0200")


def test_free_threading_is_for_whole_processes(server_factory, mode):
    server = server_factory(
        HEAD
        + "WSGIDaemonProcess main threads=1\n"
        + block("application-group=a", "WSGIFreeThreading On")
        + mounts("a")
    )
    assert value(server, f"{mode}/a", "1 + 1") == 2
    server.expect_log("WSGI0201")
    server.tolerate_log("WSGI0200")
