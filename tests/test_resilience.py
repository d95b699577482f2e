# SPDX-License-Identifier: Apache-2.0
"""What goes on when a part of the whole is killed, replaced, or turns against the others.

Requests that are bad in themselves are in test_bad_input.py, ordinary life in test_daemon_life.py,
what an application leaves running in test_left_running.py.
"""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from harness import httpd_build
from harness.background import Background, HeldRequest
from harness.plugin import differs
from harness.processes import Process, end_with_parent
from harness.waiting import DEADLINE, PATIENCE, POLL, wait_until

MOUNTS = """
WSGIProcessGroup main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /pid ${APPS}/pid/app.wsgi
WSGIScriptAlias /hold ${APPS}/hold/app.wsgi
WSGIScriptAlias /die ${APPS}/die/app.wsgi
WSGIScriptAlias /forks ${APPS}/forks/app.wsgi
WSGIScriptAlias /file ${APPS}/file-by-name/app.wsgi
WSGIScriptAlias /overwrite ${APPS}/overwrite-shared-memory/app.wsgi
WSGIScriptAlias /embedded/pid ${APPS}/pid/app.wsgi process-group=%{GLOBAL}
WSGIScriptAlias /embedded/file ${APPS}/file-by-name/app.wsgi process-group=%{GLOBAL}
"""


def with_options(options: str) -> str:
    return f"WSGIDaemonProcess main {options}\n{MOUNTS}"


def goes_on(condition, seconds: float, what: str) -> None:
    """Fails as soon as the condition does not hold, within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), what
        time.sleep(POLL)


@pytest.fixture
def filled(tmp_path_for_server) -> Path:
    """Where the application that fills the shared memory says that it has done so."""
    path = tmp_path_for_server / "filled"
    path.touch()
    path.chmod(0o666)
    return path


def overwrite(server, filled: Path, path: str, word: str) -> Background:
    """Has the application fill the memory; the fate of its own request is nobody's concern."""
    request = Background(lambda: server.get(f"{path}?{word}"))
    wait_until(filled.read_text, "the shared memory to be overwritten")
    assert int(filled.read_text().split()[0]) > 1000
    return request


WORDS = ["pid", "0", "1", "2", "0xfffffff0"]


# A group against the others


@pytest.mark.root_only("only root's httpd can change the user")
@pytest.mark.ours_only("mod_wsgi has one lock and no memory that groups could overwrite")
@pytest.mark.parametrize("word", WORDS)
def test_group_that_overwrites_its_shared_memory_harms_no_other(server_factory, filled, word):
    """It is the first group, whose memory a child meets before the others'."""
    config = """
WSGIDaemonProcess evil user=nobody home=/ connect-timeout=1 socket-timeout=2 shutdown-timeout=1
WSGIDaemonProcess good processes=2
WSGIScriptAlias /good ${APPS}/pid/app.wsgi process-group=good application-group=%{GLOBAL}
WSGIScriptAlias /evil ${APPS}/overwrite-shared-memory/app.wsgi \\
    process-group=evil application-group=%{GLOBAL}
"""
    environment = {"MOD_WSGI_TEST_FILLED": str(filled)}
    server = server_factory(config, environment=environment)
    assert server.get("/good").status == 200
    supervisors = server.supervisors
    overwrite(server, filled, "/evil", word).result()
    for _ in range(2):
        for _ in range(10):
            assert server.get("/good").status == 200
        before = server.httpd_children
        for child in before:
            os.kill(child.pid, signal.SIGKILL)
        wait_until(
            lambda before=before: set(server.httpd_children) - set(before),
            "a new httpd child",
        )
    assert server.supervisors == supervisors
    server.graceful()
    assert server.get("/good").status == 200
    server.tolerate_log("process(es)? group 'evil'|daemon process 'evil'")
    server.tolerate_log("AH00051|AH00052")


# Files


