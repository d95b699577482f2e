# SPDX-License-Identifier: Apache-2.0
"""How a URL finds its script, and what stops it on the way.

The environ that results from it is in test_environ.py, groups are in test_groups.py.
"""

import pytest

CONFIG = """
WSGIDaemonProcess main threads=5
WSGIApplicationGroup %{GLOBAL}

WSGIScriptAlias /first ${APPS}/tell/one.wsgi
WSGIScriptAlias /first/longer ${APPS}/tell/two.wsgi
WSGIScriptAlias /longer/first ${APPS}/tell/two.wsgi
WSGIScriptAlias /longer ${APPS}/tell/one.wsgi
WSGIScriptAlias /slash/ ${APPS}/tell/one.wsgi/
WSGIScriptAlias /a//run ${APPS}/tell/one.wsgi
WSGIScriptAlias /folder ${APPS}/tell
WSGIScriptAlias /folder-slash/ ${APPS}/tell/
WSGIScriptAlias /callable ${APPS}/tell/one.wsgi callable-object=other
WSGIScriptAlias /callable-expansion ${APPS}/tell/one.wsgi callable-object=%{ENV:CALLABLE}
WSGIScriptAlias /callable-directive ${APPS}/tell/one.wsgi
WSGIScriptAlias /callable-env ${APPS}/tell/one.wsgi
WSGIScriptAlias /callable-env-unset ${APPS}/tell/one.wsgi
WSGIScriptAlias /callable-both ${APPS}/tell/one.wsgi callable-object=other
WSGIScriptAlias /callable-missing ${APPS}/tell/one.wsgi callable-object=no_such
WSGIScriptAlias /missing ${APPS}/tell/no-such.wsgi
WSGIScriptAlias /forbidden ${APPS}/forbidden/app.wsgi
WSGIScriptAlias /aliased ${APPS}/tell/one.wsgi
WSGIScriptAlias /no-path-info ${APPS}/tell/one.wsgi
WSGIScriptAlias "/quoted name" "${APPS}/tell/one.wsgi"
Alias /aliased ${ROOT}/htdocs/plain.txt
Alias /files ${APPS}/tell
Alias /files-exec ${APPS}/exec
<Location /callable-directive>
    WSGICallableObject other
</Location>
<Location /callable-env>
    SetEnv CALLABLE other
    WSGICallableObject %{ENV:CALLABLE}
</Location>
<Location /callable-env-unset>
    UnsetEnv CALLABLE
</Location>
<Location /callable-both>
    WSGICallableObject application
</Location>
<Location /no-path-info>
    AcceptPathInfo Off
</Location>
<Directory ${APPS}/tell>
    AddHandler wsgi-script .wsgi
</Directory>
<Directory ${APPS}/exec>
    Options ExecCGI
    AddHandler wsgi-script .wsgi
    <Files by-set-handler>
        SetHandler wsgi-script
    </Files>
    AddType application/x-httpd-wsgi .typed
</Directory>
<Directory ${APPS}/forbidden>
    Require all denied
</Directory>
<VirtualHost 127.0.0.1:${PORT_embedded}>
    ServerName localhost
    WSGIScriptAlias /vhost ${APPS}/tell/one.wsgi
    WSGIScriptAlias /first/vhost ${APPS}/tell/two.wsgi
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_daemon}>
    ServerName localhost
    WSGIProcessGroup main
    WSGIScriptAlias /vhost ${APPS}/tell/one.wsgi
    WSGIScriptAlias /first/vhost ${APPS}/tell/two.wsgi
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_root_embedded}>
    ServerName localhost
    WSGIScriptAlias / ${APPS}/tell/one.wsgi
    Alias /static ${ROOT}/htdocs
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_root_daemon}>
    ServerName localhost
    WSGIProcessGroup main
    WSGIScriptAlias / ${APPS}/tell/one.wsgi
    Alias /static ${ROOT}/htdocs
</VirtualHost>
"""

