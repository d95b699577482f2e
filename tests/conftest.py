# SPDX-License-Identifier: Apache-2.0
"""Fixtures that belong to these tests rather than to the harness."""

import tempfile
from pathlib import Path

import pytest

from harness.server import Server
from harness.site import Site, site_configuration


@pytest.fixture(scope="session")
def site_server(session_server_factory) -> Server:
    """The shared server, for what is looked at from outside of both modes."""
    return session_server_factory(site_configuration(), ports=("embedded", "daemon"))


@pytest.fixture
def site(site_server: Server, mode: str) -> Site:
    """Every application of tests/apps at /<behaviour>, in the mode of the test."""
    return Site(site_server, mode)


@pytest.fixture
def tmp_path_for_server(run_folder: Path) -> Path:
    """A temporary folder in which the server's user may write."""
    folder = Path(tempfile.mkdtemp(dir=run_folder))
    folder.chmod(0o777)
    return folder
