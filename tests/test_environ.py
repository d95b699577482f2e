# SPDX-License-Identifier: Apache-2.0
"""The environ an application gets: which keys, of which type, with which value.

How a request finds its script and its groups is in test_mapping.py and test_groups.py.
"""

import time
from urllib.parse import quote

import pytest

from harness import tls
from harness.plugin import differs
from harness.under_test import OURS


def environ_of(response) -> dict:
    """Values by key; fails unless the application answered."""
    assert response.status == 200
    return {key: value for key, (_, value) in response.json.items()}


def types_of(response) -> dict[str, str]:
    return {key: kind for key, (kind, _) in response.json.items()}


# Ours has the name of mod_wsgi 4.9, too.
OLD_NAMES = {"mod_wsgi.script_start"} if OURS else set()


def test_environ_is_a_plain_dict(site):
    assert site.get("/environ").header("X-Environ-Type") == "dict"


def test_keys_of_a_bare_request(site):
    assert set(environ_of(site.get("/environ"))) - OLD_NAMES == {
        "CONTEXT_DOCUMENT_ROOT",
        "CONTEXT_PREFIX",
        "DOCUMENT_ROOT",
        "HTTP_HOST",
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
        "apache.version",
        "mod_wsgi.application_group",
        "mod_wsgi.application_start",
        "mod_wsgi.callable_object",
        "mod_wsgi.daemon_start",
        "mod_wsgi.handler_script",
        "mod_wsgi.listener_host",
        "mod_wsgi.listener_port",
        "mod_wsgi.path_info",
        "mod_wsgi.process_group",
        "mod_wsgi.queue_start",
        "mod_wsgi.request_handler",
        "mod_wsgi.request_id",
        "mod_wsgi.request_start",
        "mod_wsgi.script_name",
        "mod_wsgi.server_pid",
        "mod_wsgi.thread_id",
        "mod_wsgi.version",
        "wsgi.errors",
        "wsgi.file_wrapper",
        "wsgi.input",
        "wsgi.input_terminated",
        "wsgi.multiprocess",
        "wsgi.multithread",
        "wsgi.run_once",
        "wsgi.url_scheme",
        "wsgi.version",
    }


def test_cgi_values_are_str(site):
    kinds = types_of(site.get("/environ/x?y", headers={"X-Some": "1"}))
    cgi = {key: kind for key, kind in kinds.items() if key.isupper()}
    assert set(cgi.values()) == {"str"}, cgi


def test_types_of_the_other_values(site):
    kinds = types_of(site.get("/environ"))
    others = {key: kind for key, kind in kinds.items() if not key.isupper()}
    assert others == dict.fromkeys(OLD_NAMES, "str") | {
        "apache.version": "tuple",
        "mod_wsgi.application_group": "str",
        "mod_wsgi.application_start": "float",
        "mod_wsgi.callable_object": "str",
        "mod_wsgi.daemon_start": "float",
        "mod_wsgi.handler_script": "str",
        "mod_wsgi.listener_host": "str",
        "mod_wsgi.listener_port": "str",
        "mod_wsgi.path_info": "str",
        "mod_wsgi.process_group": "str",
        "mod_wsgi.queue_start": "float",
        "mod_wsgi.request_handler": "str",
        "mod_wsgi.request_id": "str",
        "mod_wsgi.request_start": "float",
        "mod_wsgi.script_name": "str",
        "mod_wsgi.server_pid": "str",
        "mod_wsgi.thread_id": "int",
        "mod_wsgi.version": "tuple",
        "wsgi.errors": "TextIOWrapper",
        "wsgi.file_wrapper": "type",
        "wsgi.input": "Input",
        "wsgi.input_terminated": "bool",
        "wsgi.multiprocess": "bool",
        "wsgi.multithread": "bool",
        "wsgi.run_once": "bool",
        "wsgi.url_scheme": "str",
        "wsgi.version": "tuple",
    }


