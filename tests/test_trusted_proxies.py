# SPDX-License-Identifier: Apache-2.0
"""WSGITrustedProxyHeaders and WSGITrustedProxies: whose headers change what the application sees.

Every request comes from 127.0.0.1. What the two directives accept is in test_vocabulary.py.
"""

import pytest

from harness import tls
from harness.plugin import differs
from harness.waiting import wait_until

CLIENT = ("X-Forwarded-For", "X-Client-IP", "X-Real-IP")
HOST = ("X-Forwarded-Host", "X-Host")
SERVER = ("X-Forwarded-Server",)
PORT = ("X-Forwarded-Port",)
SCRIPT_NAME = ("X-Script-Name", "X-Forwarded-Script-Name")
PROTO = ("X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Scheme")
HTTPS = ("X-Forwarded-HTTPS", "X-Forwarded-SSL", "X-HTTPS")
HEADERS = (*CLIENT, *HOST, *SERVER, *PORT, *SCRIPT_NAME, *PROTO, *HTTPS)

ALL = f"WSGITrustedProxyHeaders {' '.join(HEADERS)}\n"
LISTED = "WSGITrustedProxies 127.0.0.1 10.0.0.0/8 2001:db8:1::/48\n"
NOBODY = "WSGITrustedProxies 192.0.2.1\n"

SETTINGS = {
    "none": "",
    "only-proxies": LISTED,
    "everyone": ALL,
    "listed": ALL + LISTED,
    "nobody": ALL + NOBODY,
    "empty": ALL + "WSGITrustedProxies\n",
    "no-names": "WSGITrustedProxyHeaders\n",
    "unknown": "WSGITrustedProxyHeaders X-Unknown Forwarded Host X-Forwarded-For\n",
    "lower-case": "WSGITrustedProxyHeaders x-forwarded-for x-FORWARDED-host\n",
    "partial": "WSGITrustedProxyHeaders X-Forwarded-For\nWSGITrustedProxies 127\n",
    "mask": "WSGITrustedProxyHeaders X-Forwarded-For\nWSGITrustedProxies 127.0.0.0/255.0.0.0\n",
    "neighbour": "WSGITrustedProxyHeaders X-Forwarded-For\nWSGITrustedProxies 127.0.1.0/24\n",
    "six": "WSGITrustedProxyHeaders X-Forwarded-For\nWSGITrustedProxies ::1 fe80::/10\n",
    "appended": "WSGITrustedProxyHeaders X-Forwarded-For\n"
    "WSGITrustedProxyHeaders X-Forwarded-Host\n"
    "WSGITrustedProxies 192.0.2.1\nWSGITrustedProxies 127.0.0.1\n",
    "one-client": "WSGITrustedProxyHeaders X-Real-IP\n",
    "one-client-nobody": "WSGITrustedProxyHeaders X-Real-IP\n" + NOBODY,
    "clients-reversed": "WSGITrustedProxyHeaders X-Real-IP X-Client-IP X-Forwarded-For\n",
    "schemes-reversed": "WSGITrustedProxyHeaders X-HTTPS X-Forwarded-Proto\n",
    **{name: f"WSGITrustedProxyHeaders {name}\n" for name in HEADERS},
}

CONFIG = """
WSGIDaemonProcess main threads=3
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /embedded ${APPS}/environ/app.wsgi process-group=%{GLOBAL}
WSGIScriptAlias /daemon ${APPS}/environ/app.wsgi process-group=main
"""


def locations(settings: dict[str, str]) -> str:
    return "".join(
        f"<LocationMatch ^/(embedded|daemon)/{name}(/|$)>\n{text}</LocationMatch>\n"
        for name, text in settings.items()
    )


@pytest.fixture(scope="module")
def proxied(module_server_factory):
    server = module_server_factory(
        CONFIG + locations(SETTINGS) + tls.HOST,
        modules=("ssl", "socache_shmcb"),
        ports=("tls",),
        start=False,
    )
    tls.write_certificate(server)
    return server.start()


def environ_of(response) -> dict:
    assert response.status == 200
    return {key: value for key, (_, value) in response.json.items()}


