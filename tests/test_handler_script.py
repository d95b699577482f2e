# SPDX-License-Identifier: Apache-2.0
"""WSGIHandlerScript: a script that answers for a handler's name, and reload_required() in scripts.

Which options the directive takes is in test_vocabulary.py, how names expand in test_expansion.py.
"""

import pytest

CONFIG = """
WSGIDaemonProcess main threads=3
WSGIDaemonProcess other threads=3
WSGIApplicationGroup %{GLOBAL}
Define HANDLER ${APPS}/handle-request/app.wsgi
<Macro Everything $mode $group>
    WSGIHandlerScript plain-$mode ${HANDLER} process-group=$group
    WSGIHandlerScript named-$mode ${HANDLER} process-group=$group application-group=name
    WSGIHandlerScript authorized-$mode ${HANDLER} process-group=$group pass-authorization=On
    WSGIHandlerScript hidden-$mode ${HANDLER} process-group=$group pass-authorization=Off
    WSGIHandlerScript no-file-$mode ${APPS}/no-such-folder/app.wsgi process-group=$group
    WSGIHandlerScript no-function-$mode ${APPS}/hello/app.wsgi process-group=$group
    WSGIHandlerScript syntax-error-$mode ${APPS}/syntax-error/app.wsgi process-group=$group
    WSGIHandlerScript inherits-$mode ${HANDLER}
    <Location /$mode/plain>
        SetHandler plain-$mode
        WSGICallableObject no_such_name
    </Location>
    <Location /$mode/upper-case>
        SetHandler PLAIN-$mode
    </Location>
    Alias /$mode/folder ${ROOT}/htdocs/files
    <Location /$mode/folder>
        SetHandler plain-$mode
    </Location>
    <Location /$mode/named>
        SetHandler named-$mode
    </Location>
    <Location /$mode/authorized>
        SetHandler authorized-$mode
        WSGIPassAuthorization Off
    </Location>
    <Location /$mode/hidden>
        SetHandler hidden-$mode
        WSGIPassAuthorization On
    </Location>
    <Location /$mode/inherits>
        SetHandler inherits-$mode
        WSGIProcessGroup $group
        WSGIApplicationGroup inherited
        WSGIPassAuthorization On
    </Location>
    <Location /$mode/no-file>
        SetHandler no-file-$mode
    </Location>
    <Location /$mode/no-function>
        SetHandler no-function-$mode
    </Location>
    <Location /$mode/syntax-error>
        SetHandler syntax-error-$mode
    </Location>
    <Location /$mode/no-path-info>
        SetHandler plain-$mode
        AcceptPathInfo Off
    </Location>
    <Location /$mode/local>
        SetHandler local-$mode
        WSGIHandlerScript local-$mode ${HANDLER} process-group=$group
    </Location>
    <Location /$mode/replaced>
        SetHandler plain-$mode
        WSGIHandlerScript plain-$mode ${HANDLER} process-group=$group application-group=replaced
    </Location>
    Alias /$mode/files ${ROOT}/htdocs/files
    <Location /$mode/files>
        AddHandler plain-$mode .page
        AddHandler no-such-handler .none
    </Location>
</Macro>
Use Everything embedded %{GLOBAL}
Use Everything daemon main
"""


@pytest.fixture(scope="module")
def handled(module_server_factory):
    server = module_server_factory(CONFIG, modules=("macro",), start=False)
    server.write("htdocs/files/one.page", "a page\n")
    server.write("htdocs/files/one.none", "no page\n")
    return server.start()


def environ_of(response) -> dict:
    assert response.status == 200
    return {key: value for key, (_, value) in response.json.items()}


def test_handler(handled, mode):
    environ = environ_of(handled.get(f"/{mode}/plain/some/path?q"))
    assert environ["mod_wsgi.process_group"] == ("main" if mode == "daemon" else "")
    assert environ["mod_wsgi.application_group"] == ""
    assert environ["mod_wsgi.callable_object"] == "handle_request"
    assert environ["mod_wsgi.request_handler"] == f"plain-{mode}"
    assert environ["mod_wsgi.handler_script"] == f"{handled.apps}/handle-request/app.wsgi"
    assert environ["REQUEST_URI"] == f"/{mode}/plain/some/path?q"
    assert environ["QUERY_STRING"] == "q"
    # What httpd found on disk of /<mode>/plain/some/path: nothing.
    assert environ["SCRIPT_NAME"] == environ["mod_wsgi.script_name"] == f"/{mode}"
    assert environ["PATH_INFO"] == environ["mod_wsgi.path_info"] == "/plain/some/path"
    assert environ["SCRIPT_FILENAME"] == f"{handled.root}/htdocs/{mode}"