def test_values_of_the_cgi_keys(site):
    environ = environ_of(site.get("/environ/some/path?a=1&b=%20"))
    root = site.server.root
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["SCRIPT_NAME"] == "/environ"
    assert environ["PATH_INFO"] == "/some/path"
    assert environ["QUERY_STRING"] == "a=1&b=%20"
    assert environ["REQUEST_URI"] == "/environ/some/path?a=1&b=%20"
    assert environ["REQUEST_SCHEME"] == "http"
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert environ["SERVER_NAME"] == "127.0.0.1"
    assert environ["SERVER_PORT"] == str(site.port)
    assert environ["SERVER_ADDR"] == "127.0.0.1"
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert 1024 <= int(environ["REMOTE_PORT"]) <= 65535
    assert environ["SERVER_SOFTWARE"].startswith("Apache/2.4")
    assert environ["SERVER_ADMIN"] == "[no address given]"
    assert environ["DOCUMENT_ROOT"] == f"{root}/htdocs"
    assert environ["CONTEXT_DOCUMENT_ROOT"] == f"{root}/htdocs"
    assert environ["CONTEXT_PREFIX"] == ""
    assert environ["SCRIPT_FILENAME"] == f"{root}/apps/environ/app.wsgi"
    assert environ["HTTP_HOST"] == f"127.0.0.1:{site.port}"


def test_values_of_the_wsgi_keys(site):
    environ = environ_of(site.get("/environ"))
    assert environ["wsgi.version"] == [1, 0]
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["wsgi.input_terminated"] is True
    assert environ["wsgi.run_once"] is False


def test_values_of_the_mod_wsgi_keys(site):
    before = time.time()
    environ = environ_of(site.get("/environ/x//y"))
    after = time.time()
    daemon = site.mode == "daemon"
    assert environ["mod_wsgi.process_group"] == ("site" if daemon else "")
    assert environ["mod_wsgi.application_group"] == ""
    assert environ["mod_wsgi.callable_object"] == "application"
    assert environ["mod_wsgi.request_handler"] == "wsgi-script"
    assert environ["mod_wsgi.handler_script"] == ""
    assert environ["mod_wsgi.script_name"] == "/environ"
    assert environ["mod_wsgi.path_info"] == "/x/y"
    assert environ["mod_wsgi.listener_port"] == str(site.port)
    assert int(environ["mod_wsgi.server_pid"]) in {p.pid for p in site.server.httpd_children}
    assert [type(part) for part in environ["mod_wsgi.version"]] == [int, int, int]
    assert environ["mod_wsgi.thread_id"] >= 0
    assert before - 1 <= environ["mod_wsgi.request_start"] <= after
    assert environ["mod_wsgi.request_start"] <= environ["mod_wsgi.application_start"] <= after
    if daemon:
        assert (
            environ["mod_wsgi.request_start"]
            <= environ["mod_wsgi.queue_start"]
            <= environ["mod_wsgi.daemon_start"]
            <= environ["mod_wsgi.application_start"]
        )
    else:
        assert environ["mod_wsgi.queue_start"] == 0.0
        assert environ["mod_wsgi.daemon_start"] == 0.0


def test_apache_version_is_the_one_of_the_headers(site):
    text = site.get("/hello").header("Server")
    version = environ_of(site.get("/environ"))["apache.version"]
    assert text.startswith("Apache/" + ".".join(map(str, version)))


def test_request_id_is_new_for_each_request(site):
    ids = {environ_of(site.get("/environ"))["mod_wsgi.request_id"] for _ in range(5)}
    assert len(ids) == 5
    assert all(ids)


# SCRIPT_NAME, PATH_INFO, REQUEST_URI