def key_of(header: str) -> str:
    return "HTTP_" + header.upper().replace("-", "_")


def asked(server, mode: str, setting: str, headers) -> dict:
    return environ_of(server.get(f"/{mode}/{setting}/path", headers=headers))


def remaining(environ: dict) -> dict[str, str]:
    """The X- headers that are left."""
    return {key: value for key, value in environ.items() if key.startswith("HTTP_X_")}


EVERYTHING = {
    "X-Forwarded-For": "192.0.2.7",
    "X-Client-IP": "192.0.2.8",
    "X-Real-IP": "192.0.2.9",
    "X-Forwarded-Host": "front.example:8000",
    "X-Host": "host.example",
    "X-Forwarded-Server": "server.example",
    "X-Forwarded-Port": "8001",
    "X-Script-Name": "/script",
    "X-Forwarded-Script-Name": "/forwarded",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Scheme": "https",
    "X-Scheme": "https",
    "X-Forwarded-HTTPS": "on",
    "X-Forwarded-SSL": "on",
    "X-HTTPS": "on",
}


def assert_unchanged(environ: dict, server, mode: str) -> None:
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["HTTP_HOST"] == f"127.0.0.1:{server.port}"
    assert environ["SERVER_NAME"] == "127.0.0.1"
    assert environ["SERVER_PORT"] == str(server.port)
    assert environ["SCRIPT_NAME"] == f"/{mode}"
    assert environ["wsgi.url_scheme"] == "http"
    assert "mod_wsgi.mount_point" not in environ


# One header at a time, everyone trusted


@pytest.mark.parametrize(
    ("header", "value", "changed"),
    [
        ("X-Forwarded-For", "192.0.2.7", {"REMOTE_ADDR": "192.0.2.7"}),
        ("X-Client-IP", "192.0.2.7", {"REMOTE_ADDR": "192.0.2.7"}),
        ("X-Client-IP", "a, b", {"REMOTE_ADDR": "a, b"}),
        ("X-Real-IP", "2001:db8::7", {"REMOTE_ADDR": "2001:db8::7"}),
        ("X-Forwarded-Host", "front.example:8000", {"HTTP_HOST": "front.example:8000"}),
        ("X-Host", "front.example", {"HTTP_HOST": "front.example"}),
        ("X-Forwarded-Server", "front.example", {"SERVER_NAME": "front.example"}),
        ("X-Forwarded-Port", "8000", {"SERVER_PORT": "8000"}),
        ("X-Forwarded-Port", "none", {"SERVER_PORT": "none"}),
        ("X-Script-Name", "/a", {"SCRIPT_NAME": "/a", "mod_wsgi.mount_point": "/a"}),
        ("X-Script-Name", "/a//b/", {"SCRIPT_NAME": "/a//b/", "mod_wsgi.mount_point": "/a//b/"}),
        ("X-Forwarded-Script-Name", "/a", {"SCRIPT_NAME": "/a", "mod_wsgi.mount_point": "/a"}),
        *[(name, "https", {"wsgi.url_scheme": "https"}) for name in PROTO],
        *[(name, "HTTPS", {"wsgi.url_scheme": "https"}) for name in PROTO],
        *[(name, "http", {}) for name in PROTO],
        *[(name, "other", {}) for name in PROTO],
        *[(name, "On", {"wsgi.url_scheme": "https"}) for name in HTTPS],
        *[(name, "TRUE", {"wsgi.url_scheme": "https"}) for name in HTTPS],
        *[(name, "1", {"wsgi.url_scheme": "https"}) for name in HTTPS],
        *[(name, "Off", {}) for name in HTTPS],
        *[(name, "false", {}) for name in HTTPS],
        *[(name, "0", {}) for name in HTTPS],
        *[(name, "yes", {}) for name in HTTPS],
        ("X-Forwarded-SSL", "https", {}),
    ],
)
def test_header(proxied, mode, header, value, changed):
    plain = asked(proxied, mode, "none", {header: value})
    assert_unchanged(plain, proxied, mode)
    environ = asked(proxied, mode, header, {header: value})
    changing = {"REMOTE_PORT", "REQUEST_URI"}
    before = {key: plain.get(key) for key in plain if key.isupper() and key not in changing} | {
        "wsgi.url_scheme": "http"
    }
    after = {key: environ.get(key) for key in before}
    assert after == before | {"PATH_INFO": f"/{header}/path"} | {
        key: new for key, new in changed.items() if key in before
    }
    assert environ.get("mod_wsgi.mount_point") == changed.get("mod_wsgi.mount_point")
    assert environ[key_of(header)] == value


