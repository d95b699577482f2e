# SPDX-License-Identifier: Apache-2.0
"""What a configuration forbids: standard streams, signals, process groups, embedded mode.

What is written to the streams is in test_errors.py; options for single interpreters are in
test_interpreter_options.py.
"""

from urllib.parse import quote

import pytest

from harness.plugin import differs

MOUNTS = """
WSGIDaemonProcess main threads=2
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /embedded ${APPS}/evaluate/app.wsgi
WSGIScriptAlias /daemon ${APPS}/evaluate/app.wsgi process-group=main
WSGIScriptAlias /signals/embedded ${APPS}/signals/app.wsgi
WSGIScriptAlias /signals/daemon ${APPS}/signals/app.wsgi process-group=main
"""


def value(server, mode: str, expression: str) -> str:
    """The repr of the value that the expression has in an application."""
    response = server.get(f"/{mode}?{quote(expression)}")
    assert response.status == 200
    return response.text


# Streams


@pytest.fixture(scope="module")
def unrestricted(module_server_factory):
    return module_server_factory(MOUNTS)


@pytest.fixture(scope="module")
def restricted(module_server_factory):
    # Python of mod_wsgi complains about the streams when it ends.
    return module_server_factory(
        MOUNTS + "WSGIRestrictStdin On\nWSGIRestrictStdout On\nWSGIDestroyInterpreter Off\n"
    )


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("type(sys.{0}).__name__", "'TextIOWrapper'"),
        ("sys.{0}.name", "'<{0}>'"),
        ("sys.{0}.encoding", "'utf-8'"),
        ("sys.{0}.errors", "'replace'"),
        ("sys.{0}.line_buffering", "True"),
        ("sys.{0}.isatty()", "False"),
        ("sys.{0}.readable()", "False"),
        ("sys.{0}.writable()", "True"),
        ("sys.{0}.seekable()", "False"),
        ("sys.{0}.closed", "False"),
        ("sys.{0}.write('')", "0"),
    ],
)
def test_output_stream(unrestricted, mode, stream, expression, wanted):
    assert value(unrestricted, mode, expression.format(stream)) == wanted.format(stream)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_stream_has_no_descriptor(unrestricted, mode, stream):
    said = value(unrestricted, mode, f"sys.{stream}.fileno()")
    assert said.startswith(("OSError(", "UnsupportedOperation("))


def test_stdin_is_a_stream(unrestricted, mode):
    assert value(unrestricted, mode, "type(sys.stdin).__name__") == "'TextIOWrapper'"


@pytest.mark.parametrize("stream", ["stdin", "stdout"])
@pytest.mark.parametrize(
    "expression",
    [
        *("sys.{0}.read()", "sys.{0}.write('x')", "sys.{0}.fileno()", "sys.{0}.closed"),
        *("sys.{0}.encoding", "sys.{0}.no_such_attribute", "getattr(sys.{0}, 'name', 'default')"),
    ],
)
def test_restricted_stream(restricted, mode, stream, expression):
    said = value(restricted, mode, expression.format(stream))
    assert said.startswith("OSError(")
    assert f"sys.{stream}" in said
    assert "restricted" in said


def test_type_of_a_restricted_stream(restricted, mode):
    assert value(restricted, mode, "type(sys.stdout).__name__") == "'Restricted'"
    assert value(restricted, mode, "type(sys.stdin) is type(sys.stdout)") == "True"


def test_print_to_a_restricted_stream(restricted, mode):
    assert value(restricted, mode, "print('x')").startswith("OSError(")
    assert value(restricted, mode, "input()").startswith(("OSError(", "RuntimeError("))


def test_stderr_is_never_restricted(restricted, mode):
    assert value(restricted, mode, "print('a line', file=sys.stderr)") == "None"
    restricted.expect_log("a line", count=1)


# Signals


def test_handlers_are_not_set(unrestricted, mode):
    """What was passed in is given back, as if it had been there before."""
    response = unrestricted.get(f"/signals/{mode}?here")
    assert response.json == [True, True, False]
    unrestricted.wait_log(r"\[wsgi:info\].*(signal 23|SIGURG)\b")
    unrestricted.wait_log(r"\[wsgi:info\].*signals/app\.wsgi.*, in here")


