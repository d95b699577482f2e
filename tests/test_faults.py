# SPDX-License-Identifier: Apache-2.0
"""Steady load by keep-alive clients while processes are replaced, restarted and killed: what fails,
and what grows. `make soak` runs the same for long: MOD_WSGI_SOAK is by how much.

A script that is touched again and again is in test_reload.py; what a hostile application does is in
test_resilience.py.
"""

import os
import re
import signal
import subprocess
import time

import pytest

from harness.background import Background
from harness.load import Load
from harness.processes import Process
from harness.waiting import wait_until

SOAK = float(os.environ.get("MOD_WSGI_SOAK", "0"))

pytestmark = pytest.mark.ours_only("mod_wsgi loses requests when its processes are replaced")

MOUNTS = """
WSGIProcessGroup main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /page ${APPS}/twenty-milliseconds/app.wsgi
WSGIScriptAlias /pid ${APPS}/pid/app.wsgi
WSGIScriptAlias /evaluate ${APPS}/evaluate/app.wsgi
WSGIScriptAlias /descriptors ${APPS}/descriptors/app.wsgi
"""


def with_options(options: str) -> str:
    return f"WSGIDaemonProcess main {options}\n{MOUNTS}"


def rounds(few: int, many: int) -> int:
    """How often something is done: `many` times the factor in a soak, which may be a fraction."""
    return max(few, round(many * SOAK))


def resources(server) -> dict[str, int]:
    """What must not grow."""
    (supervisor,) = server.supervisors
    return {
        "processes": len(server.tree.processes()) - len(server.httpd_children),
        "daemon processes": len(server.daemon_processes),
        "listening sockets": len(server.daemon_sockets),
        "socket files": len(list((server.root / "run").glob("*.sock"))),
        "descriptors of the parent": len(server.parent.descriptors),
        # It has one for each child of httpd, of which prefork starts more under load.
        "descriptors of the supervisor": len(supervisor.descriptors) - len(server.httpd_children),
    }


def settled(server, before: dict[str, int]) -> None:
    """What was before is there again, and nothing beside it."""
    wait_until(
        lambda: len(server.supervisors) == 1 and resources(server) == before,
        lambda: f"{before}, and not {resources(server)}",
    )


def run_requests(server) -> int:
    """Requests that were running in processes that died, as the log tells it."""
    counts = [
        re.search(r"(\d+|no) requests? (?:was|were) running", record.message)[1]
        for record in server.find_log("WSGI0303")
    ]
    return sum(int(count) for count in counts if count != "no")


def test_graceful_restarts(server_factory):
    server = server_factory(with_options("processes=2 threads=5"))
    wait_until(lambda: len(server.find_log("is ready")) == 2, "two processes")
    assert server.get("/page").status == 200
    before = resources(server)
    memory = server.parent.private_memory
    with Load(server, "/page", clients=4) as load:
        for _ in range(rounds(10, 2000)):
            served = load.served
            server.graceful()
            wait_until(lambda served=served: load.served > served + 20, "requests to be answered")
    assert load.failures == []
    settled(server, before)
    # httpd itself keeps a little of each configuration.
    assert server.parent.private_memory - memory < (8 + SOAK * 64) * (1 << 20)


def test_recycling(server_factory):
    server = server_factory(with_options("processes=2 threads=5 maximum-requests=100"))
    wait_until(lambda: len(server.find_log("is ready")) == 2, "two processes")
    before = resources(server)
    (supervisor,) = server.supervisors
    memory = supervisor.private_memory
    with Load(server, "/page", clients=4) as load:
        wait_until(lambda: len(load.bodies) >= rounds(8, 2000), "processes to be recycled", 3600)
    assert load.failures == []
    # No process served many more than it should, however long its replacement took.
    assert max(load.bodies.values()) < 2 * 100 + 50
    assert server.supervisors == [supervisor]
    assert supervisor.private_memory - memory < 4 << 20
    wait_until(lambda: len(server.daemon_processes) == 2, "the processes before to leave")
    settled(server, before)


def test_small_limit_is_not_overshot_without_bound(server_factory):
    """The limit is reached in much less time than a process needs to start."""
    server = server_factory(start=False)
    script = server.write(
        "slow/pid.wsgi",
        """
import os, time
time.sleep(1)
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"%d" % os.getpid()]
""",
    )
    options = "processes=1 threads=10 maximum-requests=5"
    server.configure(
        f"{with_options(options)}WSGIScriptAlias /slow {script}\n"
        f"<Directory {script.parent}>\n    Require all granted\n</Directory>\n"
    )
    server.start()
    with Load(server, "/slow", clients=8) as load:
        wait_until(lambda: len(load.bodies) >= 6, "processes to be recycled")
    assert load.failures == []
    # Twice the limit, and what comes while the supervisor hears of it: thousands, if nothing did.
    assert max(load.bodies.values()) <= 2 * 5 + 290


def test_processes_are_killed(server_factory):
    server = server_factory(with_options("processes=2 threads=5"))
    wait_until(lambda: len(server.find_log("is ready")) == 2, "two processes")
    before = resources(server)
    with Load(server, "/page", clients=4) as load:
        for number in range(1, rounds(5, 600) + 1):
            ready = len(server.find_log("is ready"))
            served = load.served
            wait_until(lambda served=served: load.served > served + 20, "requests to be answered")
            os.kill(server.daemon_processes[number % 2].pid, signal.SIGKILL)
            wait_until(
                lambda ready=ready: len(server.find_log("is ready")) > ready, "its replacement"
            )
    assert all(what.startswith("502 ") for _, what in load.failures), load.failures
    assert len(load.failures) <= run_requests(server)
    assert load.served > 100
    server.expect_log("WSGI0303.*signal 9", count=rounds(5, 600))
    server.tolerate_log("WSGI014[67]")
    settled(server, before)


