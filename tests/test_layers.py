# SPDX-License-Identifier: Apache-2.0
"""Applications under what else httpd puts around a request: protocols, filters, caches, limits."""

import gzip
import json
import subprocess
import time
from urllib.parse import quote

import pytest

from harness import tls
from harness.plugin import differs
from harness.under_test import UPSTREAM

BOTH = """
WSGIApplicationGroup %{GLOBAL}
WSGIDaemonProcess main
<Macro app $name>
    WSGIScriptAlias /embedded/$name ${APPS}/$name/app.wsgi
    WSGIScriptAlias /daemon/$name ${APPS}/$name/app.wsgi process-group=main
</Macro>
Use app hello
Use app sized
Use app timed
Use app environ
Use app respond
Use app counter
Use app includes
Use app input-echo
Use app adapter
"""


@pytest.fixture(scope="module")
def server(module_server_factory):
    """Everything at once, each at a location of its own."""
    server = module_server_factory(
        "Protocols h2c h2 http/1.1\n"
        + BOTH
        + tls.HOST.replace("</VirtualHost>", "SSLOptions +StdEnvVars\n</VirtualHost>")
        + """
<LocationMatch ^/(embedded|daemon)/respond>
    Header set X-Added "by httpd"
    Header edit X-Made-Here application httpd
    Header unset X-Unwanted
    RequestHeader set X-Asked "by httpd"
</LocationMatch>
AddOutputFilterByType DEFLATE text/x-by-type
<If "%{QUERY_STRING} =~ /deflate/">
    SetOutputFilter DEFLATE
</If>
<If "%{QUERY_STRING} =~ /limited/">
    SetOutputFilter RATE_LIMIT
    SetEnv rate-limit 1024
</If>
<LocationMatch ^/(embedded|daemon)/includes>
    SetOutputFilter INCLUDES
    Options +Includes
</LocationMatch>
<Directory ${ROOT}/htdocs>
    Options +Includes
    AddOutputFilter INCLUDES .shtml
</Directory>
CacheRoot ${ROOT}/cache
CacheEnable disk /embedded/respond
CacheEnable disk /daemon/respond
CacheQuickHandler Off
<Location /nothing-here-for-embedded>
    ErrorDocument 404 /embedded/hello
</Location>
<Location /nothing-here-for-daemon>
    ErrorDocument 404 /daemon/hello
</Location>
""",
        modules=(
            *("macro", "http2", "ssl", "socache_shmcb", "headers", "deflate", "filter"),
            *("ratelimit", "include", "cache", "cache_disk"),
        ),
        ports=("tls",),
        start=False,
    )
    tls.write_certificate(server)
    (server.root / "cache").mkdir()
    (server.root / "cache").chmod(0o777)
    server.start()
    return server


def curl(server, path: str, *options: str, port: str = "", scheme: str = "http") -> bytes:
    url = f"{scheme}://127.0.0.1:{server.ports[port]}{path}"
    command = ["curl", "--silent", "--show-error", "--insecure", "--max-time", "60", *options, url]
    return subprocess.run(command, capture_output=True, check=True).stdout


def values(described: dict) -> dict:
    """What the application environ tells, without the types."""
    return {key: value for key, (_, value) in described.items()}


# HTTP/2 and TLS


