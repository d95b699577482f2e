# SPDX-License-Identifier: Apache-2.0
"""What %{GLOBAL}, %{SERVER}, %{HOST}, %{RESOURCE} and %{ENV:name} become, wherever a name stands.

What the groups with these names are made of is in test_groups.py.
"""

import hashlib
import re

import pytest

from harness.plugin import differs


def environ_of(response) -> dict:
    assert response.status == 200
    return {key: value for key, (_, value) in response.json.items()}


# Names of groups: every token in every place

TOKENS = {
    "name": "name",
    "%{GLOBAL}": "",
    "%{SERVER}": "localhost:{port}",
    "%{HOST}": "127.0.0.1:{port}",
    "%{RESOURCE}": "localhost:{port}|{path}",
    "%{ENV:SET}": "from-env",
    "%{ENV:set}": "from-env",
    "%{ENV:GLOBAL}": "",
    "%{ENV:SERVER}": "localhost:{port}",
    "%{ENV:OTHER}": "%{OTHER}",
    "%{ENV:CHAIN}": "%{ENV:SET}",
    "%{ENV:EMPTY}": "",
    "%{ENV:FROM_PROCESS}": "from-process",
    "%{ENV:NOT_SET}": "%{ENV:NOT_SET}",
    "%{ENV:}": "%{ENV:}",
    "%{global}": "%{global}",
    "%{OTHER}": "%{OTHER}",
    "x%{GLOBAL}": "x%{GLOBAL}",
    "%{GLOBAL}x": "%{GLOBAL}x",
    "%": "%",
}
PLACES = ("directive", "alias", "handler", "dispatch")
KINDS = ("process", "application")
NUMBERS = dict(zip(TOKENS, range(len(TOKENS)), strict=True))

HEAD = """
WSGIDaemonProcess name threads=1
WSGIDaemonProcess from-env threads=1
WSGIDaemonProcess from-process threads=1
WSGIDaemonProcess localhost:${PORT} threads=1
WSGIDaemonProcess 127.0.0.1:${PORT} threads=1
SetEnv SET from-env
SetEnv GLOBAL %{GLOBAL}
SetEnv SERVER %{SERVER}
SetEnv OTHER %{OTHER}
SetEnv CHAIN %{ENV:SET}
SetEnv EMPTY ""
SetEnv CALLABLE other
Define ENVIRON ${APPS}/environ/app.wsgi
Define HANDLER ${APPS}/handle-request/app.wsgi
<Location /dispatch>
    WSGIDispatchScript ${APPS}/dispatch/dispatch.py
</Location>
WSGIScriptAlias /dispatch/process ${ENVIRON} application-group=%{GLOBAL}
WSGIScriptAlias /dispatch/application ${ENVIRON}
"""


def configuration() -> str:
    lines = [HEAD]
    for token, number in NUMBERS.items():
        # The other kind of group has its simplest value.
        for kind, other in (("process", "application"), ("application", "process")):
            name = f"{kind}-{number}"
            option = f'{kind}-group="{token}"'
            directive = f'WSGI{kind.title()}Group "{token}"\n'
            plain = f"WSGI{other.title()}Group %{{GLOBAL}}\n"
            lines += [
                f"WSGIScriptAlias /directive/{name} ${{ENVIRON}}\n",
                f"<Location /directive/{name}>\n{directive}{plain}</Location>\n",
                f"WSGIScriptAlias /alias/{name} ${{ENVIRON}} {option}\n",
                f"<Location /alias/{name}>\n{plain}</Location>\n",
                f"WSGIHandlerScript {name} ${{HANDLER}} {option}\n",
                f"<Location /handler/{name}>\nSetHandler {name}\n{plain}</Location>\n",
            ]
    return "".join(lines)


@pytest.fixture(scope="module")
def server(module_server_factory):
    return module_server_factory(configuration(), environment={"FROM_PROCESS": "from-process"})


def ask(server, place: str, kind: str, token: str):
    """The response, and what the token should have become."""
    if place == "dispatch":
        path = f"/dispatch/{kind}"
        headers = {f"X-{kind.title()}-Group": repr(token)}
        if kind == "application":
            headers["X-Process-Group"] = "'%{GLOBAL}'"
    else:
        path, headers = f"/{place}/{kind}-{NUMBERS[token]}", {}
    wanted = TOKENS[token].replace("{port}", str(server.port))
    # A handler script's resource is what httpd finds on disk: nothing below the first segment. Its
    # name is the client's to choose, so that ours has the script's in its place.
    handler = differs(upstream="/handler", ours=f"{server.apps}/handle-request/app.wsgi")
    script_name = path if place != "handler" else handler
    return server.get(path, headers=headers), wanted.replace("{path}", script_name)