def test_supervisor_is_killed(server_factory):
    """Its processes finish what they have; who comes then waits for the next ones."""
    server = server_factory(with_options("processes=2 threads=5"))
    wait_until(lambda: len(server.find_log("is ready")) == 2, "two processes")
    before = resources(server)
    with Load(server, "/page", clients=4) as load:
        for _ in range(rounds(2, 100)):
            (supervisor,) = server.supervisors
            served = load.served
            wait_until(lambda served=served: load.served > served + 20, "requests to be answered")
            os.kill(supervisor.pid, signal.SIGKILL)
            wait_until(
                lambda supervisor=supervisor: set(server.supervisors) - {supervisor},
                "another supervisor",
            )
    assert load.failures == []
    server.expect_log("WSGI0312.*another one is started", count=rounds(2, 100))
    settled(server, before)


def test_process_that_stops_reading(server_factory):
    """Requests that are bound to it fail in time, and it serves when it goes on."""
    server = server_factory(with_options("threads=2 socket-timeout=1"))
    pid = int(server.get("/pid").body)
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: Process.of(pid).state == "T", "the process to stop")
        assert server.get("/pid").status == 504
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: server.get("/pid").status == 200, "an answer")
    assert int(server.get("/pid").body) == pid
    server.expect_log("WSGI0145")
    server.tolerate_log("WSGI0080|WSGI0084|WSGI0126")


def test_process_without_descriptors(server_factory):
    """It keeps its connections, and accepts others when it can."""
    server = server_factory(with_options("threads=4"))
    assert server.get("/page").status == 200
    pid, count = server.get("/descriptors?take").body.split()
    assert int(count) > 10
    with Load(server, "/page", clients=6) as load:
        wait_until(lambda: load.served > 200, "requests to be answered")
    assert load.failures == []
    assert set(load.bodies) == {pid}
    server.tolerate_log("a connection can not be accepted: Too many open files")


def test_application_that_closes_all_descriptors(server_factory):
    server = server_factory(with_options("threads=2"))
    before = server.get("/pid").body
    request = Background(lambda: server.get("/descriptors?close"))
    wait_until(lambda: server.get("/pid").body not in (before, b""), "another process to answer")
    # Nobody can say whether its answer came through.
    request.result()
    for _ in range(5):
        assert server.get("/pid").status == 200
    server.tolerate_log("WSGI014[5-7]|WSGI030[39]|WSGI0080|worker thread ends|can not be")


@pytest.mark.root_only("a file system of its own is mounted")
def test_disk_is_full_for_temporary_files(server_factory, tmp_path_for_server):
    """A body that finds no room is refused; what needs none goes on, and all when there is some."""
    disk = tmp_path_for_server / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=1777", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        server = server_factory(
            f"""
WSGIDaemonProcess main threads=2 body-spool=1K,disk
{MOUNTS}
WSGIScriptAlias /digest ${{APPS}}/input-digest/app.wsgi
""",
            environment={"TMPDIR": str(disk)},
        )
        (disk / "filler").write_bytes(b"x" * (60 << 10))
        assert server.post("/digest", b"x" * (1 << 20)).status == 507
        assert server.get("/pid").status == 200
        assert server.post("/digest", b"x" * 500).status == 200
        (disk / "filler").unlink()
        assert server.post("/digest", b"x" * (20 << 10)).status == 200
        server.expect_log("WSGI0360", count=1)
        server.stop()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <unistd.h>

/* An hour earlier by the wall's clock as soon as the file is there. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME && access(SWITCH, F_OK) == 0)
        now->tv_sec -= 3600;
    return result;
}
"""


def test_clock_is_set_back(server_factory, tmp_path_for_server):
    """Seen by a daemon process alone, with all of its timers on."""
    switch, library = tmp_path_for_server / "switch", tmp_path_for_server / "clock.so"
    source = tmp_path_for_server / "clock.c"
    source.write_text(CLOCK)
    compile_it = ["cc", "-shared", "-fPIC", f'-DSWITCH="{switch}"', "-o", library, source, "-ldl"]
    subprocess.run(compile_it, check=True)
    library.chmod(0o755)
    options = "threads=3 queue-timeout=20 request-timeout=60 inactivity-timeout=60"
    server = server_factory(f"""
WSGIDaemonProcess main {options} restart-interval=60 graceful-timeout=30 env=LD_PRELOAD={library}
{MOUNTS}
""")
    with Load(server, "/page", clients=2) as load:
        wait_until(lambda: load.served > 20, "requests to be answered")
        switch.touch()
        seen = float(server.get("/evaluate?__import__('time').time()").text)
        assert time.time() - seen > 3000
        wait_until(lambda: load.served > 100, "requests to be answered")
        (pid,) = {process.pid for process in server.daemon_processes}
        os.kill(pid, signal.SIGUSR1)
        wait_until(lambda: len(load.bodies) == 2, "its replacement to answer")
        switch.unlink()
        served = load.served
        wait_until(lambda: load.served > served + 50, "requests to be answered")
    assert load.failures == []
    assert len(load.bodies) == 2
