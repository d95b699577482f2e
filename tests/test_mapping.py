# SPDX-License-Identifier: Apache-2.0
"""How a URL finds its script, and what stops it on the way.

The environ that results from it is in test_environ.py, groups are in test_groups.py, handler
scripts in test_handler_script.py, whose a script has to be in test_ownership.py.
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
WSGIScriptAlias /extra/ ${APPS}/tell/one.wsgi/extra
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
        ("/extra/", "one", "/extra", "/extra"),
        ("/extra/x", "one", "/extra", "/extrax"),
        ("/extra/x/y", "one", "/extra", "/extrax/y"),
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


# WSGIScriptAliasMatch

MATCH = r"""
WSGIDaemonProcess main threads=5
WSGIApplicationGroup %{GLOBAL}

WSGIScriptAlias /ordered/first ${APPS}/tell/one.wsgi
WSGIScriptAliasMatch ^/ordered ${APPS}/tell/two.wsgi
WSGIScriptAlias /ordered/last ${APPS}/tell/one.wsgi
WSGIScriptAliasMatch ^/anchored/([a-z]+) ${APPS}/tell/$1.wsgi
WSGIScriptAliasMatch /any(where)? ${APPS}/tell/one.wsgi
WSGIScriptAliasMatch ^/whole(/.*)?$ ${APPS}/tell/one.wsgi
WSGIScriptAliasMatch ^/rest/([a-z]+)/(.*)$ ${APPS}/tell/$1.wsgi/$2
WSGIScriptAliasMatch ^/zero/([a-z]+) ${APPS}/tell/one.wsgi/$0
WSGIScriptAliasMatch ^/unset/([a-z]+)(x)? ${APPS}/tell/one.wsgi/<$2$3>
WSGIScriptAliasMatch ^/nine/(.)(.)(.)(.)(.)(.)(.)(.)(.) ${APPS}/tell/one.wsgi/$9$8$7$6$5$4-$10
WSGIScriptAliasMatch ^/escaped/([a-z]+) ${APPS}/tell/one.wsgi/\$1/&
WSGIScriptAliasMatch (?i)^/case ${APPS}/tell/one.wsgi
WSGIScriptAliasMatch ^/part ${APPS}/tell/one.wsgi
WSGIScriptAliasMatch "^/blank name" ${APPS}/tell/one.wsgi
WSGIScriptAliasMatch ^/ahead(?=/x) ${APPS}/tell/one.wsgi
WSGIScriptAliasMatch ^/a/b ${APPS}/tell/one.wsgi
WSGIScriptAliasMatch ^/callable ${APPS}/tell/one.wsgi callable-object=other
WSGIScriptAliasMatch ^ ${APPS}/tell/two.wsgi
WSGIScriptAliasMatch x* ${APPS}/tell/two.wsgi
<VirtualHost 127.0.0.1:${PORT_embedded}>
    ServerName localhost
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_daemon}>
    ServerName localhost
    WSGIProcessGroup main
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_root_embedded}>
    ServerName localhost
    WSGIScriptAliasMatch ^/ ${APPS}/tell/one.wsgi
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_root_daemon}>
    ServerName localhost
    WSGIProcessGroup main
    WSGIScriptAliasMatch / ${APPS}/tell/one.wsgi