@pytest.mark.difference("a client cannot choose names of files that are not there")
@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("place", PLACES)
def test_application_group(server, place, token):
    response, wanted = ask(server, place, "application", token)
    environ = environ_of(response)
    assert environ["mod_wsgi.application_group"] == wanted
    assert environ["mod_wsgi.process_group"] == ""


GROUPS = ("name", "from-env", "from-process", "", "localhost:{port}", "127.0.0.1:{port}")


@pytest.mark.difference("a client cannot choose names of files that are not there")
@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("place", PLACES)
def test_process_group(server, place, token):
    response, wanted = ask(server, place, "process", token)
    if TOKENS[token] in GROUPS:
        assert environ_of(response)["mod_wsgi.process_group"] == wanted
    else:
        assert response.status == 500
        record = server.wait_log("WSGI0151")
        assert f"'{wanted}'" in record.message or f'"{wanted}"' in record.message
        server.expect_log("WSGI0151", count=1)


@pytest.mark.parametrize("as_bytes", [False, True], ids=["str", "bytes"])
@pytest.mark.parametrize(
    ("token", "name"),
    [
        ("other", "other"),
        ("%{ENV:CALLABLE}", "other"),
        ("%{ENV:callable}", "other"),
        ("%{GLOBAL}", "application"),
        ("%{RESOURCE}", "application"),
        ("%{SERVER}", "application"),
        ("%{HOST}", "application"),
        ("%{OTHER}", "application"),
        ("%{ENV:NOT_SET}", "application"),
    ],
)
@pytest.mark.parametrize("place", ["directive", "dispatch"])
def test_callable_object(callables, place, token, name, as_bytes):
    if place == "dispatch":
        result = token.encode() if as_bytes else token
        response = callables.get("/dispatch", headers={"X-Callable-Object": repr(result)})
    else:
        response = callables.get(f"/directive/{CALLABLES.index(token)}")
    assert response.text == name


CALLABLES = ["other", "%{ENV:CALLABLE}", "%{ENV:callable}", "%{GLOBAL}", "%{RESOURCE}"]
CALLABLES += ["%{SERVER}", "%{HOST}", "%{OTHER}", "%{ENV:NOT_SET}"]
TWO_CALLABLES = '''"""Answers with the name of the callable."""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"application"]


def other(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"other"]
'''


@pytest.fixture(scope="module")
def callables(module_server_factory):
    mounts = "".join(
        f"WSGIScriptAlias /directive/{number} ${{ROOT}}/two/app.wsgi\n"
        f'<Location /directive/{number}>\n    WSGICallableObject "{token}"\n</Location>\n'
        for number, token in enumerate(CALLABLES)
    )
    server = module_server_factory(
        f"""
WSGIApplicationGroup %{{GLOBAL}}
SetEnv CALLABLE other
{mounts}
WSGIScriptAlias /dispatch ${{ROOT}}/two/app.wsgi
<Location /dispatch>
    WSGIDispatchScript ${{APPS}}/dispatch/dispatch.py
</Location>
<Directory ${{ROOT}}/two>
    Require all granted
</Directory>
""",
        start=False,
    )
    server.write("two/app.wsgi", TWO_CALLABLES)
    return server.start()


# Application groups of hooks

HOOK_TOKENS = {
    "name": "name",
    "%{GLOBAL}": "",
    "%{SERVER}": "localhost:{port}",
    "%{HOST}": "127.0.0.1:{port}",
    "%{RESOURCE}": "%{RESOURCE}",
    "%{ENV:SET}": "%{ENV:SET}",
    "%{OTHER}": "%{OTHER}",
}
HOOKS = {
    "access": "WSGIAccessScript ${APPS}/hooks/hook.py",
    "user": "AuthBasicProvider wsgi\nRequire valid-user\nWSGIAuthUserScript ${APPS}/hooks/hook.py",
    "group": "AuthBasicProvider file\nRequire wsgi-group everyone\n"
    "AuthUserFile ${ROOT}/conf/passwords\nWSGIAuthGroupScript ${APPS}/hooks/hook.py",
    "dispatch": "WSGIDispatchScript ${APPS}/dispatch/dispatch.py",
}


