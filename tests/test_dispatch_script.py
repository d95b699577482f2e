# SPDX-License-Identifier: Apache-2.0
"""WSGIDispatchScript: a script that chooses process group, application group and callable.

How the names it gives are expanded is in test_expansion.py.
"""

import ast

import pytest

from harness.under_test import OURS

PLACES = {"embedded": "", "group": " process-group=hooks"}
GROUPS = {"embedded": "", "group": "WSGIDaemonProcess hooks threads=1\n"}


@pytest.fixture(
    params=[
        "embedded",
        pytest.param(
            "group", marks=pytest.mark.ours_only("hooks of mod_wsgi run in httpd's children only")
        ),
    ]
)
def place(request):
    """Where the dispatch script runs."""
    return request.param


HEAD = """
WSGIDaemonProcess hooks threads=3
WSGIDaemonProcess one threads=3
WSGIDaemonProcess two threads=3
WSGIDaemonProcess other threads=1
WSGIRestrictProcess one two hooks %{GLOBAL}
WSGIApplicationGroup %{GLOBAL}
Define ENVIRON ${APPS}/environ/app.wsgi
"""

PLACE = """
WSGIScriptAlias /{place}/plain ${{ENVIRON}}
WSGIScriptAlias /{place}/option ${{ENVIRON}} process-group=one application-group=name
WSGIScriptAlias /{place}/callable ${{ENVIRON}} callable-object=no_such_name
WSGIScriptAlias /{place}/folder ${{ENVIRON}} process-group=one
WSGIScriptAlias /{place}/reset ${{ENVIRON}} process-group=one
WSGIScriptAlias /{place}/missing ${{ENVIRON}}
WSGIScriptAlias /{place}/syntax-error ${{ENVIRON}}
WSGIScriptAlias /{place}/import-error ${{ENVIRON}}
WSGIScriptAlias /{place}/exit ${{ENVIRON}}
WSGIScriptAlias /{place}/no-file ${{ENVIRON}}
<Location /{place}>
    WSGIDispatchScript ${{APPS}}/dispatch/dispatch.py{option}
</Location>
<Location /{place}/reset>
    WSGIDispatchScript ${{APPS}}/hello/app.wsgi{option}
</Location>
<Location /{place}/handler>
    SetHandler handler
    WSGIHandlerScript handler ${{APPS}}/handle-request/app.wsgi
</Location>
<Location /{place}/missing>
    WSGIDispatchScript ${{APPS}}/hello/app.wsgi{option}
</Location>
<Location /{place}/syntax-error>
    WSGIDispatchScript ${{APPS}}/syntax-error/app.wsgi{option}
</Location>
<Location /{place}/import-error>
    WSGIDispatchScript ${{APPS}}/import-error/app.wsgi{option}
</Location>
<Location /{place}/exit>
    WSGIDispatchScript ${{APPS}}/exit-at-import/app.wsgi{option}
</Location>
<Location /{place}/no-file>
    WSGIDispatchScript ${{APPS}}/no-such-folder/dispatch.py{option}
</Location>
<Location /{place}/static>
    WSGIDispatchScript ${{APPS}}/syntax-error/app.wsgi{option}
</Location>
Alias /{place}/static ${{ROOT}}/htdocs/plain.txt
"""


@pytest.fixture(scope="module")
def dispatched(module_server_factory):
    text = "".join(
        PLACE.format(place=place, option=option)
        for place, option in PLACES.items()
        if OURS or place == "embedded"
    )
    server = module_server_factory(HEAD + text, start=False)
    server.write("htdocs/plain.txt", "a plain file\n")
    return server.start()


def environ_of(response) -> dict:
    assert response.status == 200
    return {key: value for key, (_, value) in response.json.items()}


def route(response) -> tuple[str, str, str]:
    environ = environ_of(response)
    names = ("process_group", "application_group", "callable_object")
    return tuple(environ[f"mod_wsgi.{name}"] for name in names)


def expect(server, *lines) -> None:
    """Declare log lines; a pair is a number and the exception whose traceback it begins."""
    for line in lines:
        if isinstance(line, tuple):
            server.expect_traceback(line[1], line[0], count=1)
        else:
            server.expect_log(line, count=1)