def test_scheme_header_can_say_http(proxied, mode):
    path = f"/{mode}/X-Forwarded-Proto"
    for value, scheme in (("http", "http"), ("https", "https")):
        environ = environ_of(tls.get(proxied, path, {"X-Forwarded-Proto": value}))
        assert environ["wsgi.url_scheme"] == scheme
        assert environ["REQUEST_SCHEME"] == "https"


@pytest.mark.parametrize(
    ("setting", "headers", "scheme"),
    [
        ("none", {"X-Forwarded-Proto": "http"}, "https"),
        ("everyone", {}, "https"),
        ("nobody", {"X-Forwarded-Proto": "http"}, "https"),
        ("everyone", {"X-Forwarded-Proto": "other"}, "https"),
        ("everyone", {"X-HTTPS": "off"}, "http"),
    ],
)
def test_scheme_of_an_encrypted_connection(proxied, mode, setting, headers, scheme):
    """It is https unless a header that is trusted says otherwise."""
    environ = environ_of(tls.get(proxied, f"/{mode}/{setting}", headers))
    assert environ["wsgi.url_scheme"] == scheme
    assert environ["REQUEST_SCHEME"] == "https"


# Which headers count


@pytest.mark.parametrize("setting", ["none", "only-proxies", "no-names"])
def test_without_names_all_headers_pass(proxied, mode, setting):
    environ = asked(proxied, mode, setting, EVERYTHING)
    assert_unchanged(environ, proxied, mode)
    assert remaining(environ) == {key_of(name): value for name, value in EVERYTHING.items()}


@pytest.mark.parametrize("setting", ["nobody", "empty"])
def test_client_that_is_not_trusted(proxied, mode, setting):
    environ = asked(proxied, mode, setting, EVERYTHING)
    assert_unchanged(environ, proxied, mode)
    assert remaining(environ) == {}


@pytest.mark.parametrize("setting", ["everyone", "listed"])
def test_last_header_of_a_category_wins(proxied, mode, setting):
    environ = asked(proxied, mode, setting, EVERYTHING)
    assert environ["REMOTE_ADDR"] == "192.0.2.9"
    assert environ["HTTP_HOST"] == "host.example"
    assert environ["SERVER_NAME"] == "server.example"
    assert environ["SERVER_PORT"] == "8001"
    assert environ["SCRIPT_NAME"] == environ["mod_wsgi.mount_point"] == "/forwarded"
    assert environ["wsgi.url_scheme"] == "https"
    winners = ("X-Real-IP", "X-Host", "X-Forwarded-Server", "X-Forwarded-Port")
    winners += ("X-Forwarded-Script-Name", "X-HTTPS")
    assert remaining(environ) == {key_of(name): EVERYTHING[name] for name in winners}


def test_order_is_that_of_the_configuration(proxied, mode):
    environ = asked(proxied, mode, "clients-reversed", EVERYTHING)
    assert environ["REMOTE_ADDR"] == "192.0.2.7"
    assert "HTTP_X_REAL_IP" not in environ
    assert environ["HTTP_X_FORWARDED_FOR"] == "192.0.2.7"
    environ = asked(
        proxied, mode, "schemes-reversed", {"X-HTTPS": "on", "X-Forwarded-Proto": "http"}
    )
    assert environ["wsgi.url_scheme"] == "http"


