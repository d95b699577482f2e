# SPDX-License-Identifier: Apache-2.0
"""Tests of the Python side alone: a real interpreter, and this process as supervisor and child.

Each test runs with every interpreter that is found; MOD_WSGI_TEST_PYTHONS (colon-separated) names
others. The library is the one that `make` built, or MOD_WSGI_PYTHON_LIBRARY.
"""

import itertools
import os
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest
from daemon import Daemon, Embedded, Settings, library

PROBE = "import sys; print('%d.%d' % sys.version_info[:2], sys.implementation.name)"


def interpreters() -> dict[str, str]:
    """Interpreters by version; the first that is found of each."""
    named = os.environ.get("MOD_WSGI_TEST_PYTHONS")
    if named:
        candidates = named.split(":")
    else:
        versions = [f"3.{minor}" for minor in range(10, 17)]
        candidates = [shutil.which(f"python{version}") for version in versions]
        pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
        candidates += map(str, sorted(pyenv.glob("3.*/bin/python3")))
        candidates.append(shutil.which("python3"))
    found = {}
    for candidate in filter(None, candidates):
        probe = subprocess.run([candidate, "-c", PROBE], capture_output=True, text=True)
        version, _, implementation = probe.stdout.strip().partition(" ")
        if implementation != "cpython" or tuple(map(int, version.split("."))) < (3, 10):
            continue
        if "shims" not in Path(candidate).parts:
            found.setdefault(version, candidate)
    return dict(sorted(found.items(), key=lambda item: int(item[0].split(".")[1])))


INTERPRETERS = interpreters()


def pytest_configure(config):
    config.addinivalue_line("markers", "both_modes: also runs with the interpreter embedded")
    config.addinivalue_line("markers", "embedded_only: runs with the interpreter embedded")
    config.addinivalue_line(
        "markers", "no_python: waits for what needs no Python; with the oldest and the newest only"
    )
    config.addinivalue_line("markers", "daemon_only: in a module for both modes, for one of them")


def pytest_generate_tests(metafunc):
    marks = {mark.name for mark in metafunc.definition.iter_markers()}
    if "python" in metafunc.fixturenames:
        versions = list(INTERPRETERS)
        if "no_python" in marks:
            versions = sorted({*versions[:1], *versions[-1:]}, key=versions.index)
        metafunc.parametrize(
            "python", [INTERPRETERS[version] for version in versions], ids=versions
        )
    if "mode" in metafunc.fixturenames:
        if "embedded_only" in marks:
            modes = [Embedded]
        elif "both_modes" in marks and "daemon_only" not in marks:
            modes = [Daemon, Embedded]
        else:
            modes = [Daemon]
        metafunc.parametrize("mode", modes, ids=[mode.__name__.lower() for mode in modes])


@pytest.fixture(scope="session", autouse=True)
def built():
    assert library().exists(), f"{library()} is not built: run make"
    assert INTERPRETERS, "no CPython 3.10 or newer was found"


@pytest.fixture
def start(python, mode, tmp_path):
    """Starts processes of the mode, and ends those that are left."""
    if mode is Embedded and not Embedded.libpython(python):
        pytest.skip("this interpreter has no shared libpython")
    started = []
    count = itertools.count()

    def start(env=None, wait=True, **settings):
        folder = tmp_path / f"process{next(count)}"
        folder.mkdir()
        daemon = mode(python, folder, Settings(**settings), env, wait)
        started.append(daemon)
        return daemon

    yield start
    for daemon in started:
        daemon.close()


@pytest.fixture
def script(tmp_path):
    """Writes a WSGI script."""
    count = itertools.count()

    def script(source: str) -> Path:
        path = tmp_path / f"app{next(count)}.wsgi"
        path.write_text(textwrap.dedent(source))
        return path

    return script


HELLO = """
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]
"""


@pytest.fixture
def hello(script):
    return script(HELLO)