</VirtualHost>
"""


@pytest.fixture(scope="module")
def matched(module_server_factory):
    server = module_server_factory(
        MATCH, ports=("embedded", "daemon", "root_embedded", "root_daemon"), start=False
    )
    for name in ("one", "two"):
        server.write(f"apps/tell/{name}.wsgi", f"{TELL}\n\nSCRIPT = {name!r}\n")
    return server.start()


@pytest.mark.parametrize(
    ("path", "script", "script_name", "path_info"),
    [
        ("/ordered/first/x", "one", "/ordered/first", "/x"),
        ("/ordered/last", "two", "/ordered", "/last"),
        ("/anchored/one/x", "one", "/anchored/one", "/x"),
        ("/anchored/two", "two", "/anchored/two", ""),
        ("/x/any/y", "one", "/x/any", "/y"),
        ("/x/anywhere/y", "one", "/x/anywhere", "/y"),
        ("/whole", "one", "/whole", ""),
        ("/whole/x/y", "one", "/whole/x/y", ""),
        ("/rest/two/a/b", "two", "/rest/two", "/a/b"),
        ("/rest/one/", "one", "/rest/one", "/"),
        ("/zero/abc/d", "one", "", "/zero/abc/d"),
        ("/unset/abc/d", "one", "/unset/abc", "/<>/d"),
        ("/nine/abcdefghi/k", "one", "/nine/abcdefghi", "/ihgfed-a0/k"),
        ("/escaped/abc", "one", "/escaped/abc", "/$1/&"),
        ("/CASE/x", "one", "/CASE", "/x"),
        ("/part/x", "one", "/part", "/x"),
        ("/blank%20name/x", "one", "/blank name", "/x"),
        ("/ahead/x", "one", "/ahead", "/x"),
        ("/a//b/c", "one", "/a/b", "/c"),
        ("/a/%62/c", "one", "/a/b", "/c"),
    ],
)
def test_match(matched, mode, path, script, script_name, path_info):
    """What follows the match is appended to the target. SCRIPT_NAME is the URL without what it has
    in common with PATH_INFO at the end."""
    answer = told(matched.get(path, port=mode))
    assert answer == [script, "application", script_name, path_info]


@pytest.mark.parametrize(
    "path", ["/x/anchored/one", "/ahead/y", "/Part", "/nothing", "/xx", "/nine/abc"]
)
def test_what_does_not_match_is_left_to_httpd(matched, mode, path):
    """An expression that matches nothing at the beginning does not match."""
    assert matched.get(path, port=mode).status == 404


@pytest.mark.parametrize("path", ["/partial/x", "/anything"])
def test_match_need_not_end_with_a_segment(matched, mode, path):
    """What is left is a part of the name of the file then."""
    assert matched.get(path, port=mode).status == 404
    matched.expect_log("WSGI0135", count=1)


@pytest.mark.parametrize(("path", "path_info"), [("/", "/"), ("/x/y", "/x/y"), ("//x", "/x")])
def test_match_of_the_slash_alone(matched, mode, path, path_info):
    answer = told(matched.get(path, port=f"root_{mode}"))
    assert answer == ["one", "application", "", path_info]


def test_options_of_a_match(matched, mode):
    assert told(matched.get("/callable", port=mode))[1] == "other"


# With other modules

OTHERS = r"""
WSGIDaemonProcess main threads=5
WSGIApplicationGroup %{GLOBAL}

WSGIScriptAlias /app ${APPS}/tell/one.wsgi
WSGIScriptAlias /over ${APPS}/tell/one.wsgi
WSGIScriptAlias /gone ${APPS}/tell/one.wsgi
WSGIScriptAlias /source ${APPS}/tell/one.wsgi
WSGIScriptAlias /none ${APPS}/tell/one.wsgi
WSGIScriptAlias /error ${APPS}/respond/app.wsgi
WSGIScriptAlias /variables ${APPS}/environ/app.wsgi
AliasMatch ^/over/(static|media)/(.*) ${ROOT}/htdocs/$2
RedirectMatch 302 ^/gone/(.*) /app/$1
<Location /source>
    SetHandler default-handler
</Location>
<Location /none>
    SetHandler none
</Location>

RewriteEngine On
RewriteOptions Inherit
RewriteRule ^/pretty/(.*) /app/$1 [PT]
RewriteRule ^/query/(.*) /app/q?word=$1 [PT,QSA]
RewriteRule ^/file/(.*) /app/$1
RewriteRule ^/direct/(.*) ${ROOT}/programs/two.wsgi/$1 [H=wsgi-script]
RewriteRule ^/not-a-program/(.*) ${APPS}/tell/two.wsgi/$1 [H=wsgi-script]
<Directory ${ROOT}/programs>
    Require all granted
    Options ExecCGI
</Directory>
RewriteRule ^/grouped/(.*) /variables/$1 [PT,E=GROUP:main,E=word:$1]
<Location /variables>
    WSGIProcessGroup %{ENV:GROUP}
</Location>