@pytest.mark.parametrize(
    ("path", "script_name", "path_info"),
    [
        ("/environ", "/environ", ""),
        ("/environ/", "/environ", "/"),
        ("/environ/a/b", "/environ", "/a/b"),
        ("/environ/a/b/", "/environ", "/a/b/"),
        ("/environ//a///b", "/environ", "/a/b"),
        ("//environ/a", "/environ", "/a"),
        ("/environ/a/./b/../c", "/environ", "/a/c"),
        ("/environ/a%20b", "/environ", "/a b"),
        ("/environ/%C3%A9", "/environ", "/\u00c3\u00a9"),
        ("/environ/%E9", "/environ", "/\u00e9"),
        ("/environ/%FF%80", "/environ", "/\u00ff\u0080"),
        ("/environ/a+b", "/environ", "/a+b"),
        ("/environ/%3Fq", "/environ", "/?q"),
        ("/environ/%25", "/environ", "/%"),
    ],
)
def test_script_name_and_path_info(site, path, script_name, path_info):
    environ = environ_of(site.get(path))
    assert environ["SCRIPT_NAME"] == script_name
    assert environ["PATH_INFO"] == path_info
    assert environ["mod_wsgi.script_name"] == script_name
    assert environ["mod_wsgi.path_info"] == path_info
    assert environ["REQUEST_URI"] == path


def test_encoded_slash_in_the_path_is_httpds_404(site):
    assert site.get("/environ/a%2Fb").status == 404
    site.expect_log("AH00026")


def test_request_uri_of_an_absolute_request_line(site):
    with site.raw() as raw:
        raw.send(
            b"GET http://example.org:81/environ/x?q HTTP/1.1\r\n"
            b"Host: ignored\r\nConnection: close\r\n\r\n"
        )
        answer = raw.receive_all()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"http://example.org:81/environ/x?q"' in answer
    assert b'"SERVER_NAME": ["str", "example.org"]' in answer
    assert b'"SERVER_PORT": ["str", "81"]' in answer


def test_query_string_is_raw(site):
    environ = environ_of(site.get("/environ?a=%C3%A9&b=+%2f%2F&&c"))
    assert environ["QUERY_STRING"] == "a=%C3%A9&b=+%2f%2F&&c"


def test_server_name_and_port_follow_the_host_header(site):
    environ = environ_of(site.get("/environ", host="Example.ORG:8123"))
    assert environ["SERVER_NAME"].lower() == "example.org"
    assert environ["SERVER_PORT"] == "8123"
    assert environ["HTTP_HOST"] == "Example.ORG:8123"


def test_http_1_0(site):
    with site.raw() as raw:
        raw.send(b"GET /environ HTTP/1.0\r\n\r\n")
        answer = raw.receive_all()
    assert b'"SERVER_PROTOCOL": ["str", "HTTP/1.0"]' in answer
    assert b"HTTP_HOST" not in answer
    assert b'"SERVER_NAME": ["str", "localhost"]' in answer


# Headers


def test_headers_become_keys(site):
    environ = environ_of(
        site.get("/environ", headers={"X-Some-Thing": "value", "aCCept": "text/x", "X9": "nine"})
    )
    assert environ["HTTP_X_SOME_THING"] == "value"
    assert environ["HTTP_ACCEPT"] == "text/x"
    assert environ["HTTP_X9"] == "nine"


def test_empty_header_value_is_kept(site):
    assert environ_of(site.get("/environ", headers={"X-Empty": ""}))["HTTP_X_EMPTY"] == ""


def test_latin_1_header_value(site):
    environ = environ_of(site.get("/environ", headers={"X-Latin": "gr\u00fc\u00df"}))
    assert environ["HTTP_X_LATIN"] == "gr\u00fc\u00df"


def test_repeated_headers_are_joined(site):
    pairs = [("X-Many", "1"), ("Cookie", "a=1"), ("x-many", "2"), ("Cookie", "b=2")]
    environ = environ_of(site.get("/environ", headers=pairs))
    assert environ["HTTP_X_MANY"] == "1, 2"
    assert environ["HTTP_COOKIE"] == "a=1, b=2"


