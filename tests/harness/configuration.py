# SPDX-License-Identifier: Apache-2.0
"""The part of httpd.conf that every test server has.

A test's own text comes after it and may use ${ROOT} (server root), ${APPS} (copy of tests/apps),
${PORT} (the main port), ${PORT_name} (each further one) and ${PYTHON} (the default interpreter).
"""

import grp
import os
import pwd
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness import httpd_build
from harness.waiting import DEADLINE

DEFAULT_MODULES = ("authz_core", "alias", "dir", "mime", "env", "setenvif")
MPMS = ("event", "worker", "prefork")
_ALWAYS = ("unixd", "log_config")

# Small, so that a server starts quickly, with room for old children beside new ones in a restart.
_THREADED = """
ServerLimit 8
StartServers 1
ThreadLimit 25
ThreadsPerChild 25
MinSpareThreads 5
MaxSpareThreads 75
MaxRequestWorkers 50
"""
_PREFORK = """
ServerLimit 60
StartServers 3
MinSpareServers 2
MaxSpareServers 10
MaxRequestWorkers 50
"""

ONE_CHILD = """
<IfModule mpm_prefork_module>
    StartServers 1
    MaxRequestWorkers 1
    # It would tell that these are few.
    LogLevel mpm_prefork:crit
</IfModule>
"""
"""For a server whose requests all have the same memory, one after the other."""


def server_user() -> str | None:
    """Whom httpd's children and daemon processes run as; None when the run is not root's."""
    return _first(pwd.getpwnam, ("www-data", "apache", "http", "nobody")) if _root() else None


def server_group() -> str | None:
    return (
        _first(grp.getgrnam, ("www-data", "apache", "http", "nogroup", "nobody"))
        if _root()
        else None
    )


def _root() -> bool:
    return os.geteuid() == 0


def _first(lookup, names: Iterable[str]) -> str:
    for name in names:
        try:
            lookup(name)
        except KeyError:
            continue
        return name
    raise RuntimeError(f"none of {names} exists on this system")


def base(
    root: Path,
    module: Path | None,
    python: Path,
    modules: Iterable[str],
    mpm: str,
    ports: Mapping[str, int],
) -> str:
    """The text; `module` is the file for LoadModule wsgi_module, None for a server without it."""
    lines = [f'ServerRoot "{root}"\n', httpd_build.load_module(f"mpm_{mpm}")]
    lines += [httpd_build.load_module(name) for name in dict.fromkeys((*_ALWAYS, *modules))]
    if module:
        lines.append(f'LoadModule wsgi_module "{module}"\n')
    if _root():
        lines.append(f"User {server_user()}\nGroup {server_group()}\n")
    lines.append(f'Define ROOT "{root}"\nDefine APPS "{root}/apps"\nDefine PYTHON "{python}"\n')
    for name, port in ports.items():
        lines.append(f"Define PORT{'_' + name if name else ''} {port}\nListen 127.0.0.1:{port}\n")
    lines.append(f"""\
ServerName localhost
DefaultRuntimeDir "{root}/run"
PidFile "{root}/run/httpd.pid"
ErrorLog "{root}/logs/error.log"
CustomLog "{root}/logs/access.log" "%v %a \\"%r\\" %>s %b"
LogLevel info
DocumentRoot "{root}/htdocs"
Timeout {max(5, int(DEADLINE))}
<Directory />
    AllowOverride None
    Require all denied
</Directory>
<Directory "{root}/htdocs">
    Require all granted
</Directory>
<Directory "{root}/apps">
    Require all granted
</Directory>
<IfModule mod_mime.c>
    TypesConfig "{root}/conf/mime.types"
</IfModule>
""")
    if module:
        lines.append(f'LogLevel wsgi:debug\nWSGISocketPrefix "{root}/run/wsgi"\n')
    lines.append(_PREFORK if mpm == "prefork" else _THREADED)
    return "".join(lines)