@pytest.mark.ours_only("mod_wsgi maps the file when a filter reads it: its child gets SIGBUS")
def test_file_that_is_truncated_under_a_filter(server_factory, tmp_path_for_server, mode):
    config = f"""
{with_options("")}
<Location />
    SetOutputFilter DEFLATE
</Location>
"""
    server = server_factory(config, modules=("deflate", "filter"))
    file = tmp_path_for_server / "large"
    file.write_bytes(os.urandom(32 << 20))
    file.chmod(0o644)
    prefix = "/embedded" if mode == "embedded" else ""
    before = server.httpd_children
    with server.raw() as raw:
        raw.send(
            f"GET {prefix}/file?{quote(str(file))} HTTP/1.1\r\nHost: x\r\n"
            "Accept-Encoding: gzip\r\nConnection: close\r\n\r\n".encode()
        )
        head = raw.receive_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"gzip" in head
        os.truncate(file, 0)
        received = len(raw.receive_all())
    assert received < 32 << 20
    assert server.get(f"{prefix}/pid").status == 200
    assert server.find_log("exit signal") == []
    if server.mpm != "prefork":
        assert server.httpd_children == before
    # It was indeed read after it had been truncated.
    server.expect_log("AH10298: failed reading", count=1)
    if mode == "daemon":
        server.tolerate_log("WSGI0080.*reset by peer")


# The supervisor


def socket_files(server) -> set[str]:
    return {path.name for path in (server.root / "run").iterdir() if path.name.endswith(".sock")}


def kill_supervisor(server) -> None:
    """Kill it and wait until there is another, and nothing is left of the processes before."""
    (supervisor,) = server.supervisors
    old = server.daemon_processes
    sockets = socket_files(server)
    assert old
    assert sockets
    os.kill(supervisor.pid, signal.SIGKILL)
    wait_until(lambda: set(server.supervisors) - {supervisor}, "another supervisor")
    assert server.get("/pid").status == 200
    wait_until(lambda: not any(process.runs for process in old), "the old processes to leave")
    wait_until(lambda: not sockets & socket_files(server), "the old sockets to be removed")
    server.expect_log("WSGI0312.*another one is started")


@pytest.mark.ours_only("mod_wsgi has no supervisor")
def test_supervisor_that_was_killed_is_replaced(server_factory):
    server = server_factory(with_options("processes=2 shutdown-timeout=1"))
    wait_until(lambda: len(server.find_log("is ready")) == 2, "two processes to be ready")
    for count in (2, 4):
        kill_supervisor(server)
        ready = count + 2
        wait_until(
            lambda ready=ready: len(server.find_log("is ready")) == ready,
            "two new processes to be ready",
        )
    assert len(server.daemon_processes) == 2
    assert len(socket_files(server)) == 2


@pytest.mark.ours_only("mod_wsgi has no supervisor")
@pytest.mark.parametrize("word", WORDS)
def test_supervisor_starts_anew_with_overwritten_memory(server_factory, filled, word):
    server = server_factory(
        with_options("connect-timeout=15 socket-timeout=2 shutdown-timeout=1"),
        environment={"MOD_WSGI_TEST_FILLED": str(filled)},
    )
    wait_until(lambda: server.find_log("is ready"), "the process to be ready")
    request = overwrite(server, filled, "/overwrite", word)
    kill_supervisor(server)
    request.result()
    server.tolerate_log("WSGI014[5-7]|WSGI011[679]|WSGI030[123]")


@pytest.mark.ours_only("mod_wsgi has no supervisor")
def test_restart_after_the_supervisor_was_killed(server_factory):
    server = server_factory(with_options("shutdown-timeout=1"))
    wait_until(lambda: server.find_log("is ready"), "the process to be ready")
    kill_supervisor(server)
    server.graceful()
    assert server.get("/pid").status == 200


@pytest.mark.ours_only("mod_wsgi has no supervisor")
@pytest.mark.parametrize("retry", ["unstarted", "idempotent"])
def test_running_request_survives_the_supervisor(server_factory, tmp_path_for_server, retry):
    """Its process has `shutdown-timeout` for it, and nobody else is given the request meanwhile."""
    server = server_factory(with_options(f"shutdown-timeout=30 retry={retry}"))
    held = HeldRequest(server, tmp_path_for_server)
    pid = held.pid
    (supervisor,) = server.supervisors
    os.kill(supervisor.pid, signal.SIGKILL)
    wait_until(lambda: set(server.supervisors) - {supervisor}, "another supervisor")
    assert server.get("/pid").status == 200
    # The child looks once a second whether the process is still there.
    goes_on(lambda: not held.done, 2.5, "the request goes on")
    held.release()
    response = held.result()
    assert (response.status, int(response.body)) == (200, pid)
    server.expect_log("WSGI0312.*another one is started", count=1)


LOADS_FOR_EVER = """
import os
import time

with open({path!r}, "a") as file:
    file.write("%d\\n" % os.getpid())
time.sleep(1000)
"""