TELL = '''"""Tells which script and callable answered, SCRIPT_NAME and PATH_INFO."""


def tell(name, environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    parts = (SCRIPT, name, environ["SCRIPT_NAME"], environ["PATH_INFO"])
    return ["|".join(parts).encode()]


def application(environ, start_response):
    return tell("application", environ, start_response)


def other(environ, start_response):
    return tell("other", environ, start_response)
'''


@pytest.fixture(scope="module")
def mapped(module_server_factory):
    server = module_server_factory(
        CONFIG, ports=("embedded", "daemon", "root_embedded", "root_daemon"), start=False
    )
    for name in ("tell/one", "tell/two", "exec/three", "forbidden/app"):
        server.write(f"apps/{name}.wsgi", f"{TELL}\n\nSCRIPT = {name.partition('/')[2]!r}\n")
    for name in ("exec/by-set-handler", "exec/four.typed"):
        server.write(f"apps/{name}", f"{TELL}\n\nSCRIPT = {name.partition('/')[2]!r}\n")
    server.write("htdocs/plain.txt", "a plain file\n")
    return server.start()


def told(response) -> list[str]:
    assert response.status == 200
    return response.text.split("|")


@pytest.mark.parametrize(
    ("path", "script", "script_name", "path_info"),
    [
        ("/first", "one", "/first", ""),
        ("/first/", "one", "/first", "/"),
        ("/first/x/y", "one", "/first", "/x/y"),
        ("/first/longer", "one", "/first", "/longer"),
        ("/longer/first/x", "two", "/longer/first", "/x"),
        ("/longer/x", "one", "/longer", "/x"),
        ("//first//x", "one", "/first", "/x"),
        ("/%66irst/x", "one", "/first", "/x"),
        ("/slash/x", "one", "/slash", "/x"),
        ("/a/run/x", "one", "/a/run", "/x"),
        ("/a///run/x", "one", "/a/run", "/x"),
        ("/folder/one.wsgi/x", "one", "/folder/one.wsgi", "/x"),
        ("/folder/two.wsgi", "two", "/folder/two.wsgi", ""),
        ("/folder-slash/two.wsgi/x", "two", "/folder-slash/two.wsgi", "/x"),
        ("/quoted%20name/x", "one", "/quoted name", "/x"),
        ("/vhost/x", "one", "/vhost", "/x"),
        ("/first/vhost", "two", "/first/vhost", ""),
    ],
)
def test_alias(mapped, mode, path, script, script_name, path_info):
    """The first match wins, the virtual host's before the main server's, by whole segments."""
    answer = told(mapped.get(path, port=mode))
    assert answer == [script, "application", script_name, path_info]


@pytest.mark.parametrize("path", ["/firstly", "/First", "/slash", "/x/first", "/"])
def test_what_is_not_aliased_is_left_to_httpd(mapped, mode, path):
    assert mapped.get(path, port=mode).status in (403, 404)
    if path == "/":
        mapped.tolerate_log("AH01276")


@pytest.mark.parametrize(
    ("path", "path_info"), [("/", "/"), ("/x", "/x"), ("/x/y/", "/x/y/"), ("//x", "/x")]
)
def test_alias_of_the_root(mapped, mode, path, path_info):
    answer = told(mapped.get(path, port=f"root_{mode}"))
    assert answer == ["one", "application", "", path_info]


def test_alias_of_httpd_goes_before_that_of_the_root(mapped, mode):
    assert mapped.get("/static/plain.txt", port=f"root_{mode}").text == "a plain file\n"


def test_alias_of_httpd_goes_before_whatever_the_order(mapped, mode):
    assert mapped.get("/aliased", port=mode).text == "a plain file\n"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/callable", "other"),
        ("/callable-directive", "other"),
        ("/callable-env", "other"),
        ("/callable-env-unset", "application"),
        ("/callable-both", "other"),
    ],
)
def test_callable_object(mapped, mode, path, name):
    assert told(mapped.get(path, port=mode))[:2] == ["one", name]