def test_http2(server, mode):
    answer = curl(server, f"/{mode}/environ", "--http2-prior-knowledge")
    environ = values(json.loads(answer))
    assert environ["SERVER_PROTOCOL"] == "HTTP/2.0"
    assert environ["wsgi.url_scheme"] == "http"


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_http2_carries_large_responses(server, mode, size):
    answer = curl(server, f"/{mode}/sized?blocks={size}", "--http2-prior-knowledge")
    assert answer == (b"0123456789abcdef" * (size // 16 + 1))[:size]


def test_http2_carries_files(server, mode):
    content = b"content of a file " * 100_000
    path = server.write("htdocs/h2.bin", content)
    assert curl(server, f"/{mode}/sized?file={path}", "--http2-prior-knowledge") == content


def test_http2_carries_bodies(server, mode):
    if UPSTREAM and mode == "daemon":
        pytest.skip("mod_wsgi loses the end of what comes back")
    path = server.write("htdocs/upload.bin", b"upload " * 300_000)
    options = ("--http2-prior-knowledge", "--data-binary", f"@{path}")
    assert curl(server, f"/{mode}/input-echo", *options) == path.read_bytes()


def test_many_streams_of_one_connection(server, mode):
    """curl asks for all at once, over one connection."""
    path = f"/{mode}/sized?blocks=200000&x=[1-30]"
    answer = curl(server, path, "--http2", "--parallel", port="tls", scheme="https")
    assert len(answer) == 30 * 200_000


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_tls(server, mode, version):
    answer = curl(server, f"/{mode}/environ", version, port="tls", scheme="https")
    environ = values(json.loads(answer))
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["SSL_PROTOCOL"].startswith("TLSv1.")
    assert "HTTPS" not in environ


@pytest.mark.difference("None says that a daemon process cannot ask, where mod_wsgi says ''")
def test_tls_is_told_by_the_adapter(server, mode):
    facts = json.loads(curl(server, f"/{mode}/adapter", port="tls", scheme="https"))
    if mode == "embedded":
        assert facts["ssl_is_https"] == "1"
        assert facts["a variable"].startswith("'TLSv1.")
        assert facts["its name as bytes"] == facts["a variable"]
        assert facts["no such variable"] == "''"
    else:
        assert facts["ssl_is_https"] == "0"
        for name in ("a variable", "its name as bytes", "no such variable"):
            assert facts[name] == differs(upstream="''", ours="None")


def test_tls_carries_files(server, mode):
    """Here nothing may be mapped or sent by the kernel: each byte is encrypted."""
    content = b"content of a file " * 100_000
    path = server.write("htdocs/tls.bin", content)
    assert curl(server, f"/{mode}/sized?file={path}", port="tls", scheme="https") == content


# Filters


@pytest.mark.parametrize("what", ["blocks=300000", "file"])
def test_mod_deflate(server, mode, what):
    content = (b"0123456789abcdef" * 20_000)[:300_000]
    path = server.write("htdocs/deflate.bin", content)
    what = f"file={path}" if what == "file" else what
    response = server.get(f"/{mode}/sized?{what}&deflate=1", headers={"Accept-Encoding": "gzip"})
    assert response.header("Content-Encoding") == "gzip"
    assert response.complete
    assert len(response.body) < 20_000
    assert gzip.decompress(response.body) == content


@pytest.mark.parametrize(("kind", "encoding"), [("text/x-by-type", "gzip"), ("text/x-other", None)])
def test_filter_by_content_type(server, mode, kind, encoding):
    query = quote(repr(("200 OK", [("Content-Type", kind)], [b"body" * 1000])))
    response = server.get(f"/{mode}/respond?{query}", headers={"Accept-Encoding": "gzip"})
    assert response.header("Content-Encoding") == encoding
    body = gzip.decompress(response.body) if encoding else response.body
    assert body == b"body" * 1000


def test_mod_deflate_lets_blocks_through_at_once(server, mode):
    """A flush reaches the client through a filter that would rather wait."""
    with server.raw() as raw:
        started = time.monotonic()
        raw.send(
            f"GET /{mode}/timed?3&deflate HTTP/1.1\r\nHost: x\r\n"
            "Accept-Encoding: gzip\r\nConnection: close\r\n\r\n".encode()
        )
        data = raw.receive_until(b"\x1f\x8b")
        assert b"Content-Encoding: gzip" in data
        # The application sleeps for three seconds.
        assert time.monotonic() - started < 2
        raw.receive_all()


@pytest.mark.parametrize("what", ["blocks=2500000", "file"])
def test_mod_ratelimit(server, mode, what):
    """1 MiB a second: 2.5 MB take two seconds at the least."""
    content = (b"0123456789abcdef" * 160_000)[:2_500_000]
    path = server.write("htdocs/limited.bin", content)
    what = f"file={path}" if what == "file" else what
    started = time.monotonic()
    response = server.get(f"/{mode}/sized?{what}&limited=1")
    assert (response.body == content, response.complete) == (True, True)
    assert time.monotonic() - started > 1


def test_mod_headers(server, mode):
    headers = [("X-Made-Here", "application"), ("X-Unwanted", "here")]
    response = server.get(f"/{mode}/respond?" + quote(repr(("200 OK", headers, [b"x"]))))
    assert response.status == 200
    assert response.header("X-Added") == "by httpd"
    assert response.header("X-Made-Here") == "httpd"
    assert response.header("X-Unwanted") is None


def test_pages_include_pages_of_both_modes(server, mode):
    """mod_include makes a subrequest to a WSGI page for each element of a WSGI page."""
    for inner in ("embedded", "daemon"):
        body = server.get(f"/{mode}/includes?/{inner}/hello").body
        assert body == b"one Hello World!\ntwo Hello World!\n"


def test_includes_within_includes(server, mode):
    """Pages on one thread, of both modes in turn."""
    if UPSTREAM and mode == "daemon":
        pytest.skip("mod_wsgi loses the inner pages of a response that comes in pieces")
    other = "daemon" if mode == "embedded" else "embedded"
    body = server.get(f"/{mode}/includes?/{other}/includes?/{mode}/hello").body
    inner = b"one Hello World!\ntwo Hello World!\n"
    assert body == b"one " + inner + b"two " + inner


def test_a_page_of_httpd_includes_one_of_ours(server, mode):
    server.write("htdocs/page.shtml", f'before <!--#include virtual="/{mode}/hello" -->after')
    assert server.get("/page.shtml").body == b"before Hello World!\nafter"


# Cache


def test_mod_cache_keeps_responses_that_say_so(server, mode):
    headers = [("Cache-Control", "max-age=600"), ("Content-Type", "text/plain"), ("ETag", '"t"')]
    path = f"/{mode}/respond?" + quote(repr(("200 OK", headers, [b"cached"])))
    first, second = server.get(path), server.get(path)
    assert (first.body, second.body) == (b"cached", b"cached")
    assert first.header("Age") is None
    assert second.header("Age") is not None
    # And the cache answers conditional requests.
    assert server.get(path, headers={"If-None-Match": '"t"'}).status == 304


# Error documents


def test_an_error_document_that_is_an_application_chooses_the_status(server, mode):
    """As a CGI script would."""
    response = server.get(f"/nothing-here-for-{mode}")
    assert (response.status, response.body) == (200, b"Hello World!\n")


# Limits of httpd


def test_mod_reqtimeout(server_factory, mode):
    """A body that comes too slowly: reading it fails, and the client is told so, or left."""
    server = server_factory("RequestReadTimeout body=1\n" + BOTH, modules=("macro", "reqtimeout"))
    with server.raw() as raw:
        raw.send(
            f"POST /{mode}/input-echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n"
            .encode() + b"x"
        )  # fmt: skip
        answer = raw.receive_all()
    server.expect_traceback("OSError|TimeoutError", count=1)
    server.tolerate_log("WSGI0126|AH01382")
    assert answer == b"" or answer.split(b" ")[1] in (b"408", b"400", b"500")
    assert server.get(f"/{mode}/hello").status == 200


def test_mod_remoteip(server_factory, mode):
    server = server_factory(
        "RemoteIPHeader X-Client\nRemoteIPInternalProxy 127.0.0.1\n" + BOTH,
        modules=("macro", "remoteip"),
    )
    response = server.get(f"/{mode}/environ", headers={"X-Client": "192.0.2.7"})
    assert values(response.json)["REMOTE_ADDR"] == "192.0.2.7"
