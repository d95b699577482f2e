# SPDX-License-Identifier: Apache-2.0
"""The httpd that apxs names, started in the foreground and stopped without a trace.

Shared by `make run` and `make bench`. Holds no mod_wsgi configuration: each of them writes its own.
"""

import contextlib
import ctypes
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
MODULES = Path(os.environ.get("MOD_WSGI_MODULES") or REPOSITORY / "target" / "modules")
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


class Failure(Exception):
    """Something the user can put right; its text is one line that says how."""


class Httpd:
    """What apxs and the binary itself tell about an installed httpd."""

    def __init__(self, apxs=None):
        self.apxs = apxs or os.environ.get("APXS") or shutil.which("apxs") or shutil.which("apxs2")
        if not self.apxs or not shutil.which(self.apxs):
            raise Failure(f"apxs not found ({self.apxs or 'apxs, apxs2'}): make deps, or APXS=path")
        self.modules = Path(self.query("LIBEXECDIR"))
        self.binary = self._binary()
        listing = subprocess.run([self.binary, "-l"], capture_output=True, text=True, check=True)
        self.built_in = set(listing.stdout.split())

    def query(self, name):
        answer = subprocess.run([self.apxs, "-q", name], capture_output=True, text=True)
        if answer.returncode:
            raise Failure(f"'{self.apxs} -q {name}' failed: {answer.stderr.strip()}")
        return answer.stdout.strip()

    def _binary(self):
        candidate = Path(self.query("SBINDIR"), self.query("progname"))
        if not candidate.exists():
            raise Failure(f"no httpd at {candidate}, where {self.apxs} says it is")
        return str(candidate)

    def load(self, *names):
        """LoadModule lines for these modules; none for what is built in or not there."""
        lines = []
        for name in names:
            path = self.modules / f"mod_{name}.so"
            if f"mod_{name}.c" not in self.built_in and path.exists():
                lines.append(f"LoadModule {name}_module {path}")
        return "\n".join(lines)

    def load_mpm(self, mpm):
        """The LoadModule line of an MPM: event, worker or prefork."""
        built_in = [name for name in ("event", "worker", "prefork") if f"{name}.c" in self.built_in]
        if built_in:
            if mpm not in built_in:
                raise Failure(f"{self.binary} has the MPM {built_in[0]} built in, not {mpm}")
            return ""
        path = self.modules / f"mod_mpm_{mpm}.so"
        if not path.exists():
            raise Failure(f"no MPM '{mpm}': {path} does not exist (event, worker, prefork)")
        return f"LoadModule mpm_{mpm}_module {path}"


class User:
    """The user that httpd's children and daemon processes run as: www-data for root."""

    def __init__(self, name=None):
        self.is_root = os.geteuid() == 0
        if self.is_root:
            name = name or ("www-data" if _exists("www-data") else "nobody")
            entry = pwd.getpwnam(name)
            if entry.pw_uid == 0:
                raise Failure("httpd refuses to serve as root: name another user with RUN_USER=")
        else:
            entry = pwd.getpwuid(os.geteuid())
        self.name = entry.pw_name
        self.group = grp.getgrgid(entry.pw_gid).gr_name
        self.uid, self.gid = entry.pw_uid, entry.pw_gid

    def directives(self):
        return f"User {self.name}\nGroup {self.group}" if self.is_root else ""

    def run(self, command):
        """Run a command as this user; used to ask, so its output is captured."""
        identity = {}
        if self.is_root:
            groups = os.getgrouplist(self.name, self.gid)
            identity = {"user": self.uid, "group": self.gid, "extra_groups": groups}
        return subprocess.run(command, cwd="/", capture_output=True, text=True, **identity)

    def cannot_reach(self, path):
        """None, or the first part of an existing path that this user may not enter or read."""
        path = Path(path).resolve()
        for part in [*reversed(path.parents), path]:
            wanted = "-x" if part.is_dir() else "-r"
            if self.run(["test", wanted, str(part)]).returncode:
                return part
        return None


def _exists(user):
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def server_directory(name, user):
    """A fresh directory that `user` can reach: target/<name>, else one under the system's /tmp.

    Returns it and whether it is temporary, in which case the caller removes it.
    """
    directory = REPOSITORY / "target" / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    directory.chmod(0o755)
    if user.cannot_reach(directory) is None:
        return directory, False
    directory.rmdir()
    directory = Path(tempfile.mkdtemp(prefix="mod_wsgi-"))
    directory.chmod(0o755)
    return directory, True


def copy_modules(directory):
    """Copy our two modules to where the server's user can read them; returns the httpd one."""
    for name in ("mod_wsgi.so", "mod_wsgi_python.abi3.so"):
        if not (MODULES / name).exists():
            raise Failure(f"{MODULES / name} is not built: run make")
        shutil.copy(MODULES / name, directory)
        (directory / name).chmod(0o644)
    return directory / "mod_wsgi.so"


def port_problem(port):
    """None, or why 127.0.0.1:port cannot be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError as error:
            return error.strerror
    return None


def answers(port):
    """Whether something accepts connections on 127.0.0.1:port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """One httpd in the foreground, under a keeper process that outlives all it started.

    The keeper is a child subreaper: whatever httpd, its supervisor and the daemon processes leave
    behind becomes its child, so that it can end them all, and so that their CPU time is found
    under one process. It ends when they are gone, and ends them when we go.
    """

    STOP_SECONDS = 15

    def __init__(self, httpd, configuration, root, output=None):
        command = [httpd.binary, "-d", str(root), "-f", str(configuration), "-DFOREGROUND"]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("MAKE")
        }
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-E", __file__, str(os.getpid()), *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,
        )
        self.pid = self.process.pid

    def ended(self):
        return self.process.poll() is not None

    def wait_until_answering(self, port, seconds=30):
        deadline = time.monotonic() + seconds
        while not answers(port):
            if self.ended():
                raise Failure("httpd did not start; what it said is above or in its error log")
            if time.monotonic() > deadline:
                raise Failure(f"httpd did not answer on port {port} within {seconds} seconds")
            time.sleep(0.02)

    def stop(self):
        if not self.ended():
            self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def descendants(pid):
    """Process ids of everything below pid, from /proc."""
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text("latin-1")
            except OSError:
                continue
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _keep(owner, command):
    """The keeper's life: start httpd, wait until all of its processes are gone."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wanted = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != owner:
        return 1
    # Kept, but never asked: waitpid below is the only one that collects ended processes.
    started = subprocess.Popen(
        command, preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, wanted)
    )
    httpd, status, deadline = started.pid, 0, None
    while True:
        while True:
            try:
                pid, code = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return status
            if pid == 0:
                break
            if pid == httpd:
                status = os.waitstatus_to_exitcode(code)
                httpd = None
                deadline = time.monotonic() + Server.STOP_SECONDS
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if left == 0.0:
            for pid in descendants(os.getpid()):
                _kill(pid, signal.SIGKILL)
            left = 1.0
        received = signal.sigwait(wanted) if left is None else _timed(wanted, left)
        if received not in (None, signal.SIGCHLD):
            deadline = time.monotonic() + Server.STOP_SECONDS
            if httpd is not None:
                _kill(httpd, signal.SIGTERM)


def _timed(wanted, seconds):
    information = signal.sigtimedwait(wanted, seconds)
    return None if information is None else information.si_signo


def _kill(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    sys.exit(abs(_keep(int(sys.argv[1]), sys.argv[2:])))