Alias /front ${ROOT}/front
<Directory ${ROOT}/front>
    Require all granted
    Options ExecCGI FollowSymLinks
    AddHandler wsgi-script .wsgi
    RewriteEngine On
    RewriteCond %{REQUEST_FILENAME} !-f
    RewriteRule ^(.*)$ /front/app.wsgi/$1 [QSA,PT,L]
</Directory>

Action page /app
Action exact /app/exact virtual
AddType application/x-page .typed
Action application/x-page /app
<Directory ${ROOT}/htdocs>
    AddHandler page .page
    Options +Includes
    AddOutputFilter INCLUDES .shtml
</Directory>
<Location /acted>
    SetHandler exact
</Location>
<VirtualHost 127.0.0.1:${PORT_embedded}>
    ServerName localhost
    RewriteEngine On
    RewriteOptions Inherit
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_daemon}>
    ServerName localhost
    RewriteEngine On
    RewriteOptions Inherit
    WSGIProcessGroup main
    WSGIScriptAlias /over/host ${APPS}/tell/two.wsgi
</VirtualHost>
"""


@pytest.fixture(scope="module")
def among_others(module_server_factory):
    server = module_server_factory(
        OTHERS, ports=("embedded", "daemon"), modules=("rewrite", "actions", "include"), start=False
    )
    for name in ("apps/tell/one", "apps/tell/two", "front/app", "programs/two"):
        script = name.rpartition("/")[2]
        server.write(f"{name}.wsgi", f"{TELL}\n\nSCRIPT = {script!r}\n")
    server.write("htdocs/plain.txt", "a plain file\n")
    server.write("htdocs/x.page", "a page\n")
    server.write("htdocs/x.typed", "a page\n")
    server.write("htdocs/parsed.shtml", '(<!--#include virtual="/app/x/y?z" -->)')
    server.write("front/plain.txt", "a plain file\n")
    return server.start()


@pytest.mark.parametrize("path", ["/over/static/plain.txt", "/over/media/plain.txt"])
def test_alias_of_httpd_with_an_expression(among_others, mode, path):
    assert among_others.get(path, port=mode).text == "a plain file\n"
    assert told(among_others.get("/over/x", port=mode))[0] == "one"


def test_redirect_goes_before(among_others, mode):
    response = among_others.get("/gone/x", port=mode)
    assert response.status == 302
    assert response.header("location").endswith("/app/x")


@pytest.mark.parametrize(
    ("path", "script", "script_name", "path_info"),
    [
        ("/pretty/x/y", "one", "/app", "/x/y"),
        ("/query/word", "one", "/app", "/q"),
        ("/direct/x", "two", "/direct", "/x"),
        ("/front/x/y", "app", "/front/app.wsgi", "/x/y"),
        ("/front/", "app", "/front/app.wsgi", "/"),
        ("/front/app.wsgi/x", "app", "/front/app.wsgi", "/x"),
    ],
)
def test_rewritten_url(among_others, mode, path, script, script_name, path_info):
    """mod_rewrite goes before the aliases; [PT] lets them see what it made."""
    answer = told(among_others.get(path, port=mode))
    assert answer == [script, "application", script_name, path_info]


def test_file_that_the_front_controller_leaves_alone(among_others, mode):
    assert among_others.get("/front/plain.txt", port=mode).text == "a plain file\n"


def test_rewritten_url_without_pass_through(among_others, mode):
    """It is a file then, and no alias is looked at."""
    assert among_others.get("/file/x", port=mode).status == 404


def test_variables_of_a_rewritten_url(among_others, mode):
    environ = among_others.get("/grouped/abc?x=1", port=mode).json
    assert environ["mod_wsgi.process_group"][1] == "main"
    assert environ["word"][1] == "abc"
    assert environ["REQUEST_URI"][1] == "/grouped/abc?x=1"
    assert (environ["SCRIPT_NAME"][1], environ["PATH_INFO"][1]) == ("/variables", "/abc")


def test_rewritten_url_to_a_script_that_is_no_program(among_others, mode):
    assert among_others.get("/not-a-program/x", port=mode).status == 403
    among_others.expect_log("WSGI0134", count=1)


def test_set_handler_overrides_an_alias(among_others, mode):
    """Nothing is left of the alias but the file: httpd sends the source of the script."""
    response = among_others.get("/source", port=mode)
    assert response.status == 200
    assert response.text.startswith('"""Tells which script')


