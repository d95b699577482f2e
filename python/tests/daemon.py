# SPDX-License-Identifier: Apache-2.0
"""The other side of a daemon process, for tests: a supervisor that starts one, and an httpd child
that sends it requests.

Written in Python from the descriptions in `protocol/src`, so that a mistake that both Rust sides
share is noticed.
"""

from __future__ import annotations

import array
import dataclasses
import functools
import mmap
import os
import re
import secrets
import select
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROTOCOL = ROOT / "protocol" / "src"

REQUEST, BODY, BODY_ERROR, VALUE = 1, 2, 3, 4
PULL, HEAD, DATA, FILE, LOG, END, REJECT, ERROR = 16, 17, 18, 19, 20, 21, 22, 23
LOOKUP, ANSWER = 24, 25
LAST, INCOMPLETE = 1, 2
READY, REPLACE, LEAVING, DRAIN, STOP = 1, 2, 3, 16, 17
NOT_LOADED, SERVE, KEEP = 4, 19, 20
FORKED, FORK_FAILED, FORK = 8, 9, 24
NO_SLOT = 0xFFFFFFFF
DEADLINE = 30.0

# protocol/src/hook.rs
ACCESS, PASSWORD, REALM_HASH, GROUPS, DISPATCH = 1, 2, 3, 4, 5
YES, NO, UNKNOWN, FAILED = 0, 1, 2, 3

# protocol/src/log.rs
HAS_ORIGIN = 0x20

# protocol/src/region.rs
HEADER_WORDS, SET_WORDS, PROCESS_WORDS, SLOT_WORDS = 16, 68, 6, 32
SCRIPTS, SCRIPT_WORDS = 8, 256


def wait_for(condition) -> None:
    """Waits until `condition()` holds."""
    limit = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < limit
        select.select([], [], [], 0.01)


def library() -> Path:
    """The library under test: MOD_WSGI_PYTHON_LIBRARY, or what `make` built."""
    named = os.environ.get("MOD_WSGI_PYTHON_LIBRARY")
    return Path(named or ROOT / "target" / "modules" / "mod_wsgi_python.abi3.so").resolve()


def embedded_host() -> Path:
    """The program that stands for an httpd child: MOD_WSGI_EMBEDDED_HOST, or what cargo built
    (`cargo build --example embedded_host`)."""
    named = os.environ.get("MOD_WSGI_EMBEDDED_HOST")
    if named:
        return Path(named)
    folders = [library().parent, ROOT / "target" / "release", ROOT / "target" / "debug"]
    built = [folder / "examples" / "embedded_host" for folder in folders]
    found = [path for path in built if path.exists()]
    assert found, "the example embedded_host is not built"
    return found[0]


def bootstrap() -> str:
    """`protocol::bootstrap::SOURCE`."""
    text = (PROTOCOL / "bootstrap.rs").read_text()
    source = re.search(r'pub const SOURCE: &str = "\\\n(.*?)\n";', text, re.DOTALL)
    assert source
    return source.group(1).replace("\\\\n", "\\n") + "\n"


@functools.cache
def build_id() -> bytes:
    return subprocess.run([embedded_host(), "build-id"], check=True, capture_output=True).stdout


def keys() -> list[str]:
    text = (PROTOCOL / "key.rs").read_text()
    table = re.search(r"pub const KEYS: &\[&str\] = &\[(.*?)\];", text, re.DOTALL)
    assert table
    return re.findall(r'"([^"]+)"', table.group(1))


KEYS = keys()


def short(data: bytes) -> bytes:
    return struct.pack("<H", len(data)) + data