def test_later_header_applies_on_top(proxied, mode):
    """A value that says nothing leaves what an earlier header said, but counts as the last."""
    headers = {"X-Forwarded-Proto": "https", "X-HTTPS": "perhaps"}
    environ = asked(proxied, mode, "everyone", headers)
    assert environ["wsgi.url_scheme"] == "https"
    assert remaining(environ) == {"HTTP_X_HTTPS": "perhaps"}


def test_last_header_that_is_there_wins(proxied, mode):
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Host": "front.example"}
    environ = asked(proxied, mode, "everyone", headers)
    assert (environ["REMOTE_ADDR"], environ["HTTP_HOST"]) == ("192.0.2.7", "front.example")
    assert remaining(environ) == {key_of(name): value for name, value in headers.items()}


def test_other_headers_of_a_category_are_dropped(proxied, mode):
    environ = asked(proxied, mode, "one-client", EVERYTHING)
    assert environ["REMOTE_ADDR"] == "192.0.2.9"
    dropped = {"X-Forwarded-For", "X-Client-IP"}
    assert remaining(environ) == {
        key_of(name): value for name, value in EVERYTHING.items() if name not in dropped
    }


@pytest.mark.parametrize("setting", ["one-client", "one-client-nobody"])
def test_category_without_its_header_is_dropped_whole(proxied, mode, setting):
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Client-IP": "192.0.2.8", "X-Host": "h"}
    environ = asked(proxied, mode, setting, headers)
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert remaining(environ) == {"HTTP_X_HOST": "h"}


def test_names_that_are_not_known(proxied, mode):
    headers = {"X-Unknown": "1", "Forwarded": "for=192.0.2.1", "X-Forwarded-For": "192.0.2.7"}
    environ = asked(proxied, mode, "unknown", headers)
    assert environ["REMOTE_ADDR"] == "192.0.2.7"
    assert environ["HTTP_X_UNKNOWN"] == "1"
    assert environ["HTTP_FORWARDED"] == "for=192.0.2.1"
    assert environ["HTTP_HOST"] == f"127.0.0.1:{proxied.port}"


def test_names_have_no_case(proxied, mode):
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Host": "front.example"}
    environ = asked(proxied, mode, "lower-case", headers)
    assert (environ["REMOTE_ADDR"], environ["HTTP_HOST"]) == ("192.0.2.7", "front.example")


def test_directives_append_in_one_section(proxied, mode):
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Host": "front.example"}
    environ = asked(proxied, mode, "appended", headers)
    assert (environ["REMOTE_ADDR"], environ["HTTP_HOST"]) == ("192.0.2.7", "front.example")


@pytest.mark.parametrize(
    ("setting", "trusted"),
    [("partial", True), ("mask", True), ("neighbour", False), ("six", False)],
)
def test_notations_of_a_network(proxied, mode, setting, trusted):
    environ = asked(proxied, mode, setting, {"X-Forwarded-For": "192.0.2.7"})
    assert environ["REMOTE_ADDR"] == ("192.0.2.7" if trusted else "127.0.0.1")
    assert ("HTTP_X_FORWARDED_FOR" in environ) is trusted


# X-Forwarded-For


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, 192.0.2.8", "192.0.2.7"),
        ("garbage, 10.0.0.1", "garbage"),
        (" , ,192.0.2.7 ,10.0.0.1", "192.0.2.7"),
        ("127.0.0.1,192.0.2.7", "127.0.0.1"),
        ("2001:db8::7, 10.0.0.1", "2001:db8::7"),
        ("", "127.0.0.1"),
        (" , ", "127.0.0.1"),
        (",", "127.0.0.1"),
    ],
)
def test_forwarded_for_when_everyone_is_trusted(proxied, mode, value, address):
    """The first address, and the header as it came."""
    environ = asked(proxied, mode, "everyone", {"X-Forwarded-For": value})
    assert environ["REMOTE_ADDR"] == address
    assert environ["HTTP_X_FORWARDED_FOR"] == value.strip()