@pytest.mark.ours_only("mod_wsgi has no supervisor")
@pytest.mark.parametrize("preload", ["on", "off"])
def test_process_that_loads_for_ever_goes_with_the_supervisor(server_factory, preload):
    server = server_factory(start=False)
    path = server.write("started", "")
    path.chmod(0o666)
    server.write("apps/loads.wsgi", LOADS_FOR_EVER.format(path=str(path)))
    server.configure(f"""
WSGIDaemonProcess main preload={preload} startup-timeout=0 shutdown-timeout=1
WSGIScriptAlias / ${{ROOT}}/apps/loads.wsgi process-group=main application-group=%{{GLOBAL}}
""")
    server.start()
    process = Process.of(int(wait_until(path.read_text, "a process that loads")))
    (supervisor,) = server.supervisors
    os.kill(supervisor.pid, signal.SIGKILL)
    wait_until(lambda: not process.runs, "the process to end")
    server.tolerate_log("WSGI0307|WSGI0309|WSGI0312")


# Debuggers

TRACER = """
import ctypes, sys
SEIZE = 0x4206
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
if libc.ptrace(SEIZE, int(sys.argv[1]), None, None) != 0:
    sys.exit("ptrace: %d" % ctypes.get_errno())
print("attached", flush=True)
sys.stdin.read()
"""


@pytest.mark.root_only("a process of another user is traced")
@pytest.mark.ours_only("mod_wsgi has no supervisor")
def test_process_that_ends_under_a_debugger(server_factory):
    """The supervisor cannot bury it before the debugger lets go of it, and does not spin."""
    server = server_factory(with_options(""))
    pid = int(server.get("/pid").body)
    (supervisor,) = server.supervisors
    tracer = subprocess.Popen(
        [sys.executable, "-c", TRACER, str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=end_with_parent,
    )
    with tracer:
        assert tracer.stdout.readline() == b"attached\n"
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: Process.of(pid).state == "Z", "the process to end")
        assert int(server.get("/pid").body) != pid
        before = supervisor.processor_time
        time.sleep(2)
        assert supervisor.processor_time - before < 0.5
        assert Process.of(pid).state == "Z"
    wait_until(lambda: Process.of(pid) is None, "the process to be buried")
    server.expect_log(f"WSGI0309: daemon process {pid} .* was killed by signal 9", count=1)


# Requests inside of requests


@pytest.mark.parametrize("group", ["%{GLOBAL}", "another"])
def test_response_that_includes_another_of_our_pages(server_factory, mode, group):
    process_group = "%{GLOBAL}" if mode == "embedded" else "main"
    config = f"""
WSGIDaemonProcess main threads=2
WSGIProcessGroup {process_group}
WSGIScriptAlias /inner ${{APPS}}/hello/app.wsgi application-group={group}
WSGIScriptAlias /outer ${{APPS}}/includes/app.wsgi application-group=%{{GLOBAL}}
<Location /outer>
    Options +Includes
    SetOutputFilter INCLUDES
</Location>
"""
    server = server_factory(config, modules=("include",))
    for _ in range(3):
        response = server.get("/outer?/inner")
        assert (response.status, response.complete) == (200, True)
        assert response.body == b"one Hello World!\ntwo Hello World!\n"


# Sockets


@pytest.mark.root_only("a folder must be closed to the server's user")
@pytest.mark.ours_only("mod_wsgi's httpd children get no further than the folder")
def test_socket_folder_that_children_cannot_enter(server_factory):
    server = server_factory(start=False)
    (server.root / "closed").mkdir(mode=0o700)
    server.configure(f"WSGISocketPrefix ${{ROOT}}/closed/wsgi\n{with_options('')}")
    server.start()
    assert {server.get("/pid").status for _ in range(5)} == {200}
    assert [address[:1] for address in server.daemon_sockets] == [b"\0"]
    assert list((server.root / "closed").iterdir()) == []
    (record,) = server.find_log("abstract name space")
    assert record.level == "info"
    assert f"{server.root}/closed" in record.message
    server.graceful()
    assert server.get("/pid").status == 200