def test_headers_with_odd_names_are_dropped(site):
    headers = {"X_Under": "1", "X.Dot": "2", "X~Tilde": "3", "X-Good": "4", "X_Good": "5"}
    environ = environ_of(site.get("/environ", headers=headers))
    assert environ["HTTP_X_GOOD"] == "4"
    assert {key for key in environ if key.startswith("HTTP_X")} == {"HTTP_X_GOOD"}


def test_proxy_header_is_never_passed(site):
    environ = environ_of(site.get("/environ", headers={"Proxy": "http://evil"}))
    assert "HTTP_PROXY" not in environ
    assert "http://evil" not in environ.values()


def test_body_headers(site):
    environ = environ_of(site.post("/environ", b"12345", headers={"Content-Type": "text/x"}))
    assert environ["CONTENT_TYPE"] == "text/x"
    assert environ["CONTENT_LENGTH"] == "5"
    assert "HTTP_CONTENT_TYPE" not in environ
    assert "HTTP_CONTENT_LENGTH" not in environ
    assert environ["REQUEST_METHOD"] == "POST"


def test_no_body_headers_without_a_body(site):
    environ = environ_of(site.get("/environ"))
    assert "CONTENT_TYPE" not in environ
    assert "CONTENT_LENGTH" not in environ


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_method(site, method):
    assert environ_of(site.request("/environ", method=method))["REQUEST_METHOD"] == method


def test_head_keeps_its_method_and_has_no_body(site):
    response = site.request("/environ", method="HEAD")
    assert response.status == 200
    assert response.header("X-Method") == "HEAD"
    assert int(response.header("Content-Length")) > 0
    assert response.body == b""


# What the configuration decides


@pytest.fixture(scope="module")
def configured(module_server_factory):
    return module_server_factory(
        """
WSGIDaemonProcess main
WSGIDaemonProcess one-thread threads=1
WSGIDaemonProcess one-process processes=1 threads=2
WSGIDaemonProcess two-processes processes=2 threads=1
WSGIDaemonProcess run-once threads=1 maximum-requests=1
WSGIApplicationGroup %{GLOBAL}
<Macro Everything $mode $group>
    WSGIScriptAlias /$mode/plain ${APPS}/environ/app.wsgi process-group=$group
    WSGIScriptAlias /$mode/option ${APPS}/environ/app.wsgi process-group=$group \\
        pass-authorization=On
    WSGIScriptAlias /$mode/option-off ${APPS}/environ/app.wsgi process-group=$group \\
        pass-authorization=Off
    WSGIScriptAlias /$mode/directive ${APPS}/environ/app.wsgi process-group=$group
    WSGIScriptAlias /$mode/setenv ${APPS}/environ/app.wsgi process-group=$group
    WSGIScriptAlias /$mode/https-1 ${APPS}/environ/app.wsgi process-group=$group
    WSGIScriptAlias /$mode/https-off ${APPS}/environ/app.wsgi process-group=$group
    WSGIScriptAlias /$mode/https-lower ${APPS}/environ/app.wsgi process-group=$group
    <Location /$mode/option-off>
        WSGIPassAuthorization On
    </Location>
    <Location /$mode/directive>
        WSGIPassAuthorization On
    </Location>
    <Location /$mode/setenv>
        SetEnv SET_BY_CONFIG "a value"
        SetEnv LATIN caf\u00e9
        SetEnv GR\u00dcN gr\u00fcn
        SetEnv REQUEST_METHOD FAKE
        SetEnv QUERY_STRING fake
        SetEnv SERVER_NAME fake
        SetEnv HTTP_X_SENT fake
        SetEnv wsgi.unknown "passed through"
        SetEnv wsgi.url_scheme gopher
        SetEnv wsgi.input fake
        SetEnv mod_wsgi.version fake
        SetEnv mod_wsgi.process_group fake
        SetEnv mod_wsgi.x-foo hidden
        SetEnv PATH /fake
        SetEnv HTTPS on
    </Location>
    <Location /$mode/https-1>
        SetEnv HTTPS 1
    </Location>
    <Location /$mode/https-off>
        SetEnv HTTPS off
    </Location>
    <Location /$mode/https-lower>
        SetEnv https On
    </Location>
</Macro>
Use Everything embedded %{GLOBAL}
Use Everything daemon main
WSGIScriptAlias /one-thread ${APPS}/environ/app.wsgi process-group=one-thread
WSGIScriptAlias /one-process ${APPS}/environ/app.wsgi process-group=one-process
WSGIScriptAlias /two-processes ${APPS}/environ/app.wsgi process-group=two-processes
WSGIScriptAlias /run-once ${APPS}/environ/app.wsgi process-group=run-once
""",
        modules=["macro"],
    )


