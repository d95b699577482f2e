# SPDX-License-Identifier: Apache-2.0
"""What reaches the error log: wsgi.errors, print, tracebacks, scripts that cannot be loaded."""

import pytest

from harness.log import ErrorLog
from harness.plugin import differs
from harness.under_test import OURS, UPSTREAM

LINES = [
    "a line",
    "in pieces",
    "first",
    "second",
    r"gr\xc3\xbc\xc3\x9f",
    "one",
    "two",
    "printed 1 2",
    "the rest",
]


@pytest.mark.parametrize("stream", ["errors", "stdout", "stderr"])
def test_each_line_is_one_record(site, stream):
    site.expect_log("ERRORS-APP", count=len(LINES))
    assert site.get(f"/errors?{stream}").body == b"done"
    site.wait_log("ERRORS-APP the rest")
    records = site.find_log("ERRORS-APP")
    assert [record.message.partition("ERRORS-APP ")[2] for record in records] == LINES
    assert {(record.module, record.level) for record in records} == {("wsgi", "error")}


@pytest.mark.parametrize("stream", ["errors", "stdout", "stderr"])
def test_records_name_the_client_and_the_script(site, stream):
    site.expect_log("ERRORS-APP", count=len(LINES))
    site.get(f"/errors?{stream}")
    record = site.wait_log("ERRORS-APP a line")
    assert "127.0.0.1:" in record.message
    assert f"[script {site.server.apps}/errors/app.wsgi]" in record.message


def test_streams(site):
    expected = {
        "is a text stream": True,
        "encoding": "utf-8",
        "errors": "replace",
        "isatty": False,
        "closed": False,
        "line_buffering": True,
        "fileno": "OSError",
    }
    facts = site.get("/errors-facts").json
    assert facts == {
        "errors": expected | {"name": "<wsgi.errors>"},
        "stdout": expected | {"name": "<stdout>"},
        "stderr": expected | {"name": "<stderr>"},
    }


# Tracebacks


def test_traceback_header_names_exception_and_script(site):
    site.get("/raises?when=call&what=ValueError")
    record = site.wait_log("WSGI0174")
    assert record.level == "error"
    assert "127.0.0.1:" in record.message
    assert "ValueError" in record.message
    assert f"{site.server.apps}/raises/app.wsgi" in record.message
    site.expect_traceback("ValueError: told to raise", count=1)


@pytest.mark.difference("the traceback has its frames on every Python")
def test_traceback_has_its_frames(site):
    traceback = site.expect_traceback("RuntimeError: the outer one", count=1)
    assert site.get("/raises-deep").status == 500
    site.wait_log("RuntimeError: the outer one")
    site.server.check_log_declarations()
    text = "\n".join(traceback.lines)
    assert "KeyError: 'the inner one'" in text
    frames = [name for name in ("application", "outer", "inner") if f", in {name}" in text]
    assert frames == differs(upstream=upstream_frames(), ours=["application", "outer", "inner"])
    if OURS:
        assert text.count("Traceback (most recent call last):") == 2


def upstream_frames() -> list[str]:
    """mod_wsgi loses the outermost exception's frames before Python 3.12."""
    return ["outer", "inner"]


def test_system_exit_is_a_500_and_the_process_lives(site):
    before = site.get("/pid").body if site.mode == "daemon" else None
    assert site.get("/system-exit").status == 500
    record = site.wait_log("WSGI0175")
    assert "SystemExit" in record.message
    site.expect_traceback("SystemExit: 7", "WSGI0175", count=1)
    if before:
        assert site.get("/pid").body == before


def test_only_the_first_line_of_a_traceback_names_the_script(site):
    """What follows it has the client in front, so that the lines of one request can be found."""
    site.get("/raises?when=call&what=ValueError")
    last = site.wait_log("ValueError: told to raise")
    assert "127.0.0.1:" in last.message
    assert "[script " not in last.message
    assert "WSGI0" not in last.message
    site.expect_traceback("ValueError: told to raise", count=1)


def test_exception_that_cannot_be_told(site):
    assert site.get("/silent-exception").status == 500
    site.expect_traceback(r".*Silent: <exception str\(\) failed>", count=1)
    assert site.get("/hello").status == 200


