# SPDX-License-Identifier: Apache-2.0
"""The pytest side of the harness: options, markers, fixtures, and the audit after each test.

What the fixtures are for is described in README.md; how a server is run and watched is not here.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from harness import configuration, environments, processes, under_test
from harness.environments import Venv
from harness.server import Server
from harness.under_test import OURS, UPSTREAM, ModuleUnderTest

Value = TypeVar("Value")
MODES = ("embedded", "daemon")

_live: list[Server] = []
"""Every server made and not yet removed."""
_finished: list[Server] = []
"""Those whose fixture has ended; their logs are still to be audited."""
_ended: list[str] = []
"""What servers left behind when they stopped."""
_current: pytest.Item | None = None


def differs(*, upstream: Value, ours: Value) -> Value:
    """The expectation for the module under test. Only in tests marked `difference(reason)`."""
    if _current is None or not _current.get_closest_marker("difference"):
        raise AssertionError("differs() needs @pytest.mark.difference(reason) on the test")
    return ours if OURS else upstream


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--mpm",
        choices=configuration.MPMS,
        default=os.environ.get("MPM", "event"),
        help="the MPM of every server (default: $MPM, else event)",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.option.mpm not in configuration.MPMS:
        raise pytest.UsageError(f"MPM={config.option.mpm}: say one of {configuration.MPMS}")
    processes.become_subreaper()


def pytest_report_header(config: pytest.Config) -> str:
    return f"module under test: {under_test.NAME}, MPM: {config.option.mpm}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker in ("difference", "ours_only", "root_only"):
            found = item.get_closest_marker(marker)
            if found and not (len(found.args) == 1 and isinstance(found.args[0], str)):
                raise pytest.UsageError(f"{item.nodeid}: {marker} needs its reason as argument")
        ours_only = item.get_closest_marker("ours_only")
        if ours_only and UPSTREAM:
            item.add_marker(pytest.mark.skip(reason=f"only ours: {ours_only.args[0]}"))
        root_only = item.get_closest_marker("root_only")
        if root_only and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason=f"needs root: {root_only.args[0]}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    global _current
    _current = item
    try:
        return (yield)
    finally:
        _current = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.failed:
        for server in _live:
            text = server.log.text(server._audit.start)
            if text:
                report.sections.append((f"error log of {server.root.name}", text[-20000:]))
    return report


@pytest.fixture(autouse=True)
def _audit() -> Iterator[None]:
    """Frames each test; set up first and torn down last."""
    _ended.clear()
    for server in _live:
        server.begin_test()
    yield
    wrong = list(_ended)
    _ended.clear()
    for server in _live:
        wrong += server.end_test()
    _remove_finished()
    if wrong:
        pytest.fail("left behind by this test:\n" + "\n".join(wrong), pytrace=False)


def _remove_finished() -> None:
    for server in _finished:
        _live.remove(server)
        server.remove()
    _finished.clear()


@pytest.fixture(scope="session")
def run_folder() -> Iterator[Path]:
    """The folder of this run, which every user may enter. Short, for the sake of socket paths."""
    folder = Path(tempfile.mkdtemp(prefix="mw-", dir=os.environ.get("TMPDIR", "/tmp")))
    folder.chmod(0o755)
    yield folder
    if "MOD_WSGI_TEST_KEEP" not in os.environ:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def module_under_test(run_folder: Path) -> ModuleUnderTest:
    return under_test.prepare(run_folder / "modules")


@pytest.fixture(scope="session")
def mpm(pytestconfig: pytest.Config) -> str:
    return pytestconfig.option.mpm


ServerFactory = Callable[..., Server]


def _factory(module: ModuleUnderTest, folder: Path, mpm: str) -> Iterator[ServerFactory]:
    made: list[Server] = []

    def make(config: str = "", *, start: bool = True, **options: Any) -> Server:
        server = Server(module, folder, config, **{"mpm": mpm} | options)
        made.append(server)
        _live.append(server)
        return server.start() if start else server

    yield make
    for server in reversed(made):
        _ended.extend(server.end_test_processes())
        _ended.extend(server.stop())
        _finished.append(server)


@pytest.fixture
def server_factory(module_under_test, run_folder, mpm, _audit) -> Iterator[ServerFactory]:
    """Makes servers for one test."""
    yield from _factory(module_under_test, run_folder, mpm)


def _shared_factory(module: ModuleUnderTest, folder: Path, mpm: str) -> Iterator[ServerFactory]:
    yield from _factory(module, folder, mpm)
    wrong = list(_ended)
    _ended.clear()
    for server in _finished:
        wrong += server.end_test()
    _remove_finished()
    if wrong:
        pytest.fail("left behind by a shared server:\n" + "\n".join(wrong), pytrace=False)


@pytest.fixture(scope="module")
def module_server_factory(module_under_test, run_folder, mpm) -> Iterator[ServerFactory]:
    """Makes servers shared by the tests of one file."""
    yield from _shared_factory(module_under_test, run_folder, mpm)


@pytest.fixture(scope="session")
def session_server_factory(module_under_test, run_folder, mpm) -> Iterator[ServerFactory]:
    """Makes servers shared by all tests."""
    yield from _shared_factory(module_under_test, run_folder, mpm)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """Runs the test twice: embedded and in daemon mode."""
    return request.param


@pytest.fixture(scope="session")
def venv() -> Callable[..., Venv]:
    """venv(name, requirements, python=None): a cached virtual environment."""
    return environments.venv


@pytest.fixture(scope="session")
def interpreter() -> Callable[[str], Path]:
    """interpreter("3.12"): an interpreter everyone can run; skips the test if there is none."""

    def find(version: str) -> Path:
        found = environments.interpreter(version)
        if found is None:
            pytest.skip(f"no Python {version} on this machine")
        return found

    return find