CREDENTIALS = {"Authorization": "Bearer secret", "Proxy-Authorization": "Basic other"}


def test_authorization_is_hidden_by_default(configured, mode):
    environ = environ_of(configured.get(f"/{mode}/plain", headers=CREDENTIALS))
    assert not {key for key in environ if "AUTHORIZATION" in key}


@pytest.mark.parametrize("how", ["directive", "option"])
def test_authorization_is_passed_when_asked(configured, mode, how):
    environ = environ_of(configured.get(f"/{mode}/{how}", headers=CREDENTIALS))
    assert environ["HTTP_AUTHORIZATION"] == "Bearer secret"
    assert "HTTP_PROXY_AUTHORIZATION" not in environ


def test_alias_option_beats_the_directive(configured, mode):
    environ = environ_of(configured.get(f"/{mode}/option-off", headers=CREDENTIALS))
    assert "HTTP_AUTHORIZATION" not in environ


def test_variables_of_the_configuration(configured, mode):
    response = configured.get(f"/{mode}/setenv?real", headers={"X-Sent": "real"})
    environ = environ_of(response)
    assert environ["SET_BY_CONFIG"] == "a value"
    assert environ["LATIN"] == "caf\u00c3\u00a9"
    # Names are text, and only values are bytes in the disguise of text.
    assert environ["GR\u00dcN"] == "gr\u00c3\u00bcn"
    assert environ["wsgi.unknown"] == "passed through"


def test_cgi_values_beat_variables_of_the_configuration(configured, mode):
    environ = environ_of(configured.get(f"/{mode}/setenv?real", headers={"X-Sent": "real"}))
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["QUERY_STRING"] == "real"
    assert environ["SERVER_NAME"] == "127.0.0.1"
    assert environ["HTTP_X_SENT"] == "real"


def test_reserved_keys_cannot_be_set_by_the_configuration(configured, mode):
    response = configured.get(f"/{mode}/setenv")
    environ, kinds = environ_of(response), types_of(response)
    assert kinds["wsgi.input"] == "Input"
    assert kinds["mod_wsgi.version"] == "tuple"
    assert environ["mod_wsgi.process_group"] == ("main" if mode == "daemon" else "")
    assert "mod_wsgi.x-foo" not in environ


def test_path_and_https_are_no_keys(configured, mode):
    environ = environ_of(configured.get(f"/{mode}/setenv"))
    assert "PATH" not in environ
    assert "HTTPS" not in environ


@pytest.mark.parametrize(
    ("path", "scheme"),
    [
        ("plain", "http"),
        ("setenv", "https"),
        ("https-1", "https"),
        ("https-off", "http"),
        ("https-lower", "https"),
    ],
)
def test_scheme_follows_the_https_variable(configured, mode, path, scheme):
    environ = environ_of(configured.get(f"/{mode}/{path}"))
    assert environ["wsgi.url_scheme"] == scheme
    assert environ["REQUEST_SCHEME"] == "http"