@pytest.mark.ours_only("sockets of mod_wsgi have other names")
def test_link_at_the_place_of_a_socket_is_not_followed(server_factory):
    server = server_factory(with_options(""))
    before = int(server.get("/pid").body)
    (name,) = socket_files(server)
    match = re.fullmatch(r"(.*\.)(\d+)(\.sock)", name)
    assert match
    place = server.root / "run" / f"{match[1]}{int(match[2]) + 1}{match[3]}"
    target = server.write("target", "precious")
    place.symlink_to(target)
    status = target.stat()
    os.kill(before, signal.SIGKILL)
    assert server.get("/pid").status == 200
    assert not place.is_symlink()
    assert place.is_socket()
    after = target.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (
        status.st_uid,
        status.st_gid,
        status.st_mode,
    )
    assert target.read_text() == "precious"
    server.expect_log("signal 9", count=1)


# Daemon processes


@pytest.mark.ours_only("mod_wsgi starts a process that died again each second")
def test_process_that_dies_soon_after_it_is_ready_is_tried_ever_later(server_factory):
    server = server_factory("""
WSGIDaemonProcess dying processes=2
WSGIDaemonProcess good
WSGIScriptAlias /dying ${APPS}/die-soon/app.wsgi process-group=dying application-group=%{GLOBAL}
WSGIScriptAlias /good ${APPS}/pid/app.wsgi process-group=good application-group=%{GLOBAL}
""")
    wait_until(lambda: server.find_log("WSGI0303.*'dying'"), "a process to die")
    goes_on(lambda: server.get("/good").status == 200, 3, "the other group answers")
    starts = len(server.find_log("'dying' is starting"))
    assert 2 < starts < 20
    server.expect_log("WSGI0303.*'dying'.*exit(ed with status| code) 3")
    server.tolerate_log("WSGI0308.*'dying'.*exit(ed with status| code) 3")


@pytest.mark.ours_only("requests to a group without interpreter hang in mod_wsgi")
def test_processes_that_fail_together_are_one_failure(server_factory, venv):
    env = venv("plain")
    server = server_factory(with_options("processes=6 python-home=${ROOT}/venv"))
    wait_until(lambda: len(server.find_log("WSGI0308")) >= 6, "six processes to fail")
    pauses = [
        float(re.search(r"next attempt in ([\d.]+) s", record.message)[1])
        for record in server.find_log("WSGI0308")[:6]
    ]
    assert max(pauses) <= 0.5
    (server.root / "venv").symlink_to(env.path)
    wait_until(lambda: server.get("/pid").status == 200, "an answer", 5 * PATIENCE)
    server.expect_log("WSGI0100")
    server.expect_log("WSGI0308.*'main'")
    server.tolerate_log("WSGI0301.*'main'")


@pytest.mark.ours_only("mod_wsgi gives graceful-timeout another meaning when it is 0")
def test_no_graceful_timeout_leaves_the_shutdown_timeout(server_factory, tmp_path_for_server):
    server = server_factory(with_options("threads=2 graceful-timeout=0 shutdown-timeout=30"))
    held = HeldRequest(server, tmp_path_for_server)
    pid = held.pid
    os.kill(pid, signal.SIGUSR1)
    wait_until(lambda: int(server.get("/pid").body) != pid, "the replacement to serve")
    goes_on(lambda: not held.done, 1, "the request goes on")
    held.release()
    response = held.result()
    assert (response.status, response.body) == (200, str(pid).encode())
    wait_until(lambda: Process.of(pid) is None, "the process to leave")


@pytest.mark.ours_only("in mod_wsgi, the request waits for what the process left behind")
def test_process_that_forked_is_killed_in_a_request(server_factory, tmp_path_for_server):
    """The forked process keeps the connection open; httpd must not wait for it."""
    server = server_factory(with_options("threads=2 socket-timeout=600"))
    place = tmp_path_for_server / "pids"
    request = Background(lambda: server.get(f"/forks?{quote(str(place))}"))
    wait_until(place.exists, "the application to fork")
    pid, forked = map(int, place.read_text().split())
    child = Process.of(forked)
    assert child in server.tree.processes()
    try:
        os.kill(pid, signal.SIGKILL)
        assert request.result(10 * PATIENCE).status == 502
        assert server.get("/pid").status == 200
        assert child.runs
    finally:
        os.kill(forked, signal.SIGKILL)
    server.expect_log(rf"WSGI014[67].*\(pid {pid}\)", count=1)
    server.expect_log(rf"WSGI0303: daemon process {pid} .*signal 9", count=1)