def long(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def optional(data: bytes | None) -> bytes:
    return b"\0" if data is None else b"\1" + long(data)


def optional_number(number: int | None) -> bytes:
    return b"\0" if number is None else struct.pack("<BQ", 1, number)


@dataclasses.dataclass
class Layer:
    """`protocol::settings::Layer`."""

    application_group: bytes | None = None
    python_path: bytes | None = None
    switch_interval: int | None = None
    own_gil: bool | None = None
    restrict_stdin: bool | None = None
    restrict_stdout: bool | None = None
    restrict_signal: bool | None = None

    def encode(self) -> bytes:
        out = optional(self.application_group) + optional(self.python_path)
        out += optional_number(self.switch_interval)
        for choice in (
            self.own_gil,
            self.restrict_stdin,
            self.restrict_stdout,
            self.restrict_signal,
        ):
            out += bytes([2 if choice is None else choice])
        return out


@dataclasses.dataclass
class Settings:
    """`protocol::settings::Settings`, with what most tests need."""

    build_id: bytes = b""
    process_group: bytes = b"test"
    application_group: bytes | None = None
    interpreters: bool = False
    multithread: bool = True
    multiprocess: bool = False
    run_once: bool = False
    restrict_stdin: bool = False
    restrict_stdout: bool = False
    restrict_signal: bool = True
    case_sensitivity: bool = True
    own_gil: bool = False
    skip_finalisation: bool = False
    hide_hash_seed: bool = False
    is_template: bool = False
    application_groups: int = 0
    stands_by: bool = False
    keeps_old_code: bool = False
    watches_modules: bool = False
    server_metrics: bool = False
    threads: int = 2
    processes: int = 1
    home: bytes | None = None
    python_path: bytes | None = None
    python_eggs: bytes | None = None
    switch_interval: int | None = None
    display_name: bytes | None = None
    locale: bytes | None = None
    maximum_requests: int = 0
    socket_timeout: int = 30
    send_buffer_size: int = 0
    receive_buffer_size: int = 0
    queue_timeout: int = 0
    startup_timeout: int = 0
    request_timeout: int = 0
    interrupt_timeout: int = 0
    inactivity_timeout: int = 0
    deadlock_timeout: int = 0
    restart_interval: int = 0
    eviction_timeout: int = 0
    slow_requests: int = 0
    stack_size: int = 0
    graceful_timeout: int = 15
    shutdown_timeout: int = 5
    log_level: int = 7
    peer_uid: int = dataclasses.field(default_factory=os.getuid)
    process_slot: int = 0
    set: int = 0
    geometry: tuple[int, int, int, int] = (2, 4, 1, 1)
    preload: tuple[tuple[bytes, bytes], ...] = ()
    layers: tuple[Layer, ...] = ()

    def encode(self) -> bytes:
        out = struct.pack("<I", 5) + long(self.build_id or build_id()) + long(self.process_group)
        out += optional(self.application_group)
        for flag in (
            self.interpreters,
            self.multithread,
            self.multiprocess,
            self.run_once,
            self.restrict_stdin,
            self.restrict_stdout,
            self.restrict_signal,
            self.case_sensitivity,
            self.own_gil,
            self.skip_finalisation,
            self.hide_hash_seed,
            self.is_template,
            self.stands_by,
            self.keeps_old_code,
            self.watches_modules,
            self.server_metrics,
        ):
            out += bytes([flag])
        out += struct.pack("<III", self.application_groups, self.threads, self.processes)
        for text in (self.home, self.python_path, self.python_eggs):
            out += optional(text)
        out += optional_number(self.switch_interval)
        for text in (self.display_name, self.locale):
            out += optional(text)
        out += struct.pack(
            "<QIIIIIIIIIIIQQIIBIII",
            self.maximum_requests,
            self.socket_timeout,
            self.send_buffer_size,
            self.receive_buffer_size,
            self.queue_timeout,
            self.startup_timeout,
            self.request_timeout,
            self.interrupt_timeout,
            self.inactivity_timeout,
            self.deadlock_timeout,
            self.restart_interval,
            self.eviction_timeout,
            self.slow_requests,
            self.stack_size,
            self.graceful_timeout,
            self.shutdown_timeout,
            self.log_level,
            self.peer_uid,
            self.process_slot,
            self.set,
        )
        out += struct.pack("<4I", *self.geometry)
        out += struct.pack("<3I", 2, 4, 66) + long(b"Apache/2.4.66 (test)")
        out += long(b"2026-01-01T00:00:00") + long(b"event") + struct.pack("<2I", 8, 25)
        out += struct.pack("<I", len(self.preload))
        for script, group in self.preload:
            out += long(script) + long(group)
        out += struct.pack("<I", len(self.layers))
        for layer in self.layers:
            out += layer.encode()
        return out


class Region:
    """The shared memory of the process group."""

    def __init__(self, geometry: tuple[int, int, int, int]):
        self.children, self.slots, self.processes, self.sets = geometry
        self.owners_at = HEADER_WORDS + self.sets * SET_WORDS + self.processes * PROCESS_WORDS
        end = self.owners_at + self.children + self.processes * self.children
        self.slots_at = -(-end // SLOT_WORDS) * SLOT_WORDS
        words = self.slots_at + self.children * self.slots * SLOT_WORDS
        words += self.sets * SCRIPTS * SCRIPT_WORDS
        self.descriptor = os.memfd_create("region")
        os.ftruncate(self.descriptor, words * 4)
        self.memory = mmap.mmap(self.descriptor, words * 4)

    def own(self, child: int, pid: int) -> None:
        struct.pack_into("<I", self.memory, (self.owners_at + child) * 4, pid)

    def mark(self, slot: int) -> int:
        at = (self.slots_at + slot * SLOT_WORDS) * 4
        return struct.unpack_from("<I", self.memory, at)[0]

    def close(self) -> None:
        self.memory.close()
        os.close(self.descriptor)


@dataclasses.dataclass
class Response:
    """What the daemon said to one request."""

    status: int = 0
    status_line: str = ""
    headers: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    body: bytes = b""
    logs: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    files: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    frames: list[int] = dataclasses.field(default_factory=list)
    pulls: list[int] = dataclasses.field(default_factory=list)
    complete: bool = False
    # Of the frame that ended the response, in µs.
    daemon_start: int = 0
    application_time: int = 0
    error: int | None = None
    rejected: int | None = None
    # What a hook said: the outcome and the values.
    answer: int | None = None
    values: list[bytes | None] = dataclasses.field(default_factory=list)
    lookups: list[bytes] = dataclasses.field(default_factory=list)

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)

    def log(self) -> str:
        return "\n".join(text for _, text in self.logs)


class Connection:
    """A connection of an httpd child."""

    def __init__(self, path: str):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(path)
        self.received: list[int] = []

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def send_frame(self, kind: int, payload: bytes = b"", flags: int = 0) -> None:
        self.socket.sendall(struct.pack("<IBBH", len(payload), kind, flags, 0) + payload)

    def _take(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part, ancillary, _, _ = self.socket.recvmsg(count - len(data), socket.CMSG_SPACE(4))
            for level, kind, value in ancillary:
                assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                descriptors = array.array("i")
                descriptors.frombytes(value)
                self.received += descriptors
            if not part:
                raise EOFError(data)
            data += part
        return data

    def frame(self) -> tuple[int, int, bytes]:
        length, kind, flags, reserved = struct.unpack("<IBBH", self._take(8))
        assert reserved == 0
        return kind, flags, self._take(length)

    def at_end(self) -> bool:
        """Whether the daemon closed the connection; waits for it."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def request(self, script, body: bytes = b"", **options) -> Response:
        self.send_request(script, body, **options)
        return self.response(options.get("rest", ()))

    def ask(self, hook: int, script, *arguments: bytes, variables=None, **options) -> Response:
        """Asks a hook; `variables` are those of mod_ssl."""
        body = struct.pack("<H", len(arguments)) + b"".join(map(long, arguments))
        self.send_request(script, body, hook=hook, **options)
        return self.response(variables=variables)

    def send_request(self, script, body: bytes = b"", **options) -> None:
        self.send_frame(REQUEST, encode_request(script, body, **options))

    def response(self, rest=(), variables=None) -> Response:
        """Reads a response; `rest` are the pieces of the body that are given when asked for, bytes
        or the number of an error, `variables` those of mod_ssl."""
        response = Response()
        pieces = list(rest)
        while True:
            kind, flags, payload = self.frame()
            response.frames.append(kind)
            if kind == PULL:
                (most,) = struct.unpack("<I", payload)
                response.pulls.append(most)
                self._answer(most, pieces)
            elif kind == LOG:
                response.logs.append(log_entry(payload))
            elif kind == HEAD:
                if flags & LAST:
                    payload = take_times(payload, response)
                response.body += decode_head(payload, response)
            elif kind == DATA:
                response.body += payload
            elif kind == FILE:
                offset, length = struct.unpack("<QQ", payload)
                response.files.append((offset, length))
                descriptor = self.received.pop()
                response.body += os.pread(descriptor, length, offset)
                os.close(descriptor)
            elif kind == END:
                assert take_times(payload, response) == b""
                response.complete = not flags & INCOMPLETE
                return response
            elif kind == REJECT:
                response.rejected = payload[0]
                return response
            elif kind == ERROR:
                (response.error,) = struct.unpack("<H", take_times(payload, response))
                return response
            elif kind == LOOKUP:
                response.lookups.append(payload)
                value = (variables or {}).get(payload)
                self.send_frame(VALUE, b"\0" if value is None else b"\1" + value)
            elif kind == ANSWER:
                decode_answer(payload, response)
                return response
            else:
                raise AssertionError(f"frame of kind {kind}")
            if kind == HEAD and flags & LAST:
                response.complete = True
                return response

    def _answer(self, most: int, pieces: list) -> None:
        if most == 0:
            self.send_frame(BODY)
            return
        piece = pieces.pop(0) if pieces else b""
        if isinstance(piece, int):
            self.send_frame(BODY_ERROR, bytes([piece]) + b"reason")
            return
        if len(piece) > most:
            pieces.insert(0, piece[most:])
            piece = piece[:most]
        self.send_frame(BODY, piece, 0 if pieces else LAST)


def encode_request(
    script,
    body: bytes = b"",
    environ: dict[str, str] | None = None,
    group: str = "",
    callable_object: str = "application",
    pulled: bool = False,
    slot: int = NO_SLOT,
    mark: int = 1,
    reloading: bool = True,
    mtime: int | None = None,
    rest=(),
    hook: int = 0,
    log_level: int = 7,
    resource: str = "",
    pass_request: bool = False,
    request_start: int = 1_700_000_000_000_000,
) -> bytes:
    script = os.fspath(script)
    if mtime is None:
        try:
            mtime = os.stat(script).st_mtime_ns // 1000
        except OSError:
            mtime = -1
    flags = reloading | pass_request << 3
    out = struct.pack("<IIBBBB", slot, mark, bool(pulled or rest), flags, hook, log_level)
    out += struct.pack("<qqqq", request_start, 1_700_000_000_100_000, -1, mtime)
    out += short(os.fsencode(script)) + short(group.encode()) + short(callable_object.encode())
    out += short(os.fsencode(resource))
    entries = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SCRIPT_FILENAME": script,
        "mod_wsgi.application_group": group,
    } | (environ or {})
    out += struct.pack("<H", len(entries))
    for name, value in entries.items():
        if name in KEYS:
            out += bytes([KEYS.index(name) + 1])
        else:
            out += b"\0" + short(name.encode("latin-1"))
        out += long(value.encode("utf-8", "surrogateescape"))
    return out + body


def log_entry(payload: bytes) -> tuple[int, str]:
    """Level and text; the place in the source is left out."""
    flags, text = payload[0], payload[1:]
    if flags & HAS_ORIGIN:
        (length,) = struct.unpack_from("<H", text, 4)
        text = text[6 + length :]
    return flags & 0x0F, text.decode()


def take_times(payload: bytes, response: Response) -> bytes:
    """What stands in front of the times at the end of the payload."""
    response.daemon_start, response.application_time = struct.unpack("<qQ", payload[-16:])
    return payload[:-16]


def decode_head(payload: bytes, response: Response) -> bytes:
    status, length = struct.unpack_from("<HH", payload)
    at = 4 + length
    response.status, response.status_line = status, payload[4:at].decode("latin-1")
    (count,) = struct.unpack_from("<H", payload, at)
    at += 2
    for _ in range(count):
        pair = []
        for form in ("<H", "<I"):
            (length,) = struct.unpack_from(form, payload, at)
            at += struct.calcsize(form)
            pair.append(payload[at : at + length].decode("latin-1"))
            at += length
        response.headers.append(tuple(pair))
    return payload[at:]


def decode_answer(payload: bytes, response: Response) -> None:
    response.answer, count = struct.unpack_from("<BH", payload)
    at = 3
    for _ in range(count):
        value = None
        at += 1
        if payload[at - 1]:
            (length,) = struct.unpack_from("<I", payload, at)
            value = payload[at + 4 : at + 4 + length]
            at += 4 + length
        response.values.append(value)
    assert at == len(payload)


class Daemon:
    """A daemon process with its supervisor's ends of everything."""

    def __init__(self, python: str, folder: Path, settings: Settings, env=None, wait: bool = True):
        self.settings = settings
        self.region = Region(settings.geometry)
        self.region.own(0, os.getpid())
        self.control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.path = str(folder / "socket")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.path)
        listener.listen(64)
        self.output, output = os.pipe()
        inherited = [control.fileno(), listener.fileno(), self.region.descriptor]
        # A template has no listener.
        targets = [3, 3 if settings.is_template else 4, 5]
        words = [f"{number}:{target}" for number, target in zip(inherited, targets, strict=True)]
        self.process = subprocess.Popen(
            [python, "-c", STARTER, *reversed(words), python, bootstrap(), str(library())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=inherited,
            env={**os.environ, **(env or {})},
        )
        control.close()
        listener.close()
        os.close(output)
        self.text = ""
        self.control.settimeout(DEADLINE)
        self.control.send(settings.encode())
        if wait:
            assert self.told() == (READY, 5), self.log()

    def told(self) -> tuple[int, int] | None:
        """The next message of the daemon; None when it is gone."""
        message = self.control.recv(64)
        return struct.unpack_from("<II", message) if message else None

    def tell(self, control: int, value: int = 0) -> None:
        self.control.send(struct.pack("<IIQ", control, value, 0))

    def fork(self, folder: Path, settings: Settings | None = None) -> Worker:
        """Has this process, a template, fork a worker."""
        worker = Worker(self, folder, settings or self.settings)
        told, worker.pid = self.told() or (0, 0)
        assert told == FORKED, self.log()
        assert worker.told() == (READY, 5), worker.log()
        return worker

    def connect(self) -> Connection:
        return Connection(self.path)

    def request(self, script, body: bytes = b"", **options) -> Response:
        with self.connect() as connection:
            return connection.request(script, body, **options)

    def ask(self, hook: int, script, *arguments: bytes, **options) -> Response:
        with self.connect() as connection:
            return connection.ask(hook, script, *arguments, **options)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def log(self, until: str = "") -> str:
        """What the process wrote; waits until `until` is in it, or, without, for its end."""
        limit = time.monotonic() + DEADLINE
        while not until or until not in self.text:
            left = limit - time.monotonic()
            ready, _, _ = select.select([self.output], [], [], max(left, 0))
            assert ready, f"no {until!r} in:\n{self.text}"
            data = os.read(self.output, 65536)
            if not data:
                break
            self.text += data.decode("utf-8", "replace")
        return self.text

    def wait(self) -> int:
        return self.process.wait(DEADLINE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.control.close()
        self.region.close()
        os.close(self.output)


class Worker:
    """What a template has forked, with its supervisor's ends of everything."""

    def __init__(self, template: Daemon, folder: Path, settings: Settings):
        self.settings = dataclasses.replace(settings, is_template=False)
        self.region = template.region
        self.control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(DEADLINE)
        self.control.send(self.settings.encode())
        self.path = str(folder / f"worker{secrets.token_hex(4)}")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.path)
        listener.listen(64)
        self.output, output = os.pipe()
        given = array.array("i", [control.fileno(), listener.fileno(), output, output])
        message = struct.pack("<IIQ", FORK, 0, 0)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, given)]
        template.control.sendmsg([message], rights)
        control.close()
        listener.close()
        os.close(output)
        self.text = ""
        self.pid = 0

    def never_was(self) -> bool:
        """Whether nobody has its end of the control socket; waits for it."""
        try:
            return self.control.recv(64) == b""
        except ConnectionResetError:
            # The settings were not read.
            return True

    told = Daemon.told
    tell = Daemon.tell
    connect = Daemon.connect
    request = Daemon.request
    log = Daemon.log

    def wait(self) -> int:
        """Its exit status: this process, a subreaper, is its parent."""
        limit = time.monotonic() + DEADLINE
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < limit
            time.sleep(0.01)

    def close(self) -> None:
        self.control.close()
        os.close(self.output)