def test_body_reaches_the_handler(handled, mode):
    assert handled.post(f"/{mode}/plain", b"a body").text == "a body"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "BREW"])
def test_every_method_reaches_the_handler(handled, mode, method):
    response = handled.request(f"/{mode}/plain", method=method)
    assert response.status == 200
    if method != "HEAD":
        assert environ_of(response)["REQUEST_METHOD"] == method


@pytest.mark.parametrize(
    ("path", "script_name", "path_info", "filename"),
    [
        ("one.page", "/one.page", "", "one.page"),
        ("one.page/x/y", "/one.page", "/x/y", "one.page"),
        ("none.page", "/none.page", "", "none.page"),
        ("none.page/x", "/none.page", "/x", "none.page"),
    ],
)
def test_handler_by_extension(handled, mode, path, script_name, path_info, filename):
    """The resource need not exist, and no ExecCGI is asked for."""
    environ = environ_of(handled.get(f"/{mode}/files/{path}"))
    assert environ["SCRIPT_NAME"] == f"/{mode}/files{script_name}"
    assert environ["PATH_INFO"] == path_info
    assert environ["SCRIPT_FILENAME"] == f"{handled.root}/htdocs/files/{filename}"
    assert environ["mod_wsgi.handler_script"] == f"{handled.apps}/handle-request/app.wsgi"


def test_folder_with_a_handler(handled, mode):
    environ = environ_of(handled.get(f"/{mode}/folder/"))
    assert environ["SCRIPT_FILENAME"] == f"{handled.root}/htdocs/files/"


def test_other_handlers_are_left_to_httpd(handled, mode):
    assert handled.get(f"/{mode}/files/one.none").text == "no page\n"


def test_case_of_a_name(handled, mode):
    """httpd knows handlers by lower-case names only."""
    environ = environ_of(handled.get(f"/{mode}/upper-case"))
    assert environ["mod_wsgi.request_handler"] == f"plain-{mode}"


@pytest.mark.parametrize(
    ("path", "group"),
    [("named", "name"), ("inherits", "inherited"), ("local", ""), ("replaced", "replaced")],
)
def test_groups(handled, mode, path, group):
    environ = environ_of(handled.get(f"/{mode}/{path}"))
    assert environ["mod_wsgi.process_group"] == ("main" if mode == "daemon" else "")
    assert environ["mod_wsgi.application_group"] == group


@pytest.mark.parametrize(
    ("path", "passed"),
    [("plain", False), ("authorized", True), ("hidden", False), ("inherits", True)],
)
def test_authorization(handled, mode, path, passed):
    environ = environ_of(handled.get(f"/{mode}/{path}", headers={"Authorization": "Bearer x"}))
    assert environ.get("HTTP_AUTHORIZATION") == ("Bearer x" if passed else None)


def test_path_info_that_is_not_accepted(handled, mode):
    assert handled.get(f"/{mode}/no-path-info/x").status == 404
    handled.expect_log("WSGI0137", count=1)


def test_body_in_chunks_is_refused_here_too(handled, mode):
    assert handled.post(f"/{mode}/plain", iter([b"a body"])).status == 411
    handled.expect_log("WSGI0139", count=1)


def test_handler_without_its_function(handled, mode):
    status = 404 if mode == "embedded" else 500
    assert handled.get(f"/{mode}/no-function").status == status
    handled.expect_log("WSGI0089.*handle_request", count=1)


@pytest.mark.parametrize(
    ("path", "exception"), [("syntax-error", "SyntaxError"), ("no-file", "FileNotFoundError")]
)
def test_handler_that_does_not_load(handled, mode, path, exception):
    assert handled.get(f"/{mode}/{path}").status == 500
    handled.expect_log("WSGI0105", count=1)
    handled.expect_traceback(exception, count=1)
    # The daemon process of mod_wsgi has looked at the file before.
    handled.tolerate_log("WSGI0082")


def test_handlers_are_inherited_and_replaced(server_factory):
    """Names of the main server, the virtual host and a section are put together."""
    server = server_factory("""
Define HANDLER ${APPS}/handle-request/app.wsgi
WSGIHandlerScript one ${HANDLER} application-group=main-one
WSGIHandlerScript two ${HANDLER} application-group=main-two
<VirtualHost 127.0.0.1:${PORT}>
    ServerName localhost
    WSGIHandlerScript two ${HANDLER} application-group=host-two
    WSGIHandlerScript three ${HANDLER} application-group=host-three
    <Location /in>
        WSGIHandlerScript three ${HANDLER} application-group=in-three
    </Location>
    <LocationMatch one$>
        SetHandler one
    </LocationMatch>
    <LocationMatch two$>
        SetHandler two
    </LocationMatch>
    <LocationMatch three$>
        SetHandler three
    </LocationMatch>
</VirtualHost>
""")
    groups = {
        path: environ_of(server.get(path))["mod_wsgi.application_group"]
        for path in ("/one", "/two", "/three", "/in/one", "/in/three")
    }
    assert groups == {
        "/one": "main-one",
        "/two": "host-two",
        "/three": "host-three",
        "/in/one": "main-one",
        "/in/three": "in-three",
    }


