# SPDX-License-Identifier: Apache-2.0
"""`make run`: one WSGI application under Apache in the foreground, until Ctrl-C.

Writes a configuration of its own and touches nothing that is installed. The application is the
demonstration in demo/ unless APP names another. How httpd is found and stopped is in httpd.py.
"""

import argparse
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from subprocess import PIPE

from httpd import (
    REPOSITORY,
    Failure,
    Httpd,
    Server,
    User,
    copy_modules,
    port_problem,
    server_directory,
)

DEFAULT_PYTHON = Path("/usr/bin/python3")
ASK_PYTHON = "import sys; print(*sys.version_info[:3], sep='.'); print(sys.executable)"
MINIMUM_PYTHON = (3, 10)


def arguments():
    parser = argparse.ArgumentParser(description="Serve a WSGI application with Apache")
    parser.add_argument("--app", default="", help="WSGI script; the demonstration if empty")
    parser.add_argument("--mode", default="daemon", help="daemon or embedded")
    parser.add_argument("--python", default="", help="virtual environment, or its interpreter")
    parser.add_argument("--port", default="8000")
    parser.add_argument("--mpm", default="event", help="event, worker or prefork")
    parser.add_argument("--user", default="", help="who to serve as, when started by root")
    parser.add_argument("--from", dest="caller", default=".", help="what paths are relative to")
    return parser.parse_args()


def chosen_port(text):
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise Failure(f"PORT={text} is not a port number")
    problem = port_problem(int(text))
    if problem:
        raise Failure(f"cannot listen on 127.0.0.1:{text} ({problem}); choose another with PORT=")
    return int(text)


def absolute(text, caller):
    """A path as the caller meant it. Symbolic links stay: a venv's interpreter is one."""
    return Path(os.path.abspath(Path(caller) / Path(text).expanduser()))


def chosen_app(text, caller):
    """The user's script, or None for the demonstration."""
    if not text:
        return None
    path = absolute(text, caller)
    if not path.exists():
        raise Failure(f"APP={text}: {path} does not exist")
    if not path.is_file():
        raise Failure(f"APP={text}: {path} is not a file; name the WSGI script")
    return path


def chosen_python(text, caller):
    """The home of the interpreter to use (None: the default) and the interpreter itself."""
    if not text:
        found = DEFAULT_PYTHON if DEFAULT_PYTHON.exists() else shutil.which("python3")
        if not found:
            raise Failure("no python3 found; name one with PYTHON=path/to/venv")
        return None, Path(found)
    path = absolute(text, caller)
    home = path.parent.parent if path.is_file() else path
    for name in ("python", "python3"):
        if (home / "bin" / name).exists():
            return home, home / "bin" / name
    raise Failure(
        f"PYTHON={text}: {home} has no bin/python; name the root of a virtual environment"
    )


def python_version(interpreter, user):
    part = user.cannot_reach(interpreter)
    if part:
        raise Failure(
            f"user {user.name} cannot enter {part}, on the way to {interpreter}{remedy()}"
        )
    # Without `site`, in which an environment may print what it likes.
    answer = user.run([str(interpreter), "-S", "-c", ASK_PYTHON])
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Failure(f"{interpreter} does not run as user {user.name}: {last}")
    version, executable = answer.stdout.splitlines()
    if tuple(int(part) for part in version.split(".")[:2]) < MINIMUM_PYTHON:
        raise Failure(f"{interpreter} is Python {version}; 3.10 or newer is needed")
    return version, executable


def remedy():
    return ": 'chmod o+x' it, move it, or start as an ordinary user (or RUN_USER=name)"


def configuration(httpd, user, options, root, module, script, home):
    """The text of httpd.conf."""
    if options.mode == "daemon":
        python_home = f' python-home="{home}"' if home else ""
        python = f'WSGIDaemonProcess run processes=2 threads=15 home="{script.parent}"{python_home}'
        group = "run"
    else:
        python = f'WSGIPythonPath "{script.parent}"'
        if home:
            python += f'\nWSGIPythonHome "{home}"'
        group = "%{GLOBAL}"
    return f"""\
ServerRoot "{root}"
DefaultRuntimeDir "{root}"
PidFile "{root}/httpd.pid"
ServerName localhost
Listen 127.0.0.1:{options.port}
{user.directives()}

{httpd.load_mpm(options.mpm)}
{httpd.load("unixd", "log_config", "authz_core")}
LoadModule wsgi_module "{module}"

ErrorLog /dev/stderr
ErrorLogFormat "[%{{c}}t] [%-m:%l] %M"
LogLevel notice wsgi:info
LogFormat "%h \\"%r\\" %>s %B bytes %D us" run
CustomLog /dev/stdout run

WSGISocketPrefix "{root}/wsgi"
{python}
WSGIScriptAlias / "{script}" process-group={group} application-group=%{{GLOBAL}}
<Directory "{script.parent}">
    Require all granted
</Directory>
"""


def pump(source):
    """Copy what the server says to our standard error. httpd opens its own by name: a pipe."""
    for line in source:
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()


def interrupted(*_):
    raise KeyboardInterrupt


def serve(options):
    if options.mode not in ("daemon", "embedded"):
        raise Failure(f"MODE={options.mode} is neither daemon nor embedded")
    httpd = Httpd()
    user = User(options.user)
    port = chosen_port(options.port)
    app = chosen_app(options.app, options.caller)
    home, interpreter = chosen_python(options.python, options.caller)
    version, executable = python_version(interpreter, user)
    if app and user.cannot_reach(app):
        part = user.cannot_reach(app)
        raise Failure(f"user {user.name} cannot enter {part}, on the way to {app}{remedy()}")

    root, temporary = server_directory(f"run/{port}", user)
    server = None
    try:
        module = copy_modules(root)
        script = app
        if script is None:
            shutil.copytree(REPOSITORY / "demo", root / "demo")
            script = root / "demo" / "app.wsgi"
            script.parent.chmod(0o755)
            script.chmod(0o644)
        conf = root / "httpd.conf"
        conf.write_text(configuration(httpd, user, options, root, module, script, home))

        print(f"Application  {app or 'demonstration (demo/app.wsgi)'}")
        print(f"Served in    {options.mode} mode, MPM {options.mpm}, as user {user.name}")
        print(f"Python       {version} ({executable})")
        print(f"Address      http://127.0.0.1:{port}/", flush=True)
        server = Server(httpd, conf, root, PIPE)
        threading.Thread(target=pump, args=(server.process.stdout,), daemon=True).start()
        server.wait_until_answering(port)
        print("Ready. Ctrl-C stops it.", flush=True)
        if server.process.wait():
            raise Failure("httpd ended by itself")
    except KeyboardInterrupt:
        print("\nStopping.", flush=True)
    finally:
        # A second Ctrl-C must not leave the first one's work half done: stopping is bounded.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if server is not None:
            server.stop()
        if temporary:
            shutil.rmtree(root, ignore_errors=True)


def main():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    try:
        serve(arguments())
    except Failure as failure:
        print(f"make run: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