@pytest.mark.parametrize(("when", "status"), [("start", 500), ("call", 500), ("iterate", 500)])
def test_exit_of_the_application(site, when, status):
    assert site.get(f"/raises?when={when}&what=SystemExit").status == status
    site.expect_traceback("SystemExit: told to raise", "WSGI0175", count=1)


# Scripts that cannot be used


def test_missing_callable(site):
    """mod_wsgi's answers differ by mode, and ours do too."""
    assert site.get("/no-callable").status == (500 if site.mode == "daemon" else 404)
    record = site.wait_log("WSGI0089")
    assert f"{site.server.apps}/no-callable/app.wsgi" in record.message
    assert "application" in record.message
    site.expect_log("WSGI0089", count=1)


@pytest.mark.parametrize(
    ("app", "error"),
    [
        ("not-callable", "TypeError: 'int' object is not callable"),
        ("wrong-arity", r"TypeError: application\(\) takes 1 positional argument"),
    ],
)
def test_callable_that_cannot_be_called(site, app, error):
    assert site.get(f"/{app}").status == 500
    site.expect_traceback(error, count=1)


def test_syntax_error(site):
    assert site.get("/syntax-error").status == 500
    site.expect_log("WSGI0105", count=1)
    traceback = site.expect_traceback("SyntaxError: expected ':'", count=1)
    site.wait_log("SyntaxError: expected")
    site.server.check_log_declarations()
    text = "\n".join(traceback.lines)
    assert f'File "{site.server.apps}/syntax-error/app.wsgi", line 3' in text
    assert "def application(environ, start_response)" in text


def test_import_error(site):
    assert site.get("/import-error").status == 500
    site.expect_log("WSGI0109", count=1)
    site.expect_traceback("ModuleNotFoundError: No module named 'a_module_that", count=1)


def test_exit_at_import(site):
    assert site.get("/exit-at-import").status == 500
    site.expect_log("WSGI0107", count=1)
    site.expect_traceback("SystemExit: not today", "WSGI0175", count=1)


def test_load_is_tried_again_with_each_request(site):
    for _ in range(3):
        assert site.get("/import-error").status == 500
    site.expect_log("WSGI0109", count=3)
    site.expect_traceback("ModuleNotFoundError", count=3)


def test_error_document_applies(server_factory, mode):
    server = server_factory("""
WSGIDaemonProcess main
WSGIApplicationGroup %{GLOBAL}
ErrorDocument 500 "The document of the configuration"
WSGIScriptAlias /embedded ${APPS}/raises/app.wsgi
WSGIScriptAlias /daemon ${APPS}/raises/app.wsgi process-group=main
""")
    response = server.get(f"/{mode}?when=call&what=ValueError")
    assert (response.status, response.text) == (500, "The document of the configuration")
    server.expect_traceback("ValueError: told to raise", count=1)


def test_lines_go_to_the_log_of_the_virtual_host(server_factory, mode):
    server = server_factory(
        """
WSGIDaemonProcess main
WSGIApplicationGroup %{GLOBAL}
<VirtualHost 127.0.0.1:${PORT_other}>
    ServerName localhost
    ErrorLog ${ROOT}/logs/other.log
    WSGIScriptAlias /embedded ${APPS}/errors/app.wsgi
    WSGIScriptAlias /daemon ${APPS}/errors/app.wsgi process-group=main
</VirtualHost>
""",
        ports=["other"],
    )
    other = ErrorLog(server.root / "logs/other.log")
    assert server.get(f"/{mode}?errors", port="other").status == 200
    other.wait("ERRORS-APP the rest")
    assert len(other.find("ERRORS-APP")) == len(LINES)
    assert not server.find_log("ERRORS-APP")


def test_restricted_stdout(server_factory, mode):
    server = server_factory("""
WSGIRestrictStdout On
WSGIDaemonProcess main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /embedded ${APPS}/errors/app.wsgi
WSGIScriptAlias /daemon ${APPS}/errors/app.wsgi process-group=main
""")
    assert server.get(f"/{mode}?stdout").status == 500
    server.expect_traceback("OSError: .*stdout", count=1)
    assert server.get(f"/{mode}?errors").status == 200
    server.expect_log(r"ERRORS-APP (?!.*\\n\")", count=len(LINES))
    if UPSTREAM:
        # Its Python complains about the restricted stream when it ends.
        server.expect_log("Exception ignored in: <mod_wsgi.Restricted")
        server.expect_log("OSError: sys.stdout access restricted")
