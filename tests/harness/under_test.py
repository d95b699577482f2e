# SPDX-License-Identifier: Apache-2.0
"""Which module the run is about: ours, or mod_wsgi from PyPI (`MOD_WSGI_UNDER_TEST=upstream`).

Ours is taken from target/modules (`MOD_WSGI_MODULES=` names another folder). mod_wsgi is built once
with pip into target/upstream-venv, against the httpd that apxs names and /usr/bin/python3.
"""

import fcntl
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness import httpd_build

REPOSITORY = Path(__file__).resolve().parents[2]
TARGET = REPOSITORY / "target"
UPSTREAM_VERSION = "6.1.1"
UPSTREAM_PYTHON = os.environ.get("MOD_WSGI_UPSTREAM_PYTHON", "/usr/bin/python3")

NAME = os.environ.get("MOD_WSGI_UNDER_TEST", "ours")
if NAME not in ("ours", "upstream"):
    raise SystemExit(f"MOD_WSGI_UNDER_TEST={NAME}: say ours or upstream")
OURS = NAME == "ours"
UPSTREAM = NAME == "upstream"


@dataclass(frozen=True)
class ModuleUnderTest:
    """Where the module is; `path` is what LoadModule gets."""

    name: str
    path: Path
    """A copy inside the run's own folder, which the daemon processes' user can read."""
    python: Path
    """The interpreter that is used when the configuration names none."""
    artifacts: tuple[Path, ...]
    """The files as built."""


def prepare(folder: Path) -> ModuleUnderTest:
    """Copy the module under test into `folder` (readable by everyone) and describe it."""
    folder.mkdir()
    folder.chmod(0o755)
    artifacts = _ours() if OURS else (_upstream(),)
    for artifact in artifacts:
        copy = folder / artifact.name
        shutil.copyfile(artifact, copy)
        copy.chmod(0o755)
    python = Path("/usr/bin/python3" if OURS else UPSTREAM_PYTHON)
    return ModuleUnderTest(NAME, folder / artifacts[0].name, python, artifacts)


def _ours() -> tuple[Path, ...]:
    folder = Path(os.environ.get("MOD_WSGI_MODULES") or TARGET / "modules")
    artifacts = (folder / "mod_wsgi.so", folder / "mod_wsgi_python.abi3.so")
    for artifact in artifacts:
        if not artifact.exists():
            raise SystemExit(f"{artifact} is missing: run make first")
    return artifacts


def _upstream() -> Path:
    venv = TARGET / "upstream-venv"
    TARGET.mkdir(exist_ok=True)
    with open(TARGET / "upstream-venv.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = _upstream_module(venv)
        if not found:
            environment = os.environ | {"APXS": httpd_build.APXS}
            subprocess.run([UPSTREAM_PYTHON, "-m", "venv", "--clear", venv], check=True)
            subprocess.run(
                [
                    venv / "bin/python",
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    f"mod_wsgi=={UPSTREAM_VERSION}",
                ],
                check=True,
                env=environment,
            )
            found = _upstream_module(venv)
    if not found:
        raise SystemExit(f"mod_wsgi {UPSTREAM_VERSION} was installed into {venv} but has no module")
    return found


def _upstream_module(venv: Path) -> Path | None:
    return next(venv.glob("lib/python3*/site-packages/mod_wsgi/server/mod_wsgi*.so"), None)