@pytest.fixture(scope="module")
def hooked(module_server_factory):
    sections = "".join(
        f"<Location /{hook}/{number}>\nAuthType Basic\nAuthName realm\n"
        f'{lines} application-group="{token}"\n</Location>\n'
        for hook, lines in HOOKS.items()
        for number, token in enumerate(HOOK_TOKENS)
    )
    server = module_server_factory(
        f"""
SetEnv SET from-env
WSGIScriptAlias / ${{APPS}}/environ/app.wsgi application-group=%{{GLOBAL}}
{sections}
""",
        modules=("auth_basic", "authn_core", "authn_file", "authz_user"),
        start=False,
    )
    server.write("conf/passwords", "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")  # "secret"
    return server.start()


@pytest.mark.parametrize("token", HOOK_TOKENS)
@pytest.mark.parametrize("hook", HOOKS)
def test_application_group_of_a_hook(hooked, hook, token):
    wanted = HOOK_TOKENS[token].replace("{port}", str(hooked.port))
    expression = (
        f"environ['mod_wsgi.application_group'] == mod_wsgi.application_group == {wanted!r}"
    )
    headers = {
        "X-Access": expression,
        "X-Password": expression,
        "X-Groups": f"['everyone'] if {expression} else []",
        "X-Callable-Object": f"None if {expression} else 'wrong'",
        "Authorization": "Basic YW5uOnNlY3JldA==",
    }
    path = f"/{hook}/{list(HOOK_TOKENS).index(token)}"
    assert hooked.get(path, headers=headers).status == 200


def test_application_group_of_an_import_is_literal(server_factory):
    server = server_factory(
        """
WSGIDaemonProcess main
WSGIImportScript ${ROOT}/tells.py process-group=main application-group=%{SERVER}
WSGIImportScript ${ROOT}/tells.py process-group=main application-group=%{ENV:SET}
WSGIImportScript ${ROOT}/tells.py process-group=main application-group=%{GLOBAL}
""",
        start=False,
    )
    server.write("tells.py", "import mod_wsgi\nprint([mod_wsgi.application_group])\n")
    server.start()
    for name in ("%{SERVER}", "%{ENV:SET}", ""):
        server.wait_log(re.escape(f"['{name}']"))
        server.expect_log(re.escape(f"['{name}']"), count=1)


# The port


PORTS = """
WSGIScriptAlias /server ${APPS}/environ/app.wsgi application-group=%{SERVER}
WSGIScriptAlias /host ${APPS}/environ/app.wsgi application-group=%{HOST}
WSGIScriptAlias /resource ${APPS}/environ/app.wsgi application-group=%{RESOURCE}
<VirtualHost 127.0.0.1:${PORT}>
    ServerName localhost
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_http}>
    ServerName one.example:80
    UseCanonicalName On
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_https}>
    ServerName one.example:443
    UseCanonicalName On
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_other}>
    ServerName one.example:8080
    UseCanonicalName On
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_none}>
    ServerName one.example
    UseCanonicalName On
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_physical}>
    ServerName one.example
    UseCanonicalPhysicalPort On
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_alias}>
    ServerName one.example
    ServerAlias two.example
</VirtualHost>
"""


@pytest.fixture(scope="module")
def ports(module_server_factory):
    return module_server_factory(
        PORTS, ports=("http", "https", "other", "none", "physical", "alias")
    )


@pytest.mark.parametrize(
    ("port", "host", "name", "requested"),
    [
        ("", "127.0.0.1:{port}", "localhost:{port}", "127.0.0.1:{port}"),
        ("", "LocalHost:{port}", "localhost:{port}", "localhost:{port}"),
        ("http", "x", "one.example", "x"),
        ("http", "x:99", "one.example", "x"),
        ("https", "x", "one.example", "x"),
        ("other", "x", "one.example:8080", "x:8080"),
        ("other", "X.Example:99", "one.example:8080", "x.example:8080"),
        ("none", "x", "one.example", "x"),
        ("physical", "x", "one.example:{port}", "x:{port}"),
        ("alias", "two.example:{port}", "one.example:{port}", "two.example:{port}"),
    ],
)
def test_port(ports, port, host, name, requested):
    """That of the name of the server, or of the request; 80 and 443 are left out."""
    number = str(ports.ports[port])
    name, requested = name.replace("{port}", number), requested.replace("{port}", number)
    for path, wanted in (("server", name), ("host", requested), ("resource", f"{name}|/resource")):
        response = ports.get(f"/{path}", port=port, host=host.replace("{port}", number))
        assert environ_of(response)["mod_wsgi.application_group"] == wanted


