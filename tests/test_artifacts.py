# SPDX-License-Identifier: Apache-2.0
"""The files that were built, and what loading them costs httpd."""

import re
import subprocess
from pathlib import Path

import pytest

from harness import httpd_build
from harness.under_test import OURS
from harness.waiting import wait_until

MIB = 1024 * 1024


def needed(artifact) -> list[str]:
    text = subprocess.run(
        ["readelf", "-d", artifact], check=True, capture_output=True, text=True
    ).stdout
    return [line.partition("[")[2].rstrip("]") for line in text.splitlines() if "(NEEDED)" in line]


@pytest.mark.ours_only("mod_wsgi is linked against one libpython")
def test_artifacts_are_not_linked_to_python(module_under_test):
    assert len(module_under_test.artifacts) == 2
    for artifact in module_under_test.artifacts:
        names = needed(artifact)
        assert names, artifact
        assert not [name for name in names if "python" in name], names


@pytest.mark.ours_only("mod_wsgi is linked against one libpython")
def test_artifacts_need_the_c_library_only(module_under_test):
    allowed = ("libc.so", "libgcc_s.so", "libm.so", "ld-linux", "libdl.so", "libpthread.so")
    for artifact in module_under_test.artifacts:
        assert not [name for name in needed(artifact) if not name.startswith(allowed)]


def test_module_is_called_mod_wsgi_c(server_factory):
    config = "\n<IfModule mod_wsgi.c>\nWSGIScriptAlias / ${APPS}/hello/app.wsgi\n</IfModule>"
    server = server_factory(config)
    assert server.get("/").status == 200


def test_exported_symbol(module_under_test):
    text = subprocess.run(
        ["readelf", "--dyn-syms", "-W", module_under_test.path],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    names = [line.split()[-1] for line in text.splitlines() if " OBJECT " in line]
    assert "wsgi_module" in names


DAEMON_ONLY = """
WSGIDaemonProcess main
WSGIRestrictEmbedded On
WSGIScriptAlias / ${APPS}/hello/app.wsgi process-group=main
"""


def test_child_without_embedded_work_has_no_python(server_factory):
    server = server_factory(DAEMON_ONLY)
    for _ in range(20):
        assert server.get("/").status == 200
    for process in server.httpd_children:
        mapped = {path for path in process.mapped_files if "libpython" in path}
        # mod_wsgi's own link maps the library, but ours has none.
        assert bool(mapped) is not OURS


@pytest.mark.ours_only(
    "mod_wsgi loads Python into each httpd child unless embedded mode is forbidden"
)
def test_child_has_no_python_when_all_is_daemon_mode(server_factory):
    server = server_factory("""
WSGIDaemonProcess main
WSGIProcessGroup main
WSGIScriptAlias / ${APPS}/hello/app.wsgi
""")
    for _ in range(20):
        assert server.get("/").status == 200
    for process in server.httpd_children:
        assert not [path for path in process.mapped_files if "python" in path.rpartition("/")[2]]


@pytest.mark.ours_only("mod_wsgi adds 5 MiB")
def test_child_without_embedded_work_costs_little(server_factory):
    """Private memory of a child after the same requests, with and without the module."""
    plain = server_factory("", load_wsgi=False)
    plain.write("htdocs/index.html", "plain")
    ours = server_factory(DAEMON_ONLY)
    for _ in range(50):
        assert plain.get("/index.html").status == 200
        assert ours.get("/").status == 200

    def memory(server) -> int:
        wait_until(lambda: server.httpd_children, "a child")
        return max(process.private_memory for process in server.httpd_children)

    assert memory(ours) <= memory(plain) + 3 * MIB


def test_httpd_loads_the_module(server_factory, module_under_test):
    server = server_factory(start=False)
    result = subprocess.run(
        [httpd_build.httpd(), "-M", "-d", server.root, "-f", server.configuration_file],
        capture_output=True, text=True, check=True, env=server.environment,
    )  # fmt: skip
    assert "wsgi_module (shared)" in result.stdout


@pytest.mark.ours_only("about our own README")
def test_readme_has_every_number_of_the_log_once():
    """Those that are new, that is: the others are mod_wsgi's."""
    repository = Path(__file__).parent.parent
    sources = [*repository.glob("src/**/*.rs"), *repository.glob("python/src/**/*.rs")]
    assert sources
    number = re.compile(r"WSGI03\d\d")
    used = {found for source in sources for found in number.findall(source.read_text())}
    readme = (repository / "README.md").read_text()
    table = [line for line in readme.splitlines() if line.startswith("| WSGI")]
    listed = [found for line in table for found in number.findall(line.split("|")[1])]
    assert sorted(listed) == sorted(used)