@pytest.mark.parametrize(
    ("value", "address", "left"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, 10.0.0.1", "192.0.2.7", "192.0.2.7, 10.0.0.1"),
        ("192.0.2.7,10.0.0.1,  127.0.0.1", "192.0.2.7", "192.0.2.7, 10.0.0.1, 127.0.0.1"),
        ("192.0.2.6, 192.0.2.7, 10.0.0.1", "192.0.2.7", "192.0.2.7, 10.0.0.1"),
        ("10.0.0.2, 192.0.2.7, 10.0.0.1", "192.0.2.7", "192.0.2.7, 10.0.0.1"),
        ("192.0.2.6, 192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.1, 192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("10.0.0.2, 10.0.0.1", "10.0.0.2", "10.0.0.2, 10.0.0.1"),
        ("garbage!, 10.0.0.1", "garbage!", "garbage!, 10.0.0.1"),
        ("192.0.2.7, garbage!", "garbage!", "garbage!"),
        ("192.0.2.7, , 10.0.0.1,,", "192.0.2.7", "192.0.2.7, 10.0.0.1"),
        ("192.0.2.7, 2001:db8:1::5", "192.0.2.7", "192.0.2.7, 2001:db8:1::5"),
        ("192.0.2.7, 2001:DB8:1::5", "192.0.2.7", "192.0.2.7, 2001:DB8:1::5"),
        ("192.0.2.7, 2001:db8:2::5", "2001:db8:2::5", "2001:db8:2::5"),
        ("192.0.2.7, [2001:db8:1::5]", "[2001:db8:1::5]", "[2001:db8:1::5]"),
        ("192.0.2.7, 10.0.0.1:8000", "10.0.0.1:8000", "10.0.0.1:8000"),
        ("", "127.0.0.1", ""),
        (" , ", "127.0.0.1", ","),
    ],
)
def test_forwarded_for_with_a_list(proxied, mode, value, address, left):
    """From the right as long as each address is trusted, and one further."""
    environ = asked(proxied, mode, "listed", {"X-Forwarded-For": value})
    assert environ["REMOTE_ADDR"] == address
    assert environ["HTTP_X_FORWARDED_FOR"] == left


def test_empty_list_of_addresses_counts_as_present(proxied, mode):
    headers = {"X-Client-IP": "192.0.2.8", "X-Forwarded-For": " , "}
    environ = asked(proxied, mode, "clients-reversed", headers)
    assert environ["REMOTE_ADDR"] == "192.0.2.8"
    assert remaining(environ) == {"HTTP_X_FORWARDED_FOR": ","}


def test_repeated_header_is_one_list(proxied, mode):
    pairs = [("X-Forwarded-For", "192.0.2.6"), ("X-Forwarded-For", "192.0.2.7, 10.0.0.1")]
    environ = asked(proxied, mode, "listed", pairs)
    assert environ["REMOTE_ADDR"] == "192.0.2.7"
    assert environ["HTTP_X_FORWARDED_FOR"] == "192.0.2.7, 10.0.0.1"


@pytest.mark.difference("an address is a number: names are not looked up")
def test_names_in_forwarded_for(proxied, mode):
    environ = asked(proxied, mode, "listed", {"X-Forwarded-For": "192.0.2.7, localhost"})
    assert environ["REMOTE_ADDR"] == differs(upstream="192.0.2.7", ours="localhost")


# What is not touched


def test_what_is_not_changed(proxied, mode):
    environ = asked(proxied, mode, "everyone", EVERYTHING)
    assert environ["REQUEST_URI"] == f"/{mode}/everyone/path"
    assert environ["PATH_INFO"] == "/everyone/path"
    assert environ["REQUEST_SCHEME"] == "http"
    assert environ["REMOTE_PORT"] != "8001"
    assert environ["mod_wsgi.script_name"] == f"/{mode}"
    assert environ["mod_wsgi.path_info"] == "/everyone/path"
    assert environ["mod_wsgi.listener_port"] == str(proxied.port)


def test_names_of_groups_are_not_changed(server_factory, mode):
    server = server_factory(
        ALL
        + """
WSGIDaemonProcess main threads=1
WSGIApplicationGroup %{HOST}
WSGIScriptAlias /embedded ${APPS}/environ/app.wsgi
WSGIScriptAlias /daemon ${APPS}/environ/app.wsgi process-group=main
"""
    )
    environ = environ_of(server.get(f"/{mode}", headers=EVERYTHING))
    assert environ["HTTP_HOST"] == "host.example"
    assert environ["mod_wsgi.application_group"] == f"127.0.0.1:{server.port}"


def test_access_is_decided_before(server_factory):
    """Neither Require ip nor an access script sees the headers' word; the access log does not."""
    server = server_factory(
        ALL
        + """
WSGIScriptAlias / ${APPS}/environ/app.wsgi application-group=%{GLOBAL}
<Location />
    Require ip 127.0.0.1
    WSGIAccessScript ${APPS}/hooks/hook.py
</Location>
""",
        modules=("authz_host",),
    )
    expression = (
        "environ['REMOTE_ADDR'] == host == '127.0.0.1' and environ['SCRIPT_NAME'] == '' "
        "and environ['HTTP_HOST'].startswith('127.0.0.1') "
        "and environ['HTTP_X_FORWARDED_FOR'] == '192.0.2.7'"
    )
    environ = environ_of(server.get("/", headers={**EVERYTHING, "X-Access": expression}))
    assert environ["REMOTE_ADDR"] == "192.0.2.9"
    log = server.root / "logs/access.log"
    wait_until(lambda: "localhost 127.0.0.1 " in log.read_text(), "the access log")


# Merging


MERGED = """
WSGITrustedProxyHeaders X-Forwarded-For
WSGITrustedProxies 127.0.0.1
<VirtualHost 127.0.0.1:${PORT_inherits}>
    ServerName localhost
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_overrides}>
    ServerName localhost
    WSGITrustedProxyHeaders X-Forwarded-Host
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_distrusts}>
    ServerName localhost
    WSGITrustedProxies 192.0.2.1
    <Directory ${APPS}/environ>
        WSGITrustedProxies 127.0.0.1
        AllowOverride FileInfo
    </Directory>
    <LocationMatch /no-one$>
        WSGITrustedProxies 192.0.2.1
    </LocationMatch>
</VirtualHost>
"""


@pytest.fixture(scope="module")
def merged(module_server_factory):
    return module_server_factory(CONFIG + MERGED, ports=("inherits", "overrides", "distrusts"))


@pytest.mark.parametrize(
    ("port", "path", "address", "host"),
    [
        ("inherits", "", "192.0.2.7", None),
        ("overrides", "", "127.0.0.1", "front.example"),
        ("distrusts", "", "192.0.2.7", None),
        ("distrusts", "/no-one", "127.0.0.1", None),
    ],
)
def test_inner_lists_replace_outer_ones(merged, mode, port, path, address, host):
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Host": "front.example"}
    environ = environ_of(merged.get(f"/{mode}{path}", port=port, headers=headers))
    assert environ["REMOTE_ADDR"] == address
    assert environ["HTTP_HOST"] == (host or f"127.0.0.1:{merged.ports[port]}")


def test_htaccess_replaces_them_too(merged, mode):
    path = merged.write("apps/environ/.htaccess", "WSGITrustedProxyHeaders X-Host\n")
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Host": "front.example"}
    environ = environ_of(merged.get(f"/{mode}", port="distrusts", headers=headers))
    path.unlink()
    assert (environ["REMOTE_ADDR"], environ["HTTP_HOST"]) == ("127.0.0.1", "front.example")


def test_mod_remoteip_says_who_the_client_is(server_factory, mode):
    server = server_factory(
        """
RemoteIPHeader X-Peer
RemoteIPInternalProxy 127.0.0.1
WSGITrustedProxyHeaders X-Forwarded-For
WSGITrustedProxies 10.0.0.1
"""
        + CONFIG,
        modules=("remoteip",),
    )
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Peer": "10.0.0.1"}
    assert environ_of(server.get(f"/{mode}", headers=headers))["REMOTE_ADDR"] == "192.0.2.7"
    headers["X-Peer"] = "10.0.0.2"
    assert environ_of(server.get(f"/{mode}", headers=headers))["REMOTE_ADDR"] == "10.0.0.2"
