# SPDX-License-Identifier: Apache-2.0
"""Environments whose `sitecustomize` prints, or fails, when their interpreter starts."""

import pytest

PRINTS = """
import atexit, os, sys
print("2.7.18\\n/nowhere\\n/no/library")
print("SITE-TEST stderr", file=sys.stderr)
os.write(1, b"SITE-TEST " + b"x" * 20000 + b"\\n")
atexit.register(print, "SITE-TEST at exit")
"""

RAISES = 'raise ValueError("SITE-TEST no")'

EXITS = 'raise SystemExit("SITE-TEST not today")'


EMBEDDED = """
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /embedded ${APPS}/evaluate/app.wsgi
"""

DAEMON = """
WSGIDaemonProcess main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /daemon ${APPS}/evaluate/app.wsgi process-group=main
"""


@pytest.fixture
def home(venv):
    def home(name: str, sitecustomize: str):
        """An environment with this file."""
        path = venv(f"site-{name}").path
        # Not by asking its interpreter.
        [packages] = path.glob("lib/python3*/site-packages")
        (packages / "sitecustomize.py").write_text(sitecustomize)
        # The system may have one of its own, which would come before.
        first = f"import sys; sys.path.insert(0, {str(packages)!r})\n"
        (packages / "first.pth").write_text(first)
        return path

    return home


@pytest.mark.parametrize(("name", "code"), [("prints", PRINTS), ("raises", RAISES)])
def test_sitecustomize_that_prints_or_raises(server_factory, home, mode, name, code):
    """Python goes on, and so does the server."""
    path = home(name, code)
    server = server_factory(f"WSGIPythonHome {path}\n{EMBEDDED}{DAEMON}")
    response = server.get(f"/{mode}?sys.prefix")
    assert (response.status, response.text) == (200, repr(str(path)))
    assert not server.find_log("WSGI0")
    # What is printed before there are streams of ours.
    server.tolerate_log(
        "SITE-TEST|x{1000}|2.7.18|/nowhere|/no/library|Error in sitecustomize|PYTHONVERBOSE"
    )


@pytest.mark.ours_only("mod_wsgi's processes crash")
def test_sitecustomize_that_exits_in_embedded_mode(server_factory, home):
    server = server_factory(f"WSGIPythonHome {home('exits', EXITS)}\n{EMBEDDED}")
    reason = "WSGI0100: Python at .* ended with exit code 1 while it started: .*SITE-TEST not today"
    for _ in range(2):
        assert server.get("/embedded?1").status == 500
    record = server.wait_log("WSGI0210: Python is not running in this httpd child")
    assert record.level == "error"
    server.expect_log(rf"WSGI0210: .* {reason}", count=2)
    # Once in each child.
    server.expect_log(rf"\[wsgi:crit\].* WSGI0001: .*{reason}")
    server.expect_log(rf"\[wsgi:warn\] \[[^]]*\] {reason}")


@pytest.mark.ours_only("mod_wsgi's processes crash")
def test_sitecustomize_that_exits_in_a_daemon_process(server_factory, home):
    server = server_factory(f"WSGIPythonHome {home('exits', EXITS)}\n{DAEMON}")
    assert server.get("/daemon?1").status == 503
    server.expect_log("SystemExit: SITE-TEST not today")
    server.expect_log("WSGI0301: .* they fail to start, the reason is in the log before", count=1)
    server.expect_log(r"WSGI0308: .* did not start: .* ended with exit code 1")
    server.tolerate_log(r'Fatal Python error|Python runtime state|Traceback|  File "|    raise|^$')