@pytest.mark.difference("a port which the server does not have is replaced by the real one")
def test_port_that_the_client_made_up(ports):
    wanted = differs(upstream="localhost:99", ours=f"localhost:{ports.port}")
    environ = environ_of(ports.get("/server", host="x:99"))
    assert environ["mod_wsgi.application_group"] == wanted


@pytest.mark.parametrize("host", ["x", "x:80", "x:443"])
def test_default_port_of_the_host_header(ports, host):
    environ = environ_of(ports.get("/server", host=host))
    assert environ["mod_wsgi.application_group"] == "localhost"


def test_no_host_header(ports):
    for path, wanted in (("server", b"localhost"), ("host", b"localhost")):
        with ports.raw() as raw:
            raw.send(b"GET /" + path.encode() + b" HTTP/1.0\r\n\r\n")
            answer = raw.receive_all()
        assert b'"mod_wsgi.application_group": ["str", "' + wanted + b'"]' in answer


# %{ENV:name}


def test_order_of_notes_variables_and_the_process(server_factory):
    server = server_factory(
        """
LuaHookFixups ${ROOT}/note.lua set
WSGIScriptAlias /note ${APPS}/environ/app.wsgi application-group=%{ENV:ALL}
WSGIScriptAlias /variable ${APPS}/environ/app.wsgi application-group=%{ENV:TWO}
WSGIScriptAlias /process ${APPS}/environ/app.wsgi application-group=%{ENV:ONE}
SetEnv ALL variable
SetEnv TWO variable
""",
        modules=("lua",),
        environment={"ALL": "process", "TWO": "process", "ONE": "process"},
        start=False,
    )
    server.write(
        "note.lua",
        "require 'apache2'\nfunction set(r)\n  r.notes['ALL'] = 'note'\n"
        "  return apache2.DECLINED\nend\n",
    )
    server.start()
    for name in ("note", "variable", "process"):
        assert environ_of(server.get(f"/{name}"))["mod_wsgi.application_group"] == name


@pytest.mark.parametrize(
    ("path", "headers", "name"),
    [
        ("/rewritten", {}, "by-rule"),
        ("/x", {"X-Which": "by-header"}, "by-header"),
        ("/x", {}, "%{ENV:WHICH}"),
    ],
)
def test_variables_of_other_modules(variables, path, headers, name):
    environ = environ_of(variables.get(path, headers=headers))
    assert environ["mod_wsgi.application_group"] == name


@pytest.fixture(scope="module")
def variables(module_server_factory):
    return module_server_factory(
        """
WSGIScriptAlias / ${APPS}/environ/app.wsgi application-group=%{ENV:WHICH}
RewriteEngine On
RewriteRule ^/rewritten - [E=WHICH:by-rule]
SetEnvIf X-Which (.+) WHICH=$1
""",
        modules=("rewrite",),
    )


# WSGICaseSensitivity


@pytest.mark.parametrize("sensitive", ["On", "Off"])
def test_case_sensitivity(server_factory, mode, sensitive):
    server = server_factory(
        f"""
WSGICaseSensitivity {sensitive}
WSGIDaemonProcess main
WSGIScriptAlias /Embedded ${{ROOT}}/Folder/App.wsgi
WSGIScriptAlias /Daemon ${{ROOT}}/Folder/App.wsgi process-group=main
<Directory ${{ROOT}}/Folder>
    Require all granted
</Directory>
""",
        start=False,
    )
    path = server.write(
        "Folder/App.wsgi",
        'def application(environ, start_response):\n    start_response("200 OK", [])\n'
        '    return [(__name__ + " " + environ["mod_wsgi.application_group"]).encode()]\n',
    )
    server.start()
    text, mount = (str(path), mode.title())
    if sensitive == "Off":
        text, mount = text.lower(), mount.lower()
    name = "_mod_wsgi_" + hashlib.md5(text.encode()).hexdigest()
    answer = server.get(f"/{mode.title()}").text
    assert answer == f"{name} localhost:{server.port}|/{mount}"
