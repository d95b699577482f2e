# SPDX-License-Identifier: Apache-2.0
"""What an administrator does before Apache serves a system: copy files, give folders away."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from harness.client import Response
from harness.configuration import server_group, server_user
from harness.environments import Venv
from harness.server import Server

Environments = Callable[..., Venv]
"""The fixture `venv`."""
Servers = Callable[..., Server]
"""The fixture `module_server_factory`."""

_HERE = Path(__file__).resolve().parent


def copy_folder(server: Server, name: str) -> Path:
    """Copy tests/systems/<name> below the server root, readable by everyone."""
    for file in sorted((_HERE / name).rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            server.write(str(file.relative_to(_HERE)), file.read_bytes())
    return server.root / name


def make_writable_folder(server: Server, path: str) -> Path:
    """A new folder below the server root that belongs to the account which serves."""
    folder = server.root / path
    folder.mkdir()
    folder.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(folder, server_user(), server_group())
    return folder


def account(user: str | None = None, group: str | None = None) -> str:
    """user= and group= for a daemon process group; without root there is no choice."""
    if os.geteuid() != 0:
        return ""
    return f"user={user or server_user()} group={group or server_group()}"


def install_package(venv: Venv, name: str) -> Path:
    """Put the package tests/systems/<name> into the environment, as a wheel of it would."""
    target = venv.site_packages / Path(name).name
    target.mkdir(exist_ok=True)
    target.chmod(0o755)
    for file in sorted((_HERE / name).glob("*.py")):
        # Another run may import from the same environment: never let it see half a file.
        fresh = target / f".{file.name}.{os.getpid()}"
        shutil.copyfile(file, fresh)
        fresh.chmod(0o644)
        fresh.replace(target / file.name)
    return target


def mode_that_loaded(server: Server, library: str) -> str:
    """The mode whose processes have mapped a file with this in its name; there must be just one."""
    kinds = {"embedded": server.httpd_children, "daemon": server.daemon_processes}
    [mode] = [
        mode
        for mode, processes in kinds.items()
        if any(library in path for process in processes for path in process.mapped_files)
    ]
    return mode


def page(response: Response, status: int = 200) -> str:
    """The text of a response that must have arrived whole, as HTML, with this status."""
    assert response.status == status, f"{response.status} {response.reason}: {response.text}"
    assert response.complete
    assert (response.header("content-type") or "").startswith("text/html")
    return response.text