@pytest.mark.parametrize(
    ("group", "multithread", "multiprocess", "run_once"),
    [
        ("daemon/plain", True, False, False),
        ("one-thread", False, False, False),
        ("one-process", True, True, False),
        ("two-processes", False, True, False),
        ("run-once", False, False, True),
    ],
)
def test_concurrency_flags_in_daemon_mode(configured, group, multithread, multiprocess, run_once):
    environ = environ_of(configured.get(f"/{group}"))
    assert environ["wsgi.multithread"] is multithread
    assert environ["wsgi.multiprocess"] is multiprocess
    assert environ["wsgi.run_once"] is run_once


def test_concurrency_flags_in_embedded_mode(configured, mpm):
    environ = environ_of(configured.get("/embedded/plain"))
    assert environ["wsgi.multithread"] is (mpm != "prefork")
    assert environ["wsgi.multiprocess"] is True
    assert environ["wsgi.run_once"] is False


# What httpd and its other modules set


@pytest.fixture(scope="module")
def surroundings(module_server_factory):
    server = module_server_factory(
        """
WSGIDaemonProcess main
WSGIApplicationGroup %{GLOBAL}
Define ENVIRON ${APPS}/environ/app.wsgi
<Macro Everything $mode $group>
    WSGIScriptAlias /$mode ${ENVIRON} process-group=$group
    WSGIScriptAlias /$mode-error ${ENVIRON} process-group=$group
    WSGIScriptAlias /$mode-auth ${ENVIRON} process-group=$group
    <Location /$mode/spelling>
        SetEnv http_host fake
        SetEnv Server_Name fake
        SetEnv remote_user nobody
    </Location>
    Alias /$mode/gone ${ROOT}/htdocs/no-such-file
    Alias /$mode-auth/gone ${ROOT}/htdocs/no-such-file
    <LocationMatch ^/$mode(-auth)?/gone>
        ErrorDocument 404 /$mode-error/page
        SetEnv SET_BEFORE "a value"
    </LocationMatch>
    <LocationMatch ^/$mode/gone/qualified>
        ErrorDocument 404 /$mode-error/qualified
    </LocationMatch>
    <Location /$mode-error/qualified>
        QualifyRedirectURL On
    </Location>
    <Location /$mode/current-uri>
        CGIVar REQUEST_URI current-uri
    </Location>
    <Location /$mode/cgi-pass>
        CGIPassAuth On
    </Location>
    <Location /$mode/cgi-pass-off>
        CGIPassAuth Off
    </Location>
    <Location /$mode/absent>
        SetEnv GATEWAY_INTERFACE CGI/9
    </Location>
    <Location /$mode-auth>
        AuthType Basic
        AuthName realm
        AuthBasicProvider file
        AuthUserFile ${ROOT}/conf/passwords
        Require valid-user
    </Location>
    RewriteRule ^/$mode/rewritten/(.*)$ /$mode/target/$1?new [PT,E=BY_RULE:$1]
    RewriteRule ^/$mode/forbidden - [E=SEEN:yes]
</Macro>
RewriteEngine On
Use Everything embedded %{GLOBAL}
Use Everything daemon main
SetEnvIf User-Agent "^Test(.*)" BY_HEADER=$1 SECOND
PassEnv GIVEN_TO_HTTPD
""",
        modules=(
            *("macro", "rewrite", "unique_id", "auth_basic", "authn_core", "authn_file"),
            "authz_user",
        ),
        environment={"GIVEN_TO_HTTPD": "from outside"},
        start=False,
    )
    server.write("conf/passwords", "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")  # "secret"
    return server.start()


BASIC = {"Authorization": "Basic YW5uOnNlY3JldA=="}


def test_first_spelling_of_a_key_wins(surroundings, mode):
    """httpd's tables have no case: what is computed replaces the value and not the name."""
    environ = environ_of(surroundings.get(f"/{mode}/spelling"))
    assert environ["http_host"] == f"127.0.0.1:{surroundings.port}"
    assert environ["Server_Name"] == "127.0.0.1"
    assert environ["remote_user"] == "nobody"
    assert not {"HTTP_HOST", "SERVER_NAME", "REMOTE_USER"} & set(environ)


