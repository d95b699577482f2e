# SPDX-License-Identifier: Apache-2.0
"""Processes as /proc shows them.

The test run is a child subreaper: a process that loses its parent becomes ours instead of init's,
so nothing a server started can slip away unseen. Each server marks its environment; an adopted
process is attributed by that mark or because it was seen in the server's tree before.
"""

import contextlib
import ctypes
import os
import signal
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
MARK = "MOD_WSGI_TEST_SERVER"


_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def end_with_parent() -> None:
    """For a new child: be terminated when the test run dies, however that happens."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


@dataclass(frozen=True)
class Process:
    """One process, told by number and start time, so that a reused number is another."""

    pid: int
    started: int
    """Clock ticks after boot, from /proc/<pid>/stat."""

    @staticmethod
    def of(pid: int) -> "Process | None":
        stat = _stat(pid)
        return Process(pid, int(stat[19])) if stat else None

    def _stat(self) -> list[str] | None:
        stat = _stat(self.pid)
        return stat if stat and int(stat[19]) == self.started else None

    @property
    def exists(self) -> bool:
        """Still in the process table, be it as a zombie."""
        return self._stat() is not None

    @property
    def runs(self) -> bool:
        return self.state not in ("", "Z", "X")

    @property
    def state(self) -> str:
        stat = self._stat()
        return stat[0] if stat else ""

    @property
    def parent(self) -> int:
        stat = self._stat()
        return int(stat[1]) if stat else 0

    @property
    def processor_time(self) -> float:
        """Seconds, in and out of the kernel."""
        stat = self._stat()
        ticks = int(stat[11]) + int(stat[12]) if stat else 0
        return ticks / os.sysconf("SC_CLK_TCK")

    @property
    def session(self) -> int:
        stat = self._stat()
        return int(stat[3]) if stat else 0

    @property
    def command_line(self) -> bytes:
        return _read(self.pid, "cmdline")

    @property
    def name(self) -> str:
        """What the process calls itself, at most 15 characters."""
        return _read(self.pid, "comm").decode("latin-1").rstrip("\n")

    @property
    def executable(self) -> str:
        try:
            return os.readlink(f"/proc/{self.pid}/exe")
        except OSError:
            return ""

    @property
    def working_directory(self) -> str:
        try:
            return os.readlink(f"/proc/{self.pid}/cwd")
        except OSError:
            return ""

    @property
    def environment(self) -> dict[str, str]:
        """The environment the program was started with."""
        pairs = (item.partition(b"=") for item in _read(self.pid, "environ").split(b"\0") if item)
        return {name.decode("latin-1"): value.decode("latin-1") for name, _, value in pairs}

    @property
    def user(self) -> int:
        """Effective user id."""
        return int(self._status("Uid").split()[1])

    @property
    def group(self) -> int:
        return int(self._status("Gid").split()[1])

    @property
    def umask(self) -> int:
        return int(self._status("Umask"), 8)

    def _status(self, name: str) -> str:
        for line in _read(self.pid, "status").decode().splitlines():
            key, _, value = line.partition(":")
            if key == name:
                return value.strip()
        raise ProcessLookupError(f"process {self.pid} has no {name}")

    @property
    def thread_count(self) -> int:
        return int(self._status("Threads"))

    @property
    def descriptors(self) -> dict[int, str]:
        """Open descriptors and what they are, e.g. {3: "socket:[123]"}."""
        found = {}
        try:
            numbers = os.listdir(f"/proc/{self.pid}/fd")
        except OSError:
            return found
        for number in numbers:
            try:
                found[int(number)] = os.readlink(f"/proc/{self.pid}/fd/{number}")
            except OSError:
                continue
        return found

    @property
    def mapped_files(self) -> set[str]:
        lines = _read(self.pid, "maps").decode("latin-1").splitlines()
        return {parts[5] for parts in (line.split(None, 5) for line in lines) if len(parts) == 6}

    @property
    def private_memory(self) -> int:
        """Bytes only this process has: Private_Clean and Private_Dirty of smaps_rollup."""
        return self._memory("Private_Clean") + self._memory("Private_Dirty")

    @property
    def proportional_memory(self) -> int:
        """Pss of smaps_rollup, in bytes."""
        return self._memory("Pss")

    def _memory(self, name: str) -> int:
        for line in _read(self.pid, "smaps_rollup").decode().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
        raise ProcessLookupError(f"process {self.pid} has no {name}")

    def __str__(self) -> str:
        line = self.command_line.replace(b"\0", b" ").decode("latin-1").strip()
        return f"{self.pid} (parent {self.parent}, state {self.state or 'gone'}) {line}"


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the state on."""
    text = _read(pid, "stat").decode("latin-1")
    return text[text.rindex(")") + 2 :].split() if text else None


def _all() -> dict[int, tuple[Process, int]]:
    """Every process with its parent's number."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = _stat(int(name))
            if stat:
                found[int(name)] = (Process(int(name), int(stat[19])), int(stat[1]))
    return found


class ProcessTree:
    """All processes that descend from one server, orphans included."""

    def __init__(self, mark: str) -> None:
        self.mark = mark
        """Value of MARK in the environment of the server."""
        self.roots: set[int] = set()
        """Children of the test run that belong to the server: httpd's parent process."""
        self.seen: set[Process] = set()

    def processes(self) -> list[Process]:
        """Those that exist now, zombies included; ours to reap are reaped."""
        table = _all()
        children: dict[int, list[Process]] = {}
        for process, parent in table.values():
            children.setdefault(parent, []).append(process)
        found: list[Process] = []
        adopted = [child for child in children.get(os.getpid(), []) if self._is_adopted(child)]
        pending = [table[pid][0] for pid in self.roots if pid in table] + adopted
        while pending:
            process = pending.pop()
            found.append(process)
            pending += children.get(process.pid, [])
        self.seen.update(found)
        return [process for process in found if not self._reap(process)]

    def _is_adopted(self, process: Process) -> bool:
        if process.pid in self.roots:
            return False
        return process in self.seen or process.environment.get(MARK) == self.mark

    def _reap(self, process: Process) -> bool:
        """Take the status of an adopted process that ended: its own parent is no more."""
        if process.pid in self.roots or process.state != "Z" or process.parent != os.getpid():
            return False
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)
        return True