@pytest.mark.ours_only("mod_wsgi does not know what was running")
def test_dead_process_is_told_with_the_request_that_ran(server_factory):
    server = server_factory(with_options("threads=2"))
    pid = int(server.get("/pid").body)
    assert server.get("/die/deeper?exit").status == 502
    record = server.wait_log("WSGI0303")
    assert re.search(rf"daemon process {pid} .*code 3 .*1 request was running: GET /die/deeper",
                     record.message)  # fmt: skip
    server.expect_log("WSGI0303", count=1)
    server.expect_log("WSGI014[67]", count=1)


# httpd


def connects(server, path: str) -> int:
    """Status of the first request, made as soon as anybody listens."""

    def ask():
        try:
            return server.get(path)
        except ConnectionRefusedError:
            return None

    return wait_until(ask, "a server that listens", poll=0.001).status


def test_request_before_everything_is_ready(server_factory):
    """It is in the queue before the first httpd child exists."""
    server = server_factory(with_options("processes=2"), start=False)
    for _ in range(15):
        request = Background(lambda: connects(server, "/pid"))
        server.start()
        assert request.result() == 200
        assert server.stop() == []


@pytest.mark.difference("no socket is left behind; mod_wsgi's stays when httpd -X stops")
def test_single_process_httpd(server_factory):
    """`httpd -X`: one process is parent and child."""
    server = server_factory(with_options("shutdown-timeout=1"), start=False)
    with open(server.root / "logs/console.log", "ab") as console:
        httpd = subprocess.Popen(
            [httpd_build.httpd(), "-X", "-d", server.root, "-f", server.configuration_file],
            cwd="/",
            env=server.environment,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    server.tree.roots.add(httpd.pid)
    try:
        assert connects(server, "/pid") == 200
        assert int(server.get("/embedded/pid").body) == httpd.pid
        assert int(server.get("/pid").body) != httpd.pid
        httpd.send_signal(signal.SIGTERM)
        assert httpd.wait(DEADLINE) == 0
    finally:
        httpd.kill()
        httpd.wait()
        server.tree.roots.discard(httpd.pid)
    server.wait_for_no_processes()
    # httpd leaves its PidFile in this mode, with or without mod_wsgi.
    left = {path.suffix for path in (server.root / "run").iterdir()} - {".pid"}
    assert left == differs(upstream={".sock"}, ours=set())


def replace(path: Path, content: bytes) -> None:
    """As `install` does: another file takes the place of the old one."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.chmod(0o755)
    new.rename(path)


@pytest.mark.ours_only("mod_wsgi is one library")
@pytest.mark.parametrize("how", ["graceful", "restart"])
@pytest.mark.parametrize("other", ["same", "unusable"])
def test_restart_after_another_module_was_installed(
    server_factory, run_folder, module_under_test, how, other
):
    """The running mod_wsgi.so goes on with the mod_wsgi_python.abi3.so that belongs to it."""
    folder = Path(tempfile.mkdtemp(prefix="installed-", dir=run_folder))
    folder.chmod(0o755)
    names = [path.name for path in module_under_test.artifacts]
    for name in names:
        shutil.copy(module_under_test.path.parent / name, folder / name)
    server = server_factory(
        f'LoadModule wsgi_module "{folder / names[0]}"\n'
        f"WSGISocketPrefix ${{ROOT}}/run/wsgi\n{with_options('')}",
        load_wsgi=False,
    )
    before = int(server.get("/pid").body)
    replace(folder / names[0], (folder / names[0]).read_bytes())
    python_side = (folder / names[1]).read_bytes()
    replace(folder / names[1], python_side if other == "same" else b"of another build")
    for _ in range(2):
        getattr(server, how)()
        response = server.get("/pid")
        assert (response.status, int(response.body) != before) == (200, True)
        assert server.get("/embedded/pid").status == 200
    (first, _) = server.find_log("another mod_wsgi is installed")
    assert first.level == "notice"


@pytest.mark.ours_only("threads of httpd block signals, and subprocesses of mod_wsgi inherit that")
def test_subprocess_can_be_terminated(server_factory, mode):
    server = server_factory("""
WSGIDaemonProcess main threads=2
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /embedded ${APPS}/terminate/app.wsgi
WSGIScriptAlias /daemon ${APPS}/terminate/app.wsgi process-group=main
""")
    assert server.get(f"/{mode}").text == "-15"


def test_limit_on_descriptors_is_that_of_httpd(server_factory):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard) - 1, hard))
    try:
        server = server_factory("""
WSGIDaemonProcess main threads=2
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias / ${APPS}/limits/app.wsgi process-group=main
""")
        assert server.get("/").json["RLIMIT_NOFILE"][0] == min(soft, hard) - 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