def test_variables_of_other_modules(surroundings, mode):
    headers = {"User-Agent": "Test client"}
    environ = environ_of(surroundings.get(f"/{mode}/rewritten/x/y?old", headers=headers))
    assert environ["BY_RULE"] == "x/y"
    assert environ["BY_HEADER"] == " client"
    assert environ["SECOND"] == "1"
    assert environ["GIVEN_TO_HTTPD"] == "from outside"
    assert environ["PATH_INFO"] == "/target/x/y"
    assert environ["QUERY_STRING"] == "new"
    assert environ["REQUEST_URI"] == f"/{mode}/rewritten/x/y?old"


def test_unique_id(surroundings, mode):
    ids = [environ_of(surroundings.get(f"/{mode}"))["UNIQUE_ID"] for _ in range(2)]
    assert len(set(ids)) == 2


def test_internal_redirect(surroundings, mode):
    environ = environ_of(surroundings.get(f"/{mode}/gone?q", headers={"X-Sent": "1"}))
    assert environ["REDIRECT_STATUS"] == "404"
    assert environ["REDIRECT_URL"] == f"/{mode}/gone"
    assert environ["REDIRECT_QUERY_STRING"] == "q"
    assert environ["REDIRECT_SET_BEFORE"] == "a value"
    assert environ["REQUEST_URI"] == f"/{mode}/gone?q"
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["SCRIPT_NAME"] == f"/{mode}-error"
    assert environ["PATH_INFO"] == "/page"
    assert environ["HTTP_X_SENT"] == "1"
    assert "SET_BEFORE" not in environ


def test_qualified_redirect_url(surroundings, mode):
    environ = environ_of(surroundings.get(f"/{mode}/gone/qualified/x"))
    host = f"http://127.0.0.1:{surroundings.port}"
    assert environ["REDIRECT_URL"] == f"{host}/{mode}/gone/qualified/x"


def test_user_before_an_internal_redirect(surroundings, mode):
    environ = environ_of(surroundings.get(f"/{mode}-auth/gone", headers=BASIC))
    assert environ["REDIRECT_REMOTE_USER"] == "ann"
    assert "REMOTE_USER" not in environ


@pytest.mark.difference("what is said to daemon processes is for nobody else")
def test_inner_keys_after_a_redirect_by_the_application(server_factory):
    """A 200 with a Location that is a path is a redirect inside httpd, in daemon mode."""
    server = server_factory("""
WSGIDaemonProcess main
WSGIApplicationGroup %{GLOBAL}
WSGIProcessGroup main
WSGIScriptAlias /respond ${APPS}/respond/app.wsgi
WSGIScriptAlias /environ ${APPS}/environ/app.wsgi
""")
    answer = ("200 OK", [("Location", "/environ/there"), ("Content-Type", "text/plain")], [b""])
    environ = environ_of(server.get(f"/respond?{quote(repr(answer))}"))
    assert environ["PATH_INFO"] == "/there"
    assert environ["REDIRECT_URL"] == "/respond"
    inner = {key for key in environ if "mod_wsgi.x-" in key}
    assert bool(inner) is differs(upstream=True, ours=False)


def test_current_uri(surroundings, mode):
    environ = environ_of(surroundings.get(f"/{mode}/current-uri/x%20y?q"))
    assert environ["REQUEST_URI"] == f"/{mode}/current-uri/x y"


def test_cgi_pass_auth(surroundings, mode):
    environ = environ_of(surroundings.get(f"/{mode}/cgi-pass", headers=CREDENTIALS))
    assert environ["HTTP_AUTHORIZATION"] == "Bearer secret"
    assert environ["HTTP_PROXY_AUTHORIZATION"] == "Basic other"
    environ = environ_of(surroundings.get(f"/{mode}/cgi-pass-off", headers=CREDENTIALS))
    assert not {key for key in environ if "AUTHORIZATION" in key}