# Moves the inherited descriptors to where a daemon process expects them, then becomes it.
STARTER = """
import fcntl, os, sys
pairs = [map(int, word.split(":")) for word in sys.argv[1:4]]
pairs = [(fcntl.fcntl(number, fcntl.F_DUPFD, 20), target) for number, target in pairs]
os.closerange(3, 20)
for number, target in pairs:
    os.dup2(number, target)
os.closerange(6, 64)
python = sys.argv[4]
os.execv(python, [python, "-c", sys.argv[5], sys.argv[6], "daemon"])
"""


class Embedded:
    """A process with an interpreter inside, as an httpd child has one in embedded mode."""

    def __init__(self, python: str, folder: Path, settings: Settings, env=None, wait: bool = True):
        settings = dataclasses.replace(
            settings, process_group=b"", interpreters=True, geometry=(0, 0, 0, 0)
        )
        self.path = str(folder / "socket")
        (folder / "settings").write_bytes(settings.encode())
        self.output, output = os.pipe()
        words = [self.libpython(python), python, library(), bootstrap(), folder / "settings"]
        self.process = subprocess.Popen(
            [embedded_host(), *words, self.path],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, **(env or {})},
        )
        os.close(output)
        self.text = ""
        if wait:
            self.log("ready\n")

    @staticmethod
    def libpython(python: str) -> str | None:
        """The shared library of an interpreter, if it has one."""
        probe = "import sysconfig as s; print(*map(s.get_config_var, ('LIBDIR', 'INSTSONAME')))"
        found = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=True)
        path = Path(*found.stdout.split())
        return str(path) if path.suffix != ".a" and path.exists() else None

    connect = Daemon.connect
    request = Daemon.request
    ask = Daemon.ask
    log = Daemon.log
    wait = Daemon.wait

    def stop(self) -> None:
        """Ends the process as httpd ends a child."""
        self.process.stdin.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        os.close(self.output)
