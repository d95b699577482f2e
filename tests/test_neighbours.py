# SPDX-License-Identifier: Apache-2.0
"""Applications among other modules of httpd, arranged as sites arrange them: scripts that are found
without an alias, front controllers in .htaccess, headers and variables that other modules make.
"""

import pytest

FRONT_CONTROLLER = """
RewriteEngine On
RewriteRule ^named/(.*)$ app.wsgi/by-name/$1 [L,E=NAMED:$1,QSA]
RewriteCond %{REQUEST_FILENAME} !-f
RewriteRule ^(.*)$ app.wsgi/$1 [L]
SetEnv FROM_HTACCESS yes
"""


@pytest.fixture(scope="module")
def site_of_many(module_server_factory):
    server = module_server_factory(
        """
WSGIDaemonProcess main threads=2
WSGIApplicationGroup %{GLOBAL}
<Macro Arrangements $mode $group>
    <Directory ${ROOT}/www/$mode>
        Require all granted
        Options +ExecCGI +FollowSymLinks
        AddHandler wsgi-script .wsgi
        WSGIProcessGroup $group
        AllowOverride All
    </Directory>
    Alias /$mode/fallback ${ROOT}/www/$mode/fallback
    <Directory ${ROOT}/www/$mode/fallback>
        FallbackResource /$mode/fallback/app.wsgi
    </Directory>
    Alias /$mode/index ${ROOT}/www/$mode/index
    <Directory ${ROOT}/www/$mode/index>
        DirectoryIndex app.wsgi
    </Directory>
    Alias /$mode/front ${ROOT}/www/$mode/front
    WSGIScriptAlias /$mode/page ${APPS}/environ/app.wsgi process-group=$group
    <Location /$mode/missing>
        ErrorDocument 404 /$mode/page/not-found?of=$mode
    </Location>
    WSGIScriptAlias /$mode/headers ${APPS}/environ/app.wsgi process-group=$group
    <Location /$mode/headers>
        RequestHeader set X-Added added
        RequestHeader append X-Sent appended
        RequestHeader unset X-Gone
        SetEnvIf Authorization "^(.+)$" HTTP_AUTHORIZATION=$1
        SetEnvIf X-Sent "(.*)" SENT=$1
        SetEnvIf Remote_Addr "(.*)" CLIENT=$1
        SetEnvIfExpr "%{REQUEST_URI} =~ m#headers/(.+)#" TAIL=$1
        SetEnv EMPTY ""
        SetEnv NO_VALUE
        SetEnv TAKEN_BACK x
        UnsetEnv TAKEN_BACK
    </Location>
</Macro>
Use Arrangements embedded %{GLOBAL}
Use Arrangements daemon main
<VirtualHost 127.0.0.1:${PORT_mass}>
    UseCanonicalName Off
    VirtualDocumentRoot ${ROOT}/mass/%0
    <Directory ${ROOT}/mass>
        Require all granted
        Options +ExecCGI
        AddHandler wsgi-script .wsgi
        DirectoryIndex app.wsgi
    </Directory>
</VirtualHost>
""",
        modules=["macro", "rewrite", "headers", "vhost_alias"],
        ports=["mass"],
        start=False,
    )
    application = (server.apps / "environ/app.wsgi").read_text()
    for mode in ("embedded", "daemon"):
        for folder in ("fallback", "index", "front"):
            server.write(f"www/{mode}/{folder}/app.wsgi", application)
        server.write(f"www/{mode}/front/plain.txt", "a file\n")
        server.write(f"www/{mode}/front/.htaccess", FRONT_CONTROLLER)
    server.write("mass/one.example/app.wsgi", application)
    return server.start()


def environ_of(response) -> dict:
    assert response.status == 200, response.text
    return {key: value for key, (_, value) in response.json.items()}


@pytest.mark.parametrize(
    ("path", "script_name", "path_info"),
    [
        ("/fallback/some/where?q=1", "/fallback/app.wsgi", ""),
        ("/fallback/app.wsgi/x?q=1", "/fallback/app.wsgi", "/x"),
        ("/index/?q=1", "/index/app.wsgi", ""),
        ("/front/?q=1", "/front/app.wsgi", "/"),
        ("/front/a/b?q=1", "/front/app.wsgi", "/a/b"),
        ("/front/named/x?q=1", "/front/app.wsgi", "/by-name/x"),
    ],
)
def test_script_that_is_found_without_an_alias(site_of_many, mode, path, script_name, path_info):
    environ = environ_of(site_of_many.get(f"/{mode}{path}"))
    assert environ["SCRIPT_NAME"] == f"/{mode}{script_name}"
    assert environ["PATH_INFO"] == path_info
    assert environ["QUERY_STRING"] == "q=1"
    # The URL of the client, whatever httpd has made of it.
    assert environ["REQUEST_URI"] == f"/{mode}{path}"
    assert environ["SCRIPT_FILENAME"] == f"{site_of_many.root}/www/{mode}{script_name}"
    assert environ["mod_wsgi.process_group"] == ("main" if mode == "daemon" else "")


def test_front_controller_in_htaccess(site_of_many, mode):
    environ = environ_of(site_of_many.get(f"/{mode}/front/named/x"))
    assert environ["REDIRECT_STATUS"] == "200"
    assert environ["REDIRECT_URL"] == f"/{mode}/front/named/x"
    assert environ["REDIRECT_NAMED"] == "x"
    assert environ["FROM_HTACCESS"] == environ["REDIRECT_FROM_HTACCESS"] == "yes"
    assert site_of_many.get(f"/{mode}/front/plain.txt").text == "a file\n"


def test_document_of_an_error_is_an_application(site_of_many, mode):
    response = site_of_many.post(f"/{mode}/missing/x?a=b", b"a body")
    environ = environ_of(response)
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["PATH_INFO"] == "/not-found"
    assert environ["QUERY_STRING"] == f"of={mode}"
    assert environ["REDIRECT_STATUS"] == "404"
    assert environ["REDIRECT_REQUEST_METHOD"] == "POST"
    assert environ["REDIRECT_URL"] == f"/{mode}/missing/x"
    assert environ["REDIRECT_QUERY_STRING"] == "a=b"


def test_headers_and_variables_of_other_modules(site_of_many, mode):
    headers = {"X-Sent": "sent", "X-Gone": "gone", "Authorization": "Bearer secret"}
    environ = environ_of(site_of_many.get(f"/{mode}/headers/tail", headers=headers))
    assert environ["HTTP_X_ADDED"] == "added"
    assert environ["HTTP_X_SENT"] == "sent, appended"
    assert "HTTP_X_GONE" not in environ
    # How sites let a token through that have no WSGIPassAuthorization.
    assert environ["HTTP_AUTHORIZATION"] == "Bearer secret"
    assert environ["SENT"] == "sent"
    assert environ["CLIENT"] == environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["TAIL"] == "tail"
    assert environ["EMPTY"] == environ["NO_VALUE"] == ""
    assert "TAKEN_BACK" not in environ


@pytest.mark.parametrize(
    ("path", "script_name", "path_info"),
    [("/", "/app.wsgi", ""), ("/app.wsgi/x", "/app.wsgi", "/x")],
)
def test_folder_for_each_host(site_of_many, path, script_name, path_info):
    environ = environ_of(site_of_many.get(path, port="mass", host="one.example"))
    assert environ["DOCUMENT_ROOT"] == f"{site_of_many.root}/mass/one.example"
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script_name, path_info)
    assert environ["SERVER_NAME"] == "one.example"


def test_folder_for_a_host_that_has_none(site_of_many):
    assert site_of_many.get("/", port="mass", host="two.example").status == 404