def test_user(surroundings, mode):
    environ = environ_of(surroundings.get(f"/{mode}-auth", headers=BASIC))
    assert environ["REMOTE_USER"] == "ann"
    assert environ["AUTH_TYPE"] == "Basic"
    assert "HTTP_AUTHORIZATION" not in environ
    environ = environ_of(surroundings.get(f"/{mode}", headers=BASIC))
    assert not {"REMOTE_USER", "AUTH_TYPE", "REDIRECT_REMOTE_USER"} & set(environ)


ABSENT = {"PATH_TRANSLATED", "SERVER_SIGNATURE", "REMOTE_HOST", "REMOTE_IDENT", "PATH"}
ABSENT |= {"LD_LIBRARY_PATH", "GATEWAY_INTERFACE", "HTTPS", "mod_wsgi.mount_point"}
ABSENT |= {"apache.request_rec", "mod_ssl.is_https", "mod_ssl.var_lookup"}
# Of mod_wsgi 4.9.
ABSENT |= {"mod_wsgi.total_requests", "mod_wsgi.thread_requests", "mod_wsgi.magic"}
ABSENT |= {"mod_wsgi.script_reloading", "mod_wsgi.enable_sendfile", "mod_wsgi.ignore_activity"}


def test_keys_that_are_absent(surroundings, mode):
    environ = environ_of(surroundings.get(f"/{mode}/x"))
    assert not ABSENT & set(environ)
    assert not {key for key in environ if "mod_wsgi.x-" in key}


def test_variable_of_the_configuration_that_is_not_computed(surroundings, mode):
    environ = environ_of(surroundings.get(f"/{mode}/absent"))
    assert environ["GATEWAY_INTERFACE"] == "CGI/9"


@pytest.mark.ours_only("mod_wsgi 6 has application_start only")
def test_script_start_of_mod_wsgi_4(site):
    """The older name: microseconds, as text."""
    response = site.get("/environ")
    environ = environ_of(response)
    assert types_of(response)["mod_wsgi.script_start"] == "str"
    start = int(environ["mod_wsgi.script_start"]) / 1e6
    assert abs(start - environ["mod_wsgi.application_start"]) < 0.001


@pytest.fixture(scope="module")
def encrypted(module_server_factory):
    server = module_server_factory(
        """
WSGIDaemonProcess main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /embedded ${APPS}/environ/app.wsgi
WSGIScriptAlias /daemon ${APPS}/environ/app.wsgi process-group=main
<LocationMatch /variables$>
    SSLOptions +StdEnvVars
</LocationMatch>
"""
        + tls.HOST,
        modules=("ssl", "socache_shmcb"),
        ports=("tls",),
        start=False,
    )
    tls.write_certificate(server)
    return server.start()


def test_encrypted_connection(encrypted, mode):
    environ = environ_of(tls.get(encrypted, f"/{mode}"))
    assert environ["wsgi.url_scheme"] == environ["REQUEST_SCHEME"] == "https"
    assert environ["SERVER_PORT"] == str(encrypted.ports["tls"])
    assert "HTTPS" not in environ
    assert not {key for key in environ if key.startswith("SSL_") and key != "SSL_TLS_SNI"}


def test_variables_of_mod_ssl(encrypted, mode):
    environ = environ_of(tls.get(encrypted, f"/{mode}/variables"))
    assert environ["SSL_PROTOCOL"].startswith("TLS")
    assert environ["SSL_SERVER_S_DN_CN"] == "localhost"
    assert environ["SSL_CIPHER"]
    plain = environ_of(encrypted.get(f"/{mode}/variables"))
    assert plain["wsgi.url_scheme"] == "http"
    assert not {key for key in plain if key.startswith("SSL_")}


def test_environ_is_new_for_each_request(site):
    with site.connection() as connection:
        first = connection.request("/environ", headers={"X-First": "1"})
        second = connection.request("/environ")
    assert "HTTP_X_FIRST" in environ_of(first)
    assert "HTTP_X_FIRST" not in environ_of(second)