@pytest.mark.parametrize(
    ("path", "headers", "wanted"),
    [
        ("plain", {}, ("", "", "application")),
        ("plain", {"X-Process-Group": "None"}, ("", "", "application")),
        ("plain", {"X-Process-Group": "'one'"}, ("one", "", "application")),
        ("plain", {"X-Process-Group": "b'one'"}, ("one", "", "application")),
        ("plain", {"X-Process-Group": "'%{GLOBAL}'"}, ("", "", "application")),
        ("plain", {"X-Application-Group": "'name'"}, ("", "name", "application")),
        ("plain", {"X-Application-Group": "b'name'"}, ("", "name", "application")),
        (
            "plain",
            {"X-Process-Group": "'two'", "X-Application-Group": "'other'"},
            ("two", "other", "application"),
        ),
        ("option", {}, ("one", "name", "application")),
        ("option", {"X-Process-Group": "'two'"}, ("two", "name", "application")),
        ("option", {"X-Process-Group": "'%{GLOBAL}'"}, ("", "name", "application")),
        ("option", {"X-Application-Group": "'other'"}, ("one", "other", "application")),
        ("callable", {"X-Callable-Object": "'application'"}, ("", "", "application")),
        ("missing", {"X-Process-Group": "'one'"}, ("", "", "application")),
        ("handler", {"X-Process-Group": "'one'"}, ("one", "", "handle_request")),
    ],
)
def test_route(dispatched, place, path, headers, wanted):
    assert route(dispatched.get(f"/{place}/{path}", headers=headers)) == wanted


FUNCTIONS = ("Process-Group", "Application-Group", "Callable-Object")


@pytest.mark.parametrize(
    ("expression", "lines"),
    [
        ("1", ("TypeError",)),
        ("True", ("TypeError",)),
        ("['one']", ("TypeError",)),
        ("'\\u20ac'", ("UnicodeEncodeError",)),
        ("fail(ValueError('not today'))", ("ValueError: not today",)),
    ],
)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_wrong_result_is_a_500(dispatched, place, function, expression, lines):
    headers = {f"X-{function}": expression}
    assert dispatched.get(f"/{place}/plain", headers=headers).status == 500
    for exception in lines:
        dispatched.expect_traceback(exception, count=1)
    # mod_wsgi makes a TypeError of it.
    dispatched.tolerate_log("direct cause of the following|latin-1")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_exit_is_a_500(dispatched, place, function):
    headers = {f"X-{function}": "fail(SystemExit('not today'))"}
    assert dispatched.get(f"/{place}/plain", headers=headers).status == 500
    dispatched.expect_traceback("SystemExit: not today", "WSGI0175", count=1)


def test_functions_after_a_failure_are_not_called(dispatched, place):
    headers = {"X-Process-Group": "1", "X-Application-Group": "fail(ValueError('called'))"}
    assert dispatched.get(f"/{place}/plain", headers=headers).status == 500
    dispatched.expect_traceback("TypeError", count=1)


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        ("syntax-error", ("WSGI0105", ("WSGI0174", "SyntaxError"))),
        ("import-error", ("WSGI0109", ("WSGI0174", "ModuleNotFoundError"))),
        ("exit", ("WSGI0107", ("WSGI0175", "SystemExit: not today"))),
        ("no-file", ("WSGI0105", ("WSGI0174", "FileNotFoundError"))),
    ],
)
def test_script_that_does_not_load_decides_nothing(dispatched, place, path, lines):
    """As mod_wsgi has it: the request goes where it would without a dispatch script."""
    assert route(dispatched.get(f"/{place}/{path}")) == ("", "", "application")
    expect(dispatched, *lines)


def test_route_is_restricted_afterwards(dispatched, place):
    headers = {"X-Process-Group": "'other'"}
    assert dispatched.get(f"/{place}/plain", headers=headers).status == 500
    expect(dispatched, "WSGI0149")


def test_unknown_group_is_a_500(server_factory, place):
    server = server_factory(
        f"{GROUPS[place]}WSGIScriptAlias / ${{APPS}}/environ/app.wsgi\n<Location />\n"
        f"WSGIDispatchScript ${{APPS}}/dispatch/dispatch.py{PLACES[place]}\n</Location>"
    )
    assert server.get("/", headers={"X-Process-Group": "'none'"}).status == 500
    expect(server, "WSGI0150" if place == "embedded" else "WSGI0151")


