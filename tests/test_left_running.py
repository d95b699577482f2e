# SPDX-License-Identifier: Apache-2.0
"""What an application has started and left running: a job in the background that is still at work
when its daemon process, the configuration or httpd is gone. It may go on, and what it writes is
logged.
"""

import os
import signal
import time

import pytest

from harness.processes import Process
from harness.waiting import wait_until

CONFIG = """
WSGIProcessGroup main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /pid ${APPS}/pid/app.wsgi
WSGIScriptAlias /leaves-writer ${APPS}/leaves-writer/app.wsgi
"""


def with_options(options: str = "") -> str:
    return f"WSGIDaemonProcess main {options}\n{CONFIG}"


class Writer:
    """A job that a request has started. It writes a line when it is told to."""

    def __init__(self, server) -> None:
        self.server = server
        self.order = server.root / "orders" / f"write-{id(self):x}"
        self.order.parent.mkdir(exist_ok=True)
        self.order.parent.chmod(0o777)
        daemon, writer = server.get(f"/leaves-writer?{self.order}").body.split()
        self.daemon = Process.of(int(daemon))
        self.process = Process.of(int(writer))
        self.lines = 0

    def writes(self) -> None:
        """It does, its line is logged, and it lives on."""
        # An error on the first line is noticed with the second.
        for _ in range(2):
            self.lines += 1
            self.order.touch()
            wait_until(lambda: not self.order.exists(), "the order to be taken")
            wait_until(self._is_logged, "its line")
        assert self.process.runs

    def _is_logged(self) -> bool:
        return len(self.server.find_log(f"{self.process.pid} writes")) == self.lines

    def end(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        if self.daemon.runs:
            # It does not wait for what it has started.
            os.kill(self.daemon.pid, signal.SIGTERM)
        self.server.expect_log(f"{self.process.pid} writes", count=self.lines)


def test_daemon_process_is_replaced(server_factory):
    server = server_factory(with_options())
    writer = Writer(server)
    os.kill(writer.daemon.pid, signal.SIGTERM)
    wait_until(lambda: not writer.daemon.exists, "the daemon process to end")
    writer.writes()
    assert server.get("/pid").status == 200
    writer.end()


def test_script_changes(server_factory):
    server = server_factory(with_options())
    writer = Writer(server)
    server.touch(server.apps / "leaves-writer" / "app.wsgi")
    another = Writer(server)
    assert another.daemon != writer.daemon
    wait_until(lambda: not writer.daemon.exists, "the daemon process to end")
    writer.writes()
    another.writes()
    writer.end()
    another.end()


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP], ids=["graceful", "restart"])
def test_httpd_restarts(server_factory, number):
    server = server_factory(with_options())
    writer = Writer(server)
    before = server.supervisors
    server._again(number)
    assert server.get("/pid").status == 200
    wait_until(lambda: not writer.daemon.exists, "the daemon process to end")
    wait_until(lambda: not set(before) & set(server.supervisors), "its supervisor to end")
    writer.writes()
    writer.end()


def test_httpd_stops(server_factory):
    """It ends without waiting for the job, and may be started again meanwhile."""
    server = server_factory(with_options())
    writer = Writer(server)
    began = time.monotonic()
    server.send_signal(signal.SIGTERM)
    server.reap_killed_parent()
    assert time.monotonic() - began < 5
    wait_until(lambda: not writer.daemon.exists, "the daemon process to end")
    writer.writes()
    server.start()
    assert server.get("/pid").status == 200
    writer.writes()
    writer.end()


def listeners(server) -> list[Process]:
    """Processes that read what jobs write whose supervisor has left."""
    return [process for process in server.tree.processes() if process.name == "wsgi-listener"]


@pytest.mark.ours_only("what jobs of mod_wsgi write goes to the log without another process")
def test_listener_has_what_it_needs_and_ends_with_the_job(server_factory):
    server = server_factory(with_options("processes=2"))
    writers = [Writer(server), Writer(server)]
    server.graceful()
    (listener,) = wait_until(lambda: listeners(server), "a process that listens")
    kinds = [target.partition(":")[0] for target in listener.descriptors.values()]
    # Standard output and standard error of each process that has left something running.
    pipes = 2 * len({writer.daemon for writer in writers})
    wait_until(lambda: not any(writer.daemon.exists for writer in writers), "all of them to end")
    assert kinds.count("pipe") == pipes
    assert "socket" not in kinds
    assert kinds.count("anon_inode") == 1
    # Whoever has started httpd may wait for the end of what it has printed.
    assert [listener.descriptors[number] for number in (0, 1)] == ["/dev/null"] * 2
    # The job may have something to say when all processes are told to end.
    os.kill(listener.pid, signal.SIGTERM)
    writers[0].writes()
    writers[0].end()
    writers[1].writes()
    assert listener.runs
    writers[1].end()
    wait_until(lambda: not listeners(server), "the process that listens to end")


@pytest.mark.ours_only("what jobs of mod_wsgi write goes to the main log")
def test_log_of_a_virtual_host(server_factory):
    server = server_factory(f"""
<VirtualHost *:${{PORT}}>
ErrorLog ${{ROOT}}/logs/host.log
{with_options()}
</VirtualHost>
""")
    writer = Writer(server)
    server.graceful()
    wait_until(lambda: listeners(server), "a process that listens")
    writer.order.touch()
    log = server.root / "logs" / "host.log"
    wait_until(lambda: f"{writer.process.pid} writes" in log.read_text(), "its line")
    writer.end()


@pytest.mark.ours_only("what jobs of mod_wsgi write goes to the log without another process")
def test_no_listener_where_nothing_is_left(server_factory):
    server = server_factory(with_options())
    assert server.get("/pid").status == 200
    before = server.supervisors
    server.graceful()
    wait_until(lambda: not set(before) & set(server.supervisors), "the supervisor to end")
    assert listeners(server) == []
    assert server.find_log("left running") == []