@pytest.mark.parametrize("number", ["64", "signal.SIGRTMIN + 3", "400"])
def test_handler_of_a_signal_without_a_name(unrestricted, mode, number):
    assert value(unrestricted, mode, f"signal.signal({number}, len)") == "<built-in function len>"


def test_handler_of_what_is_no_signal(unrestricted, mode):
    assert value(unrestricted, mode, "signal.signal('x', len)").startswith("TypeError")


def test_handlers_are_set_in_a_child_process(unrestricted, mode):
    assert unrestricted.get(f"/signals/{mode}?forked").json == 0


@pytest.mark.parametrize("expression", ["signal.alarm(0)", "signal.getsignal(1)", "signal.SIGTERM"])
def test_rest_of_the_module_is_untouched(unrestricted, mode, expression):
    assert "Error" not in value(unrestricted, mode, expression)


@pytest.mark.difference("Python's main thread in an httpd child runs no requests")
def test_signals_that_are_not_restricted(server_factory, mode, mpm):
    """Python itself allows handlers in the main thread only, which is httpd's under prefork."""
    server = server_factory(MOUNTS + "WSGIRestrictSignal Off\n")
    answer = server.get(f"/signals/{mode}?here").json
    refused = "ValueError: signal only works in main thread of the main interpreter"
    in_main_thread = (mode, mpm) == ("embedded", "prefork")
    is_set = [False, False, True]
    assert answer == differs(upstream=is_set if in_main_thread else refused, ours=refused)
    assert not server.find_log(r"\[wsgi:info\].*[Ss]ignal handler")


# WSGIRestrictProcess

GROUPS = """
WSGIDaemonProcess one threads=1
WSGIDaemonProcess two threads=1
WSGIApplicationGroup %{GLOBAL}
"""
LISTS = {
    "one": "WSGIRestrictProcess one",
    "both": "WSGIRestrictProcess one two",
    "global": "WSGIRestrictProcess %{GLOBAL}",
    "all": "WSGIRestrictProcess one two %{GLOBAL}",
    "empty": "WSGIRestrictProcess",
    "replaced": "WSGIRestrictProcess one\nWSGIRestrictProcess two",
    "case": "WSGIRestrictProcess ONE Two",
    "token": "WSGIRestrictProcess %{SERVER} %{ENV:GROUP}",
    "literal": "WSGIRestrictProcess localhost:${PORT}",
    "unknown": "WSGIRestrictProcess none",
    "none": "",
}
CHOICES = {
    "one": "one",
    "two": "two",
    "embedded": "%{GLOBAL}",
    "server": "%{SERVER}",
    "env": "%{ENV:GROUP}",
    "upper": "ONE",
    "unset": "%{ENV:NOT_SET}",
}


@pytest.fixture(scope="module")
def limited(module_server_factory):
    sections = "".join(
        f"WSGIScriptAlias /{name}/{choice} ${{APPS}}/pid/app.wsgi\n"
        f"<Location /{name}/{choice}>\n    WSGIProcessGroup {group}\n    {lines}\n"
        "    SetEnv GROUP one\n</Location>\n"
        for name, lines in LISTS.items()
        for choice, group in CHOICES.items()
    )
    return module_server_factory(
        GROUPS + "WSGIDaemonProcess localhost:${PORT} threads=1\n" + sections
    )


@pytest.mark.parametrize(
    ("name", "choice", "status"),
    [
        ("none", "one", 200),
        ("none", "embedded", 200),
        ("one", "one", 200),
        ("one", "two", 500),
        ("one", "embedded", 500),
        ("one", "env", 200),
        ("both", "two", 200),
        ("both", "server", 500),
        ("both", "unset", 500),
        ("global", "embedded", 200),
        ("global", "one", 500),
        ("all", "embedded", 200),
        ("all", "two", 200),
        ("empty", "one", 500),
        ("empty", "embedded", 500),
        ("replaced", "one", 500),
        ("replaced", "two", 200),
        ("case", "one", 200),
        ("case", "two", 200),
        ("token", "server", 500),
        ("token", "env", 500),
        ("literal", "server", 200),
        ("unknown", "one", 500),
    ],
)
def test_restrict_process(limited, name, choice, status):
    response = limited.get(f"/{name}/{choice}")
    assert response.status == status
    if status == 500:
        assert "127.0.0.1:" in limited.wait_log("WSGI0149").message
        limited.expect_log("WSGI0149", count=1)


