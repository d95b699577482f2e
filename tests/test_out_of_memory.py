# SPDX-License-Identifier: Apache-2.0
"""Daemon processes that the kernel kills as there is not enough memory: the log says that it was
for that. What is told of other ends is in test_unanswered.py.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.waiting import wait_until

pytestmark = [
    pytest.mark.ours_only("mod_wsgi says nothing of why a process has ended"),
    pytest.mark.root_only("a control group is made"),
]

CONFIG = """
WSGIDaemonProcess main threads=2
WSGIProcessGroup main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /pid ${APPS}/pid/app.wsgi
WSGIScriptAlias /grow ${APPS}/grow/app.wsgi
"""

LIMIT = 256
"""In MiB."""


class MemoryGroup:
    """A control group with limited memory, below that of the test run."""

    def __init__(self) -> None:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        memberships = [line.split(":", 2)[1:] for line in lines]
        # Where version 1 has memory, version 2, which names no controllers, has not.
        controllers, path = max(
            memberships, key=lambda it: ("memory" in it[0].split(","), not it[0])
        )
        is_first = "memory" in controllers.split(",")
        root = Path("/sys/fs/cgroup/memory" if is_first else "/sys/fs/cgroup")
        self.folder = root / path.lstrip("/") / f"mod_wsgi-test-{os.getpid()}"
        self.folder.mkdir()
        try:
            limit = self.folder / ("memory.limit_in_bytes" if is_first else "memory.max")
            limit.write_text(str(LIMIT << 20))
        except OSError:
            self.folder.rmdir()
            raise

    def add(self, pid: int) -> None:
        (self.folder / "cgroup.procs").write_text(str(pid))

    def remove(self) -> None:
        wait_until(lambda: not (self.folder / "cgroup.procs").read_text(), "it to be empty")
        self.folder.rmdir()


@pytest.fixture
def group() -> Iterator[MemoryGroup]:
    try:
        group = MemoryGroup()
    except OSError as error:
        pytest.skip(f"no control group with limited memory can be made here: {error}")
    yield group
    group.remove()


def pid(server) -> int:
    response = server.get("/pid")
    assert response.status == 200
    return int(response.text)


def take_memory(server) -> int:
    """Has a process take twice the memory that there is; the result is the process."""
    before = pid(server)
    assert server.get(f"/grow?{2 * LIMIT}").status == 502
    return before


def expect_kill(server, why: str) -> None:
    killed = r"killed by signal 9 \(SIGKILL\)"
    server.expect_log(rf"WSGI0303: .*{killed} \(out of memory{why}", count=1)
    server.expect_log(f"WSGI0146: .*{killed}", count=1)


def test_process_takes_the_memory_of_the_whole_server(group, server_factory):
    server = server_factory(CONFIG)
    group.add(server.pid)
    # The next supervisor and its processes are started in the group.
    server.restart()
    assert take_memory(server) != pid(server)
    expect_kill(server, ": the limit of its control group")


def test_process_has_a_group_of_its_own(group, server_factory):
    """The supervisor does not know it, but what the kernel counts."""
    server = server_factory(CONFIG)
    group.add(pid(server))
    assert take_memory(server) != pid(server)
    expect_kill(server, ", it seems: the kernel has killed for it")