def test_no_handler_at_all_leaves_the_alias_its_own(among_others, mode):
    assert told(among_others.get("/none/x", port=mode)) == ["one", "application", "/none", "/x"]


@pytest.mark.parametrize(
    ("path", "path_info"),
    [("/x.page", "/x.page"), ("/x.typed", "/x.typed"), ("/acted/y", "/exact/acted/y")],
)
def test_action(among_others, mode, path, path_info):
    """An action is an internal redirect to the alias, with the URL behind it."""
    answer = told(among_others.get(path, port=mode))
    assert answer == ["one", "application", "/app", path_info]


def test_included_in_a_page(among_others, mode):
    """For a part of a page of mod_include, SCRIPT_NAME is the whole URL."""
    response = among_others.get("/parsed.shtml", port=mode)
    assert response.text == "(one|application|/app/x/y|/x/y)"


def test_virtual_host_goes_before_the_main_server(among_others):
    """Although the main server's alias stands before it, and is the shorter one."""
    assert told(among_others.get("/over/host", port="embedded"))[0] == "one"
    assert told(among_others.get("/over/host", port="daemon"))[0] == "two"


# Bodies at the gate

BODIES = """
WSGIDaemonProcess main threads=5
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /app ${APPS}/input-echo/app.wsgi
WSGIScriptAlias /chunks ${APPS}/input-echo/app.wsgi
<Location /chunks>
    WSGIChunkedRequest On
    LimitRequestBody 100
</Location>
<VirtualHost 127.0.0.1:${PORT_embedded}>
    ServerName localhost
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_daemon}>
    ServerName localhost
    WSGIProcessGroup main
</VirtualHost>
"""


@pytest.fixture(scope="module")
def with_bodies(module_server_factory):
    return module_server_factory(BODIES, ports=("embedded", "daemon"))


def exchange(server, port: str, head: str, body: bytes = b"") -> tuple[int, bytes]:
    """Status and the rest of the response to a request with these header lines."""
    with server.raw(port=port) as raw:
        lines = f"{head}Host: x\r\nConnection: close\r\n\r\n"
        raw.send(lines.encode() + body)
        response = raw.receive_all()
    return int(response.split()[1]), response.partition(b"\r\n\r\n")[2]


CHUNKS = b"3\r\none\r\n4; extension=1\r\n two\r\n0\r\nTrailer: x\r\n\r\n"


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "CHUNKED"])
def test_chunks_are_allowed(with_bodies, mode, coding):
    head = f"POST /chunks HTTP/1.1\r\nTransfer-Encoding: {coding}\r\n"
    status, body = exchange(with_bodies, mode, head, CHUNKS)
    assert status == 200
    assert b"one two" in body


@pytest.mark.parametrize("coding", ["chunked", "Chunked"])
def test_chunks_are_refused_by_default(with_bodies, mode, coding):
    head = f"POST /app HTTP/1.1\r\nTransfer-Encoding: {coding}\r\n"
    assert exchange(with_bodies, mode, head, CHUNKS)[0] == 411
    with_bodies.expect_log("WSGI0139", count=1)


@pytest.mark.parametrize("length", [0, 1, 99, 100])
def test_body_up_to_the_limit(with_bodies, mode, length):
    response = with_bodies.post("/chunks", b"x" * length, port=mode)
    assert (response.status, response.body) == (200, b"x" * length)


@pytest.mark.parametrize("length", [101, 10000])
def test_body_beyond_the_limit(with_bodies, mode, length):
    assert with_bodies.post("/chunks", b"x" * length, port=mode).status == 413
    with_bodies.tolerate_log("WSGI0317|AH01588")


def test_chunks_beyond_the_limit(with_bodies, mode):
    response = with_bodies.request("/chunks", method="POST", body=iter([b"x" * 60] * 2), port=mode)
    assert response.status == 413
    with_bodies.expect_traceback("OSError")
    with_bodies.tolerate_log("WSGI0126|AH0")