@pytest.mark.parametrize("name", ["one", "case"])
def test_group_of_another_case_is_allowed_and_not_found(limited, name):
    """The list has no case, the groups have."""
    assert limited.get(f"/{name}/upper").status == 500
    limited.expect_log("WSGI0151", count=1)


def test_inner_list_replaces_the_outer_one(server_factory):
    server = server_factory(
        GROUPS
        + """
WSGIRestrictProcess one
<VirtualHost 127.0.0.1:${PORT_inherits}>
    ServerName localhost
    WSGIScriptAlias /one ${APPS}/pid/app.wsgi process-group=one
    WSGIScriptAlias /two ${APPS}/pid/app.wsgi process-group=two
    <Location /two>
        WSGIRestrictProcess two
    </Location>
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_overrides}>
    ServerName localhost
    WSGIRestrictProcess two
    WSGIScriptAlias /one ${APPS}/pid/app.wsgi process-group=one
    WSGIScriptAlias /two ${APPS}/pid/app.wsgi process-group=two
</VirtualHost>
""",
        ports=("inherits", "overrides"),
    )
    assert server.get("/one", port="inherits").status == 200
    assert server.get("/two", port="inherits").status == 200
    assert server.get("/one", port="overrides").status == 500
    assert server.get("/two", port="overrides").status == 200
    server.expect_log("WSGI0149", count=1)


# WSGIRestrictEmbedded

TELLS = """
import mod_wsgi

print(f"loaded into [{mod_wsgi.process_group}] [{mod_wsgi.application_group}]")


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"loaded"]
"""
EMBEDDED = """
Define TELLS ${ROOT}/tells/app.wsgi
WSGIDaemonProcess main
WSGIScriptAlias /embedded ${TELLS}
WSGIScriptAlias /daemon ${TELLS} process-group=main
WSGIScriptAlias /preloaded ${TELLS} process-group=%{GLOBAL} application-group=preloaded
<Directory ${ROOT}/tells>
    Require all granted
</Directory>
"""


@pytest.fixture
def embedding(server_factory):
    """embedding(text): a server with that text and an application that tells when it is loaded."""

    def make(text: str):
        server = server_factory(text + EMBEDDED, start=False)
        server.write("tells/app.wsgi", TELLS)
        return server.start()

    return make


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("", True),
        ("WSGIRestrictEmbedded Off", True),
        ("WSGIRestrictEmbedded On", False),
        ("WSGIRestrictEmbedded On\nWSGIRestrictEmbedded Off", True),
        ("WSGIRestrictEmbedded Off\nWSGIRestrictEmbedded On", False),
    ],
)
def test_restrict_embedded(embedding, text, allowed):
    server = embedding(text)
    for path in ("embedded", "preloaded"):
        assert server.get(f"/{path}").status == (200 if allowed else 500)
    assert server.get("/daemon").status == 200
    server.tolerate_log("loaded into")
    if not allowed:
        server.expect_log("WSGI0143", count=2)


def test_preloading_is_restricted_with_it(embedding):
    server = embedding("WSGIRestrictEmbedded On\n")
    assert server.get("/daemon").status == 200
    server.expect_log(r"loaded into \[main\]")
    assert not server.find_log(r"loaded into \[\] \[preloaded\]")


def test_import_into_httpd_is_not_restricted(embedding):
    server = embedding(
        "WSGIRestrictEmbedded On\n"
        "WSGIImportScript ${ROOT}/tells/app.wsgi process-group=%{GLOBAL} "
        "application-group=imported\n"
    )
    server.wait_log(r"loaded into \[\] \[imported\]")
    assert server.get("/embedded").status == 500
    server.expect_log("WSGI0143", count=1)
    server.expect_log(r"loaded into \[\] \[imported\]")
    # Python is there now, so this is loaded, too.
    server.tolerate_log(r"loaded into \[\] \[preloaded\]")


def test_preloading_into_httpd(embedding):
    server = embedding("")
    server.wait_log(r"loaded into \[\] \[preloaded\]")
    server.expect_log(r"loaded into \[\] \[preloaded\]")