def test_other_handlers_are_not_dispatched(dispatched, place):
    assert dispatched.get(f"/{place}/static").text == "a plain file\n"


# The environ


def told(server) -> dict[str, list]:
    record = server.wait_log(r"'wsgi\.errors'")
    server.expect_log(r"'wsgi\.errors'", count=1)
    text = record.message[record.message.index("{") : record.message.rindex("}") + 1]
    return ast.literal_eval(text.replace('\\"', '"').replace("\\\\", "\\"))


KEYS = {
    "CONTEXT_DOCUMENT_ROOT",
    "CONTEXT_PREFIX",
    "DOCUMENT_ROOT",
    "HTTP_HOST",
    "HTTP_X_TELL",
    "PATH_INFO",
    "QUERY_STRING",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "REQUEST_METHOD",
    "REQUEST_SCHEME",
    "REQUEST_URI",
    "SCRIPT_FILENAME",
    "SCRIPT_NAME",
    "SERVER_ADDR",
    "SERVER_ADMIN",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "SERVER_SOFTWARE",
    "mod_wsgi.application_group",
    "mod_wsgi.handler_script",
    "mod_wsgi.listener_host",
    "mod_wsgi.listener_port",
    "mod_wsgi.path_info",
    "mod_wsgi.process_group",
    "mod_wsgi.request_handler",
    "mod_wsgi.request_id",
    "mod_wsgi.script_name",
    "mod_wsgi.server_pid",
    "wsgi.errors",
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_keys_of_the_environ(dispatched, place, function):
    headers = {"X-Tell": function.upper().replace("-", "_")}
    assert dispatched.get(f"/{place}/plain", headers=headers).status == 200
    environ = told(dispatched)
    # mod_wsgi also shows what it tells its daemon processes.
    assert {key for key in environ if not key.startswith("mod_wsgi.x-")} == KEYS
    kinds = {kind for key, (kind, _) in environ.items() if key != "wsgi.errors"}
    assert kinds == {"str"}


@pytest.mark.ours_only("mod_wsgi shows what it tells its daemon processes")
def test_environ_has_no_inner_keys(dispatched, place):
    assert dispatched.get(f"/{place}/plain", headers={"X-Tell": "PROCESS_GROUP"}).status == 200
    assert not {key for key in told(dispatched) if "x-" in key}


def test_values_of_the_environ(dispatched, place):
    headers = {"X-Tell": "PROCESS_GROUP", "Proxy": "http://evil", "Authorization": "Bearer x"}
    path = f"/{place}/option/more//x%20y?a=%20"
    assert dispatched.get(path, headers=headers).status == 200
    environ = {key: value for key, (_, value) in told(dispatched).items()}
    assert environ["SCRIPT_NAME"] == f"/{place}/option"
    assert environ["PATH_INFO"] == environ["mod_wsgi.path_info"] == "/more/x y"
    assert environ["REQUEST_URI"] == path
    assert environ["QUERY_STRING"] == "a=%20"
    assert environ["SCRIPT_FILENAME"] == f"{dispatched.root}/apps/environ/app.wsgi"
    assert environ["mod_wsgi.process_group"] == ("hooks" if place == "group" else "")
    assert environ["mod_wsgi.application_group"] == ""
    assert environ["mod_wsgi.request_handler"] == "wsgi-script"
    assert environ["mod_wsgi.handler_script"] == ""
    assert "mod_wsgi.callable_object" not in environ
    assert "HTTP_PROXY" not in environ
    assert "HTTP_AUTHORIZATION" not in environ


def test_environ_has_what_the_configuration_sets(server_factory, place):
    """Unlike the application's: PATH and HTTPS, too. Trusted proxies have spoken."""
    server = server_factory(
        f"""
{GROUPS[place]}
WSGIScriptAlias / ${{APPS}}/environ/app.wsgi application-group=%{{GLOBAL}}
WSGITrustedProxyHeaders X-Forwarded-For
WSGIPassAuthorization On
SetEnv SET_BY_CONFIG "a value"
SetEnv PATH /fake
SetEnv HTTPS on
<Location />
    WSGIDispatchScript ${{APPS}}/dispatch/dispatch.py{PLACES[place]}
</Location>
"""
    )
    headers = {"X-Tell": "PROCESS_GROUP", "X-Forwarded-For": "192.0.2.7", "Authorization": "x"}
    assert server.get("/", headers=headers).status == 200
    environ = {key: value for key, (_, value) in told(server).items()}
    assert environ["SET_BY_CONFIG"] == "a value"
    assert environ["PATH"] == "/fake"
    assert environ["HTTPS"] == "on"
    assert environ["REMOTE_ADDR"] == "192.0.2.7"
    assert environ["HTTP_AUTHORIZATION"] == "x"


@pytest.mark.parametrize("value", ["On", "Off"])
def test_request_is_passed_when_asked(server_factory, place, value):
    server = server_factory(
        f"""
{GROUPS[place]}
WSGIScriptAlias / ${{APPS}}/environ/app.wsgi application-group=%{{GLOBAL}}
WSGIPassApacheRequest {value}
<Location />
    WSGIDispatchScript ${{APPS}}/dispatch/dispatch.py{PLACES[place]}
</Location>
"""
    )
    assert server.get("/", headers={"X-Tell": "PROCESS_GROUP"}).status == 200
    kind = told(server).get("apache.request_rec", [None])[0]
    assert kind == ("PyCapsule" if (value, place) == ("On", "embedded") else None)


# Where and how often


@pytest.mark.parametrize("reloading", ["On", "Off"])
def test_changed_script(server_factory, place, reloading):
    server = server_factory(
        f"""
{GROUPS[place]}
WSGIScriptReloading {reloading}
WSGIScriptAlias / ${{APPS}}/environ/app.wsgi application-group=%{{GLOBAL}}
<Location />
    WSGIDispatchScript ${{ROOT}}/dispatch.py{PLACES[place]}
</Location>
""",
        start=False,
    )
    text = "def application_group(environ):\n    return '{}'\n"
    path = server.write("dispatch.py", text.format("before"))
    server.start()
    # One connection, that is one child: each has the script for itself.
    with server.connection() as connection:
        assert route(connection.request("/"))[1] == "before"
        server.write("dispatch.py", text.format("after"))
        server.touch(path)
        last = connection.request("/", headers={"Connection": "close"})
        assert route(last)[1] == ("after" if reloading == "On" else "before")


def test_dispatch_is_not_restricted(server_factory):
    server = server_factory("""
WSGIRestrictEmbedded On
WSGIDaemonProcess one
WSGIScriptAlias / ${APPS}/environ/app.wsgi application-group=%{GLOBAL}
WSGIDispatchScript ${APPS}/dispatch/dispatch.py
""")
    assert route(server.get("/", headers={"X-Process-Group": "'one'"}))[0] == "one"
    assert server.get("/").status == 500
    expect(server, "WSGI0143")


def test_inner_script_replaces_the_outer_one(server_factory):
    server = server_factory("""
WSGIScriptAlias /outer ${APPS}/environ/app.wsgi
WSGIScriptAlias /inner ${APPS}/environ/app.wsgi
WSGIDispatchScript ${APPS}/dispatch/dispatch.py
<Location /inner>
    WSGIDispatchScript ${APPS}/hello/app.wsgi
</Location>
""")
    headers = {"X-Application-Group": "'name'"}
    assert route(server.get("/outer", headers=headers))[1] == "name"
    assert route(server.get("/inner", headers=headers))[1] == f"localhost:{server.port}|/inner"


@pytest.mark.ours_only("hooks of mod_wsgi run in httpd's children only")
@pytest.mark.parametrize(("group", "number"), [("none", "WSGI0151"), ("private", "WSGI0152")])
def test_group_that_cannot_be_used(server_factory, group, number):
    server = server_factory(
        f"""
<VirtualHost 127.0.0.1:${{PORT_other}}>
    ServerName other
    WSGIDaemonProcess private
</VirtualHost>
<VirtualHost 127.0.0.1:${{PORT}}>
    ServerName localhost
    WSGIScriptAlias / ${{APPS}}/environ/app.wsgi
    WSGIDispatchScript ${{APPS}}/dispatch/dispatch.py process-group={group}
</VirtualHost>
""",
        ports=("other",),
    )
    # Said at start, too.
    server.tolerate_log("WSGI03(18|19|20)")
    assert server.get("/").status == 500
    server.expect_log(f"{number}.*{group}", count=1)