@pytest.mark.parametrize("path", ["/callable-missing", "/callable-expansion"])
def test_callable_object_of_the_alias_is_taken_literally(mapped, mode, path):
    assert mapped.get(path, port=mode).status == (404 if mode == "embedded" else 500)
    mapped.expect_log("WSGI0089", count=1)


# Gates


def test_missing_script_is_a_404(mapped, mode):
    assert mapped.get("/missing", port=mode).status == 404
    record = mapped.wait_log("WSGI0135")
    assert f"{mapped.apps}/tell/no-such.wsgi" in record.message
    assert "127.0.0.1:" in record.message
    mapped.expect_log("WSGI0135", count=1)


def test_missing_script_in_an_aliased_folder_is_a_404(mapped, mode):
    assert mapped.get("/folder/no-such.wsgi", port=mode).status == 404
    mapped.expect_log("WSGI0135", count=1)


def test_folder_without_slash_is_redirected_by_mod_dir(mapped, mode):
    response = mapped.get("/folder", port=mode)
    assert response.status == 301
    assert response.header("Location").endswith("/folder/")


@pytest.mark.parametrize("path", ["/folder/", "/folder-slash/"])
def test_folder_itself_is_a_403(mapped, mode, path):
    assert mapped.get(path, port=mode).status == 403
    mapped.expect_log("WSGI0136", count=1)


def test_forbidden_script_is_httpds_403(mapped, mode):
    assert mapped.get("/forbidden", port=mode).status == 403
    mapped.expect_log("AH01630", count=1)


def test_path_info_that_is_not_accepted_is_a_404(mapped, mode):
    assert mapped.get("/no-path-info", port=mode).status == 200
    assert mapped.get("/no-path-info/x", port=mode).status == 404
    mapped.expect_log("WSGI0137", count=1)


def test_handler_without_exec_cgi_is_a_403(mapped, mode):
    assert mapped.get("/files/one.wsgi", port=mode).status == 403
    mapped.expect_log("WSGI0134", count=1)


@pytest.mark.parametrize(
    ("path", "script", "script_name", "path_info"),
    [
        ("/files-exec/three.wsgi", "three", "/files-exec/three.wsgi", ""),
        ("/files-exec/three.wsgi/x", "three", "/files-exec/three.wsgi", "/x"),
        ("/files-exec/by-set-handler/x", "by-set-handler", "/files-exec/by-set-handler", "/x"),
        ("/files-exec/four.typed", "four.typed", "/files-exec/four.typed", ""),
    ],
)
def test_handlers(mapped, mode, path, script, script_name, path_info):
    """AddHandler, SetHandler and the MIME type, with Options ExecCGI."""
    answer = told(mapped.get(path, port=mode))
    assert answer == [script, "application", script_name, path_info]


def test_missing_file_with_a_handler_is_a_404(mapped, mode):
    assert mapped.get("/files-exec/no-such.wsgi", port=mode).status == 404
    mapped.tolerate_log("WSGI0135|AH00128")


@pytest.mark.parametrize("coding", ["gzip", "identity", "chunked, gzip"])
def test_other_transfer_codings_are_refused(mapped, mode, coding):
    with mapped.raw(port=mode) as raw:
        raw.send(
            b"POST /first HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Transfer-Encoding: " + coding.encode() + b"\r\n\r\n"
        )
        assert raw.receive_all().split()[1] in (b"400", b"501")
    mapped.tolerate_log("WSGI0138|AH0")


def test_options_of_the_whole_server_is_httpds(mapped, mode):
    with mapped.raw(port=mode) as raw:
        raw.send(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 200 " in raw.receive_all().partition(b"\r\n")[0]


# Embedded mode forbidden


def test_restrict_embedded(server_factory):
    server = server_factory("""
WSGIRestrictEmbedded On
WSGIDaemonProcess main
WSGIScriptAlias /embedded ${APPS}/hello/app.wsgi
WSGIScriptAlias /daemon ${APPS}/hello/app.wsgi process-group=main
""")
    assert server.get("/daemon").status == 200
    assert server.get("/embedded").status == 500
    assert server.get("/daemon").status == 200
    server.expect_log("WSGI0143", count=1)