def test_action_to_an_alias(server_factory, mode):
    """Action makes an internal redirect to a URL, which is an alias like any other."""
    server = server_factory(
        """
WSGIDaemonProcess main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /embedded-app ${APPS}/environ/app.wsgi
WSGIScriptAlias /daemon-app ${APPS}/environ/app.wsgi process-group=main
Action embedded-action /embedded-app virtual
Action daemon-action /daemon-app virtual
<Location /embedded/>
    SetHandler embedded-action
</Location>
<Location /daemon/>
    SetHandler daemon-action
</Location>
""",
        modules=("actions",),
    )
    environ = environ_of(server.get(f"/{mode}/some/page?q"))
    assert environ["SCRIPT_NAME"] == f"/{mode}-app"
    assert environ["PATH_INFO"] == f"/{mode}/some/page"
    assert environ["REDIRECT_URL"] == f"/{mode}/some/page"
    assert environ["REDIRECT_HANDLER"] == f"{mode}-action"
    assert environ["QUERY_STRING"] == "q"


# reload_required

RELOADING = '''"""Is loaded anew when there is a file with the name of the resource and .changed."""

import os

loaded = os.urandom(8).hex()


def reload_required(resource):
    if os.path.exists(resource + ".raise"):
        raise ValueError("no word on " + resource)
    if os.path.exists(resource + ".changed"):
        os.unlink(resource + ".changed")
        return True
    return False


def handle_request(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [loaded.encode()]


application = handle_request
'''

RELOADING_CONFIG = """
WSGIDaemonProcess main threads=1
WSGIApplicationGroup %{GLOBAL}
WSGIHandlerScript embedded ${ROOT}/hook/handler.py process-group=%{GLOBAL}
WSGIHandlerScript daemon ${ROOT}/hook/handler.py process-group=main
Alias /handler ${ROOT}/hook/pages
WSGIScriptAlias /app/embedded ${ROOT}/hook/app.wsgi
WSGIScriptAlias /app/daemon ${ROOT}/hook/app.wsgi process-group=main
<Directory ${ROOT}/hook>
    Require all granted
    AddHandler embedded .embedded
    AddHandler daemon .daemon
</Directory>
"""


@pytest.fixture
def reloading(server_factory):
    server = server_factory(RELOADING_CONFIG, start=False)
    for name in ("handler.py", "app.wsgi"):
        server.write(f"hook/{name}", RELOADING)
    for name in ("embedded", "daemon"):
        server.write(f"hook/pages/one.{name}", "")
    for folder in ("hook", "hook/pages"):
        (server.root / folder).chmod(0o777)
    return server.start()


@pytest.mark.parametrize("kind", ["handler", "app"])
def test_reload_required(reloading, mode, kind):
    """It is asked about the file that was requested; what it says holds for the next request."""
    path = f"/handler/one.{mode}" if kind == "handler" else f"/app/{mode}"
    resource = f"hook/pages/one.{mode}" if kind == "handler" else "hook/app.wsgi"
    # One connection, that is one child: each has the script for itself.
    with reloading.connection() as connection:
        first = connection.request(path)
        assert first.status == 200
        assert connection.request(path).text == first.text
        (reloading.root / f"{resource}.changed").touch()
        second = connection.request(path)
        assert second.status == 200
        assert second.text != first.text
        assert connection.request(path).text == second.text
    assert not (reloading.root / f"{resource}.changed").exists()


@pytest.mark.parametrize("kind", ["handler", "app"])
def test_reload_required_that_raises(reloading, mode, kind):
    path = f"/handler/one.{mode}" if kind == "handler" else f"/app/{mode}"
    resource = f"hook/pages/one.{mode}" if kind == "handler" else "hook/app.wsgi"
    with reloading.connection() as connection:
        first = connection.request(path)
        (reloading.root / f"{resource}.raise").touch()
        assert connection.request(path).text == first.text
    reloading.expect_traceback("ValueError: no word on", count=1)


def test_changed_handler_is_loaded_anew(reloading, mode):
    path = f"/handler/one.{mode}"
    with reloading.connection() as connection:
        first = connection.request(path)
        reloading.touch(reloading.root / "hook/handler.py")
        second = connection.request(path)
        assert second.status == 200
        assert second.text != first.text
