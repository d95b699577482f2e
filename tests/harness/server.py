# SPDX-License-Identifier: Apache-2.0
"""One httpd: its folder, its processes, its log, and requests to it.

`begin_test` and `end_test` frame each test during which the server lives; what a server leaves
behind (log lines, descriptors, zombies, processes, sockets, shared memory) is reported by
`end_test` and `stop` as lines of text, and the plugin fails the test with them.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness import configuration, httpd_build
from harness.client import Connection, RawConnection, Response
from harness.log import ErrorLog, Expectation, LogAudit, LogRecord, TracebackExpectation
from harness.ports import free_port, release_port
from harness.processes import MARK, Process, ProcessTree, end_with_parent
from harness.under_test import OURS, ModuleUnderTest
from harness.waiting import DEADLINE, wait_until

APPS = Path(__file__).resolve().parents[1] / "apps"
STARTED = "resuming normal operations"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEEP = "MOD_WSGI_TEST_KEEP" in os.environ


@dataclass(frozen=True)
class ConfigTest:
    """What `httpd -t` said."""

    status: int
    output: str

    @property
    def accepted(self) -> bool:
        return self.status == 0


class Server:
    """An httpd in a folder of its own. Made by the fixtures, which also stop it."""

    def __init__(
        self,
        module: ModuleUnderTest,
        folder: Path,
        config: str = "",
        *,
        modules: Iterable[str] = (),
        ports: Iterable[str] = (),
        mpm: str = "event",
        environment: Mapping[str, str] | None = None,
        load_wsgi: bool = True,
    ) -> None:
        self.module = module
        self.mpm = mpm
        self.root = Path(tempfile.mkdtemp(prefix="server-", dir=folder))
        self.root.chmod(0o755)
        for name in ("conf", "logs", "run", "htdocs"):
            (self.root / name).mkdir()
            (self.root / name).chmod(0o755)
        self.apps = self.root / "apps"
        shutil.copytree(APPS, self.apps, ignore=shutil.ignore_patterns("__pycache__"))
        _make_readable(self.apps)
        self.write("conf/mime.types", "text/plain txt\ntext/html html\n")
        self.ports = {name: free_port() for name in ("", *ports)}
        self.log = ErrorLog(self.root / "logs/console.log", self.root / "logs/error.log")
        self._modules = tuple(dict.fromkeys((*configuration.DEFAULT_MODULES, *modules)))
        self._load_wsgi = load_wsgi
        self._mark = uuid.uuid4().hex
        self.environment = {"PATH": PATH, "LANG": "C", MARK: self._mark}
        self.environment.update(environment or {})
        self.tree = ProcessTree(self._mark)
        self._popen: subprocess.Popen[bytes] | None = None
        self._audit = LogAudit(self.log)
        self._parent_descriptors: Counter[str] = Counter()
        self._shared_memory: set[Path] = set()
        self.configure(config)

    # Configuration and files

    @property
    def port(self) -> int:
        return self.ports[""]

    @property
    def configuration_file(self) -> Path:
        return self.root / "conf/httpd.conf"

    def configure(self, config: str) -> None:
        """Replace the test's part of the configuration; takes effect with the next (re)start."""
        self.configuration_file.write_text(self._whole(config))

    def _whole(self, config: str) -> str:
        base = configuration.base(
            self.root,
            self.module.path if self._load_wsgi else None,
            self.module.python,
            self._modules,
            self.mpm,
            self.ports,
        )
        return f"{base}# The test's own part.\n{config}\n"

    def configtest(self, config: str) -> ConfigTest:
        """What `httpd -t` says of the base configuration with this part; nothing need run."""
        path = self.root / "conf/configtest.conf"
        path.write_text(self._whole(config))
        result = subprocess.run(
            [httpd_build.httpd(), "-t", "-d", self.root, "-f", path],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=2 * DEADLINE,
        )
        return ConfigTest(result.returncode, result.stdout.decode("utf-8", "backslashreplace"))

    def write(self, path: str, content: str | bytes) -> Path:
        """Write a file below the server root, readable by everyone."""
        file = self.root / path
        missing = [parent for parent in file.parents if not parent.exists()]
        file.parent.mkdir(parents=True, exist_ok=True)
        for parent in missing:
            parent.chmod(0o755)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        file.chmod(0o644)
        return file

    def touch(self, path: Path) -> None:
        """Give the file another modification time than it had, whatever the clock's grain."""
        before = path.stat()
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))

    # Life

    def start(self) -> "Server":
        """Start httpd in the foreground and wait until it serves."""
        assert self._popen is None, "the server runs already"
        start = self.log.length
        with open(self.root / "logs/console.log", "ab") as console:
            self._popen = subprocess.Popen(
                [
                    httpd_build.httpd(),
                    "-DFOREGROUND",
                    "-d",
                    self.root,
                    "-f",
                    self.configuration_file,
                ],
                cwd="/",
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        self.tree.roots.add(self._popen.pid)
        wait_until(
            lambda: self._popen.poll() is not None or self.log.find(STARTED, start),
            lambda: f"httpd to start; the log has\n{self.log.text(start)}",
        )
        if self._popen.poll() is not None:
            status = self._popen.returncode
            self._popen = None
            raise AssertionError(f"httpd ended with status {status}\n{self.log.text(start)}")
        wait_until(lambda: self.httpd_children, "an httpd child that listens")
        self._remember_descriptors()
        return self

    @property
    def running(self) -> bool:
        return self._popen is not None

    @property
    def pid(self) -> int:
        """The httpd parent process."""
        assert self._popen is not None, "the server does not run"
        return self._popen.pid

    @property
    def parent(self) -> Process:
        process = Process.of(self.pid)
        assert process is not None, f"the httpd parent {self.pid} is gone"
        return process

    def send_signal(self, number: int) -> None:
        """Signal the httpd parent."""
        os.kill(self.pid, number)

    def graceful(self) -> None:
        """Graceful restart: returns when the parent has started the new generation."""
        self._again(signal.SIGUSR1)

    def restart(self) -> None:
        """Restart that ends running requests: returns when the new generation has been started."""
        self._again(signal.SIGHUP)

    def _again(self, number: int) -> None:
        start = self.log.length
        self.send_signal(number)
        self.log.wait(STARTED, start)

    def stop(self, number: int = signal.SIGTERM, deadline: float = DEADLINE) -> list[str]:
        """Stop httpd with a signal; returns what it left behind, as lines of text."""
        if self._popen is None:
            return []
        self._note_shared_memory()
        # A worker of the event MPM may be about to keep a connection while its child stops.
        self.tolerate_log("AH03093: process_socket: apr_pollset_add failure for keep alive")
        popen, self._popen = self._popen, None
        if popen.poll() is None:
            popen.send_signal(number)
        wrong = []
        try:
            status = popen.wait(deadline)
            if number == signal.SIGTERM and status != 0:
                wrong.append(f"httpd ended with status {status}")
        except subprocess.TimeoutExpired:
            wrong.append(f"httpd had not ended {deadline:g} s after signal {number}")
            popen.kill()
            popen.wait()
        self.tree.roots.discard(popen.pid)
        wrong += self._leftovers(deadline)
        return wrong

    def wait_for_no_processes(self, deadline: float = DEADLINE) -> None:
        wait_until(lambda: not self.tree.processes(), self._describe_processes, deadline)

    def reap_killed_parent(self) -> None:
        """After the test killed the httpd parent with -9: take its status."""
        popen, self._popen = self._popen, None
        assert popen is not None
        popen.wait(DEADLINE)
        self.tree.roots.discard(popen.pid)

    def _leftovers(self, deadline: float) -> list[str]:
        wrong = []
        try:
            self.wait_for_no_processes(deadline)
        except AssertionError as error:
            wrong.append(f"processes are left after the server stopped: {error}")
            self.end_processes()
        left = sorted(path.name for path in (self.root / "run").iterdir())
        if left:
            wrong.append(f"files are left in the runtime folder: {left}")
        left = sorted(str(path) for path in self._shared_memory if path.exists())
        if left:
            wrong.append(f"shared memory is left: {left}")
        return wrong

    def end_processes(self) -> None:
        """Kill whatever of this server still runs. For cleaning up after a failure only."""
        for process in self.tree.processes():
            if process.runs:
                os.kill(process.pid, signal.SIGKILL)
        wait_until(
            lambda: not any(process.runs for process in self.tree.processes()),
            self._describe_processes,
        )

    def remove(self) -> None:
        """Delete the folder and give the ports back. The server must have stopped."""
        for port in self.ports.values():
            release_port(port)
        if not _KEEP:
            shutil.rmtree(self.root, ignore_errors=True)

    # Processes

    def _describe_processes(self) -> str:
        return "no processes, but there are\n" + "\n".join(map(str, self.tree.processes()))

    def _listening_sockets(self) -> set[str]:
        """The TCP sockets httpd listens on, as /proc/<pid>/fd shows them."""
        wanted = {f"{port:04X}" for port in self.ports.values()}
        sockets = set()
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[1].rpartition(":")[2] in wanted:
                sockets.add(f"socket:[{fields[9]}]")
        return sockets

    @property
    def httpd_children(self) -> list[Process]:
        """The MPM's child processes that accept connections."""
        listening = self._listening_sockets()
        return [
            process
            for process in self.tree.processes()
            if process.parent == self.pid and listening & set(process.descriptors.values())
        ]

    @property
    def supervisors(self) -> list[Process]:
        """Ours: children of the httpd parent that run httpd's binary but accept no connections."""
        return [process for process in self._not_listening() if OURS]

    @property
    def daemon_processes(self) -> list[Process]:
        """The processes that run WSGI applications in daemon mode, of all groups."""
        if not OURS:
            return self._not_listening()
        binary = str(httpd_build.httpd())
        supervisors = {process.pid for process in self.supervisors}
        return [
            process
            for process in self.tree.processes()
            if process.parent in supervisors and process.runs and process.executable != binary
        ]

    def _not_listening(self) -> list[Process]:
        listening = self._listening_sockets()
        binary = str(httpd_build.httpd())
        return [
            process
            for process in self.tree.processes()
            if process.parent == self.pid
            and process.runs
            and process.executable == binary
            and not listening & set(process.descriptors.values())
        ]

    @property
    def daemon_sockets(self) -> list[bytes]:
        """Addresses of the UNIX sockets that the server's processes listen on; abstract ones begin
        with a NUL."""
        mine = {
            target for process in self.tree.processes() for target in process.descriptors.values()
        }
        found = set()
        for line in Path("/proc/net/unix").read_bytes().splitlines()[1:]:
            fields = line.split(None, 7)
            listens = int(fields[3], 16) & 0x10000
            if len(fields) == 8 and listens and f"socket:[{int(fields[6])}]" in mine:
                found.add(b"\0" + fields[7][1:] if fields[7].startswith(b"@") else fields[7])
        return sorted(found)

    # Requests

    def get(self, path: str = "/", **options) -> Response:
        return self.request(path, **options)

    def post(self, path: str, body, **options) -> Response:
        return self.request(path, method="POST", body=body, **options)

    def request(self, path: str = "/", *, port: str = "", **options) -> Response:
        """One request on a connection of its own; options as for Connection.request."""
        with self.connection(port) as connection:
            return connection.request(path, **options)

    def connection(self, port: str = "") -> Connection:
        """A keep-alive connection to the port of that name."""
        return Connection(self.ports[port])

    def raw(self, port: str = "") -> RawConnection:
        return RawConnection(self.ports[port])

    # Declarations about the log

    def expect_log(self, pattern: str, count: int | None = None) -> Expectation:
        """Declare lines (regular expression, e.g. a WSGI number): at least one, or just `count`."""
        return self._audit.expect(pattern, count)

    def expect_traceback(
        self, exception: str, number: str = "WSGI0174", count: int | None = None
    ) -> TracebackExpectation:
        """Declare a numbered line and the traceback lines up to the one with `exception` in it."""
        return self._audit.expect_traceback(number, exception, count)

    def tolerate_log(self, pattern: str) -> None:
        """Allow lines whose appearance is decided by timing outside of the module under test."""
        self._audit.tolerate(pattern)

    def wait_log(self, pattern: str) -> LogRecord:
        """Wait for a line since the test began."""
        return self.log.wait(pattern, self._audit.start)

    def find_log(self, pattern: str) -> list[LogRecord]:
        """Lines since the test began."""
        return self.log.find(pattern, self._audit.start)

    def check_log_declarations(self) -> None:
        """Bring what the declarations have found up to date, without ending the audit."""
        self._audit.look()

    # Framing a test

    def begin_test(self) -> None:
        self._audit = LogAudit(self.log)
        if self.running:
            self._remember_descriptors()

    def end_test(self, deadline: float = DEADLINE) -> list[str]:
        """What the test left behind or did not declare, as lines of text."""
        return self.end_test_processes(deadline) + self._audit.check(deadline)

    def end_test_processes(self, deadline: float = DEADLINE) -> list[str]:
        """The part of `end_test` that looks at a running server's processes."""
        if not self.running:
            return []
        self._note_shared_memory()
        return self._descriptor_leaks(deadline) + self._zombies(deadline)

    def _remember_descriptors(self) -> None:
        self._parent_descriptors = self._descriptor_kinds()

    def _descriptor_kinds(self) -> Counter[str]:
        """The parent's descriptors by what they are, without the numbers the kernel gives."""
        return Counter(
            target.partition("[")[0]
            if target.startswith(("socket:", "pipe:"))
            else target.removesuffix(" (deleted)")
            for target in self.parent.descriptors.values()
        )

    def _descriptor_leaks(self, deadline: float) -> list[str]:
        try:
            wait_until(
                lambda: not self._descriptor_kinds() - self._parent_descriptors, "", deadline
            )
        except AssertionError:
            more = self._descriptor_kinds() - self._parent_descriptors
            return [f"the httpd parent has more open descriptors than before: {dict(more)}"]
        return []

    def _zombies(self, deadline: float) -> list[str]:
        def zombies() -> list[Process]:
            return [process for process in self.tree.processes() if process.state == "Z"]

        try:
            wait_until(lambda: not zombies(), "", deadline)
        except AssertionError:
            return ["nobody waits for these processes: " + "; ".join(map(str, zombies()))]
        return []

    def _note_shared_memory(self) -> None:
        for process in self.tree.processes():
            for path in (*process.mapped_files, *process.descriptors.values()):
                if path.startswith("/dev/shm/"):
                    self._shared_memory.add(Path(path.removesuffix(" (deleted)")))


def _make_readable(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else path.stat().st_mode | 0o444)
