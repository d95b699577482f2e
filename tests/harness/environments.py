# SPDX-License-Identifier: Apache-2.0
"""Python interpreters and virtual environments that the server's user can read, kept between runs.

They live in MOD_WSGI_TEST_CACHE; by default /var/tmp/mod_wsgi-test-<uid> for root, whose clone may
lie where the server's user cannot go, and target/venvs for anyone else.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.under_test import TARGET


@dataclass(frozen=True)
class Venv:
    path: Path
    """What WSGIPythonHome or python-home gets."""

    @property
    def python(self) -> Path:
        return self.path / "bin/python"

    @property
    def version(self) -> str:
        """E.g. "3.12"."""
        return self.ask("import sys; print('%d.%d' % sys.version_info[:2])")

    @property
    def site_packages(self) -> Path:
        return Path(self.ask("import sysconfig; print(sysconfig.get_path('purelib'))"))

    def ask(self, code: str) -> str:
        """What the environment's interpreter prints for the code."""
        return self.run(self.python, "-c", code).strip()

    def run(self, *command: str | Path, **options) -> str:
        """Run a command with the environment's bin folder first on the PATH; returns its output."""
        environment = os.environ | {"PATH": f"{self.path / 'bin'}:{os.environ['PATH']}"}
        result = subprocess.run(command, env=environment, capture_output=True, text=True, **options)
        if result.returncode:
            raise AssertionError(f"{command} failed:\n{result.stdout}{result.stderr}")
        return result.stdout


def cache() -> Path:
    """The folder kept between runs."""
    named = os.environ.get("MOD_WSGI_TEST_CACHE")
    if named:
        folder = Path(named)
    elif os.geteuid() == 0:
        folder = Path(f"/var/tmp/mod_wsgi-test-{os.geteuid()}")
    else:
        folder = TARGET / "venvs"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    if folder.stat().st_uid != os.geteuid():
        raise RuntimeError(f"{folder} belongs to somebody else; set MOD_WSGI_TEST_CACHE")
    return folder


def venv(name: str, requirements: Iterable[str] = (), python: str | Path | None = None) -> Venv:
    """A virtual environment with the requirements (pip's words), made once and then reused.

    `python` is an interpreter or a version such as "3.12"; the default is /usr/bin/python3.
    """
    base = _resolve(python)
    wanted = sorted(requirements)
    version = subprocess.run(
        [base, "-c", "import sys; print(sys.version)"], check=True, capture_output=True, text=True
    ).stdout
    key = hashlib.sha256("\n".join([str(base), version, *wanted]).encode()).hexdigest()[:12]
    path = cache() / f"{name}-{key}"
    done = path / ".complete"
    with open(cache() / f"{name}-{key}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            _run([base, "-m", "venv", "--clear", path])
            if wanted:
                _run(
                    [
                        path / "bin/python",
                        "-m",
                        "pip",
                        "install",
                        "--quiet",
                        "--disable-pip-version-check",
                        *wanted,
                    ]
                )
            path.chmod(0o755)
            done.touch()
    return Venv(path)


def interpreter(version: str) -> Path | None:
    """An interpreter of that version ("3.12") which everyone can run, or None.

    pyenv's in a home folder that others cannot enter is copied to the cache first.
    """
    found = shutil.which(f"python{version}", path="/usr/local/bin:/usr/bin:/bin")
    if found:
        return Path(found)
    roots = [os.environ.get("PYENV_ROOT"), Path.home() / ".pyenv"]
    for root in filter(None, roots):
        for folder in sorted(Path(root).glob(f"versions/{version}.*"), reverse=True):
            if (folder / f"bin/python{version}").exists():
                return _reachable(folder) / f"bin/python{version}"
    return None


def _resolve(python: str | Path | None) -> Path:
    if python is None:
        return Path("/usr/bin/python3")
    if isinstance(python, Path) or "/" in python:
        return Path(python)
    found = interpreter(python)
    if found is None:
        raise LookupError(f"no Python {python} on this machine")
    return found


def _reachable(installation: Path) -> Path:
    """The installation itself if everyone may enter it, else a copy in the cache."""
    if os.geteuid() != 0 or all(
        folder.stat().st_mode & 0o001 for folder in (installation, *installation.parents)
    ):
        return installation
    copy = cache() / f"python-{installation.name}"
    done = copy / ".complete"
    with open(cache() / f"{copy.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(
                installation,
                copy,
                symlinks=True,
                ignore=shutil.ignore_patterns("__pycache__", "test"),
            )
            for binary in (copy / "bin").glob("python3.*"):
                _move_library_path(binary, installation / "lib")
            copy.chmod(0o755)
            done.touch()
    return copy


def _move_library_path(binary: Path, library: Path) -> None:
    """Let the binary find its libpython beside itself, not where it was built for."""
    old = os.fsencode(library)
    new = b"$ORIGIN/../lib"
    data = binary.read_bytes()
    if not binary.is_symlink() and data.startswith(b"\x7fELF") and len(new) <= len(old):
        binary.write_bytes(data.replace(old + b"\0", new.ljust(len(old), b"\0") + b"\0"))


def _run(command: list[str | Path]) -> None:
    # An environment of the run itself must not leak into the one that is made.
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "PYENV_VERSION")
    }
    result = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if result.returncode:
        print(result.stdout, file=sys.stderr)
        raise AssertionError(f"{command} failed:\n{result.stdout}")
