# SPDX-License-Identifier: Apache-2.0
"""Facts about the installed httpd, as apxs tells them (`APXS=` names another apxs)."""

import functools
import os
import shutil
import subprocess
from pathlib import Path

APXS = os.environ.get("APXS") or shutil.which("apxs") or shutil.which("apxs2") or "apxs"


def _ask(variable: str) -> str:
    return subprocess.run(
        [APXS, "-q", variable], check=True, capture_output=True, text=True
    ).stdout.strip()


@functools.cache
def httpd() -> Path:
    """The httpd binary."""
    return Path(_ask("SBINDIR")) / _ask("progname")


@functools.cache
def module_directory() -> Path:
    return Path(_ask("LIBEXECDIR"))


@functools.cache
def static_modules() -> frozenset[str]:
    """Names (without mod_ and .c) of what is compiled into httpd."""
    text = subprocess.run([httpd(), "-l"], check=True, capture_output=True, text=True).stdout
    names = (line.strip() for line in text.splitlines() if line.strip().endswith(".c"))
    return frozenset(name.removeprefix("mod_").removesuffix(".c") for name in names)


def load_module(name: str) -> str:
    """The LoadModule line of `name` ("alias", "mpm_event"), or nothing if it is compiled in."""
    if name in static_modules():
        return ""
    path = module_directory() / f"mod_{name}.so"
    if not path.exists():
        raise FileNotFoundError(f"httpd has no module {name}: {path}")
    return f'LoadModule {name}_module "{path}"\n'
