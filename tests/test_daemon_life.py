# SPDX-License-Identifier: Apache-2.0
"""Daemon processes: as whom and where they run, when they are replaced, how they leave.

What goes wrong from outside, kill -9 in a request among it, is in test_bad_input.py.
"""

import grp
import os
import pwd
import re
import signal
from pathlib import Path

import pytest

from harness.background import Background, HeldRequest
from harness.configuration import server_group, server_user
from harness.plugin import differs
from harness.processes import Process
from harness.under_test import OURS, UPSTREAM
from harness.waiting import wait_until

MOUNTS = """
WSGIProcessGroup main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /process ${APPS}/process/app.wsgi
WSGIScriptAlias /pid ${APPS}/pid/app.wsgi
WSGIScriptAlias /hold ${APPS}/hold/app.wsgi
WSGIScriptAlias /subprocess ${APPS}/subprocess/app.wsgi
WSGIScriptAlias /embedded ${APPS}/process/app.wsgi process-group=%{GLOBAL}
"""


def with_options(options: str) -> str:
    return f"WSGIDaemonProcess main {options}\n{MOUNTS}"


def asked(server_factory, options: str, **more) -> dict:
    """What the process of a group with these options says of itself."""
    return server_factory(with_options(options), **more).get("/process").json


# As whom, where, with what


@pytest.mark.root_only("only root's httpd can change the user")
def test_user_is_httpds_by_default(server_factory):
    answer = asked(server_factory, "")
    assert (answer["user"], answer["group"]) == (server_user(), server_group())
    assert answer["real ids"] == [pwd.getpwnam(server_user()).pw_uid, answer["groups"][0]]
    assert 0 not in answer["groups"]


@pytest.mark.root_only("only root's httpd can change the user")
def test_user_and_group(server_factory):
    answer = asked(server_factory, f"user=nobody group={server_group()} home=/")
    assert (answer["user"], answer["group"]) == ("nobody", server_group())
    assert server_user() != "nobody"


@pytest.mark.root_only("only root's httpd can change the user")
def test_supplementary_groups(server_factory):
    answer = asked(server_factory, "supplementary-groups=daemon,bin")
    wanted = {grp.getgrnam(name).gr_gid for name in ("daemon", "bin", server_group())}
    assert set(answer["groups"]) == wanted


@pytest.mark.root_only("only root's httpd can change the user")
def test_working_directory_of_another_user_is_its_home(server_factory):
    home = pwd.getpwnam("bin").pw_dir
    assert asked(server_factory, "user=bin")["cwd"] == os.path.realpath(home)


@pytest.mark.root_only("without root, httpd's user is not the one it is built for")
def test_working_directory_is_httpds_otherwise(server_factory):
    server = server_factory(with_options(""))
    assert server.get("/process").json["cwd"] == server.parent.working_directory


def test_home_is_the_working_directory_and_first_on_the_path(server_factory):
    server = server_factory(with_options("home=${ROOT}/htdocs python-path=${ROOT}/conf"))
    answer = server.get("/process").json
    assert answer["cwd"] == f"{server.root}/htdocs"
    assert answer["path"][:2] == [f"{server.root}/htdocs", f"{server.root}/conf"]


def test_python_path_goes_first_and_reads_pth_files(server_factory):
    server = server_factory(start=False)
    for name in ("one", "two", "three"):
        server.write(f"{name}/module_{name}.py", "")
    server.write("one/more.pth", f"{server.root}/three\n")
    server.configure(with_options("python-path=${ROOT}/one:${ROOT}/two"))
    path = server.start().get("/process").json["path"]
    assert path[:3] == [f"{server.root}/{name}" for name in ("one", "three", "two")]


def test_python_path_of_the_main_server_is_for_embedded_mode(server_factory):
    server = server_factory(f"WSGIPythonPath ${{ROOT}}/htdocs\n{with_options('')}")
    assert server.get("/embedded").json["path"][0] == f"{server.root}/htdocs"
    assert f"{server.root}/htdocs" not in server.get("/process").json["path"]


@pytest.mark.parametrize("mask", ["0027", "077", "0"])
def test_umask(server_factory, mask):
    server = server_factory(with_options(f"umask={mask}"))
    assert server.get("/process").json["umask"] == int(mask, 8)


def test_lang_and_locale(server_factory):
    answer = asked(server_factory, "lang=en_US.UTF-8 locale=C.UTF-8")
    assert answer["environ"]["LANG"] == "en_US.UTF-8"
    assert answer["environ"]["LC_ALL"] == "C.UTF-8"
    assert answer["locale"] == "C.UTF-8"
    assert answer["encoding"] == "utf-8"


def test_environment_is_that_of_httpd_with_the_users_home(server_factory):
    environment = {"SOME_VARIABLE": "some value", "USER": "somebody"}
    answer = asked(server_factory, "", environment=environment)["environ"]
    account = pwd.getpwuid(os.geteuid()) if os.geteuid() else pwd.getpwnam(server_user())
    assert answer["SOME_VARIABLE"] == "some value"
    assert answer["HOME"] == account.pw_dir
    assert answer["USER"] == account.pw_name
    assert "LOGNAME" not in answer


def test_argv(server_factory, mode):
    server = server_factory(with_options(""))
    path = "/embedded" if mode == "embedded" else "/process"
    assert server.get(path).json["argv"] == ["mod_wsgi"]


def test_interpreter_is_the_default_one(server_factory, module_under_test, mode):
    server = server_factory(with_options(""))
    path = "/embedded" if mode == "embedded" else "/process"
    answer = server.get(path).json
    assert os.path.realpath(answer["executable"]) == os.path.realpath(module_under_test.python)
    assert answer["prefix"] == answer["base_prefix"]


@pytest.mark.parametrize("how", ["python-home", "WSGIPythonHome"])
def test_interpreter_of_a_virtual_environment(server_factory, venv, mode, how):
    if mode == "embedded" and how == "python-home":
        pytest.skip("python-home= is of daemon mode")
    env = venv("plain")
    if how == "python-home":
        config = with_options(f"python-home={env.path}")
    else:
        config = f"WSGIPythonHome {env.path}\n{with_options('')}"
    answer = server_factory(config).get("/embedded" if mode == "embedded" else "/process").json
    assert answer["prefix"] == str(env.path)
    assert answer["executable"] == str(env.python)
    assert str(env.site_packages) in answer["path"]
    assert answer["base_prefix"] != answer["prefix"]


def test_virtual_environment_of_the_group_goes_before_that_of_the_server(server_factory, venv):
    env, other = venv("plain"), venv("other")
    config = f"WSGIPythonHome {other.path}\n{with_options(f'python-home={env.path}')}"
    server = server_factory(config)
    assert server.get("/process").json["prefix"] == str(env.path)
    assert server.get("/embedded").json["prefix"] == str(other.path)


@pytest.mark.ours_only("mod_wsgi is tied to the Python it was built with")
def test_each_group_has_its_own_python(server_factory, venv, interpreter):
    versions = ("3.10", "3.12", "3.13")
    envs = {version: venv("plain", python=interpreter(version)) for version in versions}
    groups = "".join(
        f"WSGIDaemonProcess py{version} threads=2 python-home={env.path}\n"
        f"WSGIScriptAlias /{version} ${{APPS}}/process/app.wsgi process-group=py{version}\n"
        f"WSGIScriptAlias /subprocess/{version} ${{APPS}}/subprocess/app.wsgi "
        f"process-group=py{version} application-group=%{{GLOBAL}}\n"
        for version, env in envs.items()
    )
    server = server_factory(groups)
    for version, env in envs.items():
        answer = server.get(f"/{version}").json
        assert answer["version"] == [int(part) for part in version.split(".")]
        assert (answer["prefix"], answer["executable"]) == (str(env.path), str(env.python))
        assert server.get(f"/subprocess/{version}").json == [
            str(env.path),
            str(env.path),
            [1, 2, 3],
        ]


@pytest.mark.ours_only("in mod_wsgi, sys.executable is no interpreter that multiprocessing can use")
def test_subprocesses(server_factory, venv):
    env = venv("plain")
    server = server_factory(with_options(f"python-home={env.path}"))
    assert server.get("/subprocess").json == [str(env.path), str(env.path), [1, 2, 3]]


@pytest.mark.ours_only("in mod_wsgi, the process is a copy of httpd")
def test_daemon_process_is_the_interpreter(server_factory, venv):
    env = venv("plain")
    server = server_factory(with_options(f"python-home={env.path}"))
    process = Process.of(server.get("/process").json["pid"])
    assert os.path.realpath(process.executable) == os.path.realpath(env.python)
    listening = {f"socket:[{fields[9]}]" for line in Path("/proc/net/tcp").read_text().splitlines()
                 if (fields := line.split())[3] == "0A"}  # fmt: skip
    assert not listening & set(process.descriptors.values())


@pytest.mark.parametrize(("option", "name"), [("%{GROUP}", b"(wsgi:main)"), ("shown", b"shown")])
def test_display_name(server_factory, option, name):
    server = server_factory(with_options(f"display-name='{option}'"))
    process = Process.of(server.get("/process").json["pid"])
    assert process.command_line.rstrip(b"\0 ").split(b"\0")[0].rstrip() == name


def test_threads(server_factory, tmp_path_for_server):
    """No more requests run at a time than there are threads; the next one waits."""
    server = server_factory(with_options("threads=2"))
    first, second = (HeldRequest(server, tmp_path_for_server).wait_started() for _ in range(2))
    third = HeldRequest(server, tmp_path_for_server)
    wait_until(lambda: accepted(server) == 3, "httpd to accept the third request")
    assert not third.started
    first.release()
    third.wait_started()
    second.release()
    third.release()
    assert {request.result().status for request in (first, second, third)} == {200}
    assert len({request.result().body for request in (first, second, third)}) == 1


def accepted(server) -> int:
    """How many connections to the main port the httpd children have taken and hold."""
    port = f":{server.port:04X}"
    mine = {t for process in server.httpd_children for t in process.descriptors.values()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(
        row[1].endswith(port) and row[3] == "01" and f"socket:[{row[9]}]" in mine for row in rows
    )


@pytest.mark.ours_only("mod_wsgi leaves the choice of the process to chance")
def test_idle_process_is_chosen(server_factory, tmp_path_for_server):
    """With one thread each, two requests at a time go to two processes."""
    server = server_factory(with_options("processes=3 threads=1"))
    wait_until(lambda: len(server.find_log("is ready")) == 3, "three processes to be ready")
    held = [HeldRequest(server, tmp_path_for_server).wait_started() for _ in range(3)]
    assert len({request.pid for request in held}) == 3
    for request in held:
        request.release()
        assert request.result().status == 200


# Replacement


def test_maximum_requests_recycles_and_loses_nothing(server_factory):
    server = server_factory(with_options("processes=2 threads=5 maximum-requests=5"))
    wanted = 4 if UPSTREAM else 12
    pids: set[bytes] = set()
    failures: list[object] = []

    def ask() -> None:
        while len(pids) < wanted:
            response = server.get("/pid")
            if response.status != 200 or not response.complete:
                failures.append(response)
                return
            pids.add(response.body)

    clients = [Background(ask) for _ in range(4)]
    for client in clients:
        client.result()
    assert not failures
    assert len(pids) >= wanted


def test_maximum_requests_of_one_process(server_factory):
    server = server_factory(with_options("threads=1 maximum-requests=5"))
    pids = []
    while len(set(pids)) < 3:
        response = server.get("/pid")
        assert response.status == 200
        pids.append(response.body)
    if UPSTREAM:
        assert max(map(pids.count, pids)) <= 5


def test_process_killed_while_idle_is_replaced(server_factory):
    server = server_factory(with_options(""))
    before = int(server.get("/pid").body)
    os.kill(before, signal.SIGKILL)
    response = server.get("/pid")
    assert response.status == 200
    assert int(response.body) != before
    record = server.wait_log("signal 9")
    assert str(before) in record.message
    assert "main" in record.message
    server.expect_log("signal 9", count=1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_process_told_to_leave_is_replaced(server_factory, number):
    server = server_factory(with_options(""))
    before = int(server.get("/pid").body)
    os.kill(before, number)
    wait_until(lambda: Process.of(before) is None, "the process to leave")
    response = server.get("/pid")
    assert response.status == 200
    assert int(response.body) != before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_process_told_to_leave_finishes_its_requests(server_factory, tmp_path_for_server, number):
    server = server_factory(with_options("threads=2"))
    held = HeldRequest(server, tmp_path_for_server)
    pid = held.pid
    os.kill(pid, number)
    held.release()
    response = held.result()
    assert (response.status, response.body) == (200, str(pid).encode())
    wait_until(lambda: Process.of(pid) is None, "the process to leave")
    assert int(server.get("/pid").body) != pid


@pytest.mark.ours_only("mod_wsgi has no process while the old one is leaving")
def test_replacement_serves_while_the_old_process_finishes(server_factory, tmp_path_for_server):
    server = server_factory(with_options("threads=1"))
    held = HeldRequest(server, tmp_path_for_server)
    os.kill(held.pid, signal.SIGUSR1)
    assert int(server.get("/pid").body) != held.pid
    held.release()
    assert held.result().status == 200


# Scripts that change

SCRIPT = """
import os


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"{text} %d" % os.getpid()]
"""

RELOADING = """
WSGIDaemonProcess main threads=2 {options}
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptReloading {reloading}
WSGIScriptAlias /embedded ${{ROOT}}/apps/changing.wsgi
WSGIScriptAlias /daemon ${{ROOT}}/apps/changing.wsgi process-group=main
"""


@pytest.fixture
def changing(server_factory):
    """A function that starts a server whose script says "old"."""

    def make(reloading: str = "On", options: str = ""):
        server = server_factory(RELOADING.format(reloading=reloading, options=options), start=False)
        write_script(server, "old")
        return server.start()

    return make


def write_script(server, text: str, content: str | None = None, seconds: int = 0) -> None:
    """Replace the script; its modification time moves by a second at least, or by `seconds`."""
    path = server.apps / "changing.wsgi"
    before = path.stat().st_mtime_ns if path.exists() else 0
    server.write("apps/changing.wsgi", content or SCRIPT.format(text=text))
    if before:
        moved = before + (seconds or 1) * 1_000_000_000
        os.utime(path, ns=(moved, moved))


def said(server, mode: str) -> tuple[str, int]:
    response = server.get(f"/{mode}")
    assert response.status == 200
    text, pid = response.text.split()
    return text, int(pid)


def test_changed_script_answers_the_next_request(changing, mode):
    server = changing()
    text, before = said(server, mode)
    assert text == "old"
    write_script(server, "new")
    text, after = said(server, mode)
    assert text == "new"
    if mode == "daemon":
        assert after != before
    elif server.mpm != "prefork":
        assert after == before


def test_changed_script_answers_all_requests_of_all_processes(changing):
    server = changing(options="processes=3")
    for _ in range(20):
        said(server, "daemon")
    write_script(server, "new")
    assert {said(server, "daemon")[0] for _ in range(30)} == {"new"}


def test_script_with_an_older_time_is_changed_too(changing, mode):
    server = changing()
    said(server, mode)
    write_script(server, "new", seconds=-3600)
    assert said(server, mode)[0] == "new"


def test_script_changes_several_times(changing, mode):
    server = changing()
    for number in range(3):
        write_script(server, f"text{number}")
        assert said(server, mode)[0] == f"text{number}"


def test_unchanged_script_is_not_loaded_again(changing, mode):
    server = changing()
    answers = {said(server, mode) for _ in range(10)}
    if mode == "daemon" or server.mpm != "prefork":
        assert len(answers) == 1
    assert {text for text, _ in answers} == {"old"}


def test_reloading_off(changing, mode):
    server = changing(reloading="Off")
    if mode == "daemon" or server.mpm != "prefork":
        before = said(server, mode)
        write_script(server, "new")
        assert [said(server, mode) for _ in range(5)] == [before] * 5
    else:
        # Each child loads the script when it first needs it; the children that have it keep it.
        with server.connection() as connection:
            assert connection.request(f"/{mode}").text.startswith("old")
            write_script(server, "new")
            assert connection.request(f"/{mode}").text.startswith("old")


def test_syntax_error_is_repaired(changing, mode):
    server = changing()
    assert said(server, mode)[0] == "old"
    write_script(server, "", content="def broken(:\n")
    assert server.get(f"/{mode}").status == 500
    server.wait_log("SyntaxError")
    write_script(server, "new")
    assert said(server, mode)[0] == "new"
    server.expect_log("WSGI0105")
    server.expect_traceback("SyntaxError")


@pytest.mark.ours_only("mod_wsgi gives running requests shutdown-timeout and makes others wait")
def test_running_requests_finish_on_the_old_code(server_factory, tmp_path_for_server):
    server = server_factory(with_options("threads=3"))
    held = HeldRequest(server, tmp_path_for_server)
    held.wait_started()
    server.touch(server.apps / "hold/app.wsgi")
    another = HeldRequest(server, tmp_path_for_server)
    assert another.pid != held.pid
    assert Process.of(held.pid)
    held.release()
    another.release()
    assert held.result().body == str(held.pid).encode()
    assert another.result().body == str(another.pid).encode()


# Restarts of httpd


def test_graceful_restart_replaces_the_processes(server_factory):
    server = server_factory(with_options(""))
    before = int(server.get("/pid").body)
    server.graceful()
    response = server.get("/pid")
    assert response.status == 200
    assert int(response.body) != before
    wait_until(lambda: Process.of(before) is None, "the old process to leave")


@pytest.mark.difference("a graceful restart lets running requests of daemon processes finish")
def test_running_request_in_a_graceful_restart(server_factory, tmp_path_for_server):
    server = server_factory(with_options("threads=2"))
    held = HeldRequest(server, tmp_path_for_server)
    old = held.pid
    server.graceful()
    response = server.get("/pid")
    assert (response.status, int(response.body) != old) == (200, True)
    held.release()
    response = held.result()
    assert response.status == differs(upstream=502, ours=200)
    if OURS:
        assert response.body == str(old).encode()
    else:
        server.expect_log("WSGI014[67]", count=1)
    wait_until(lambda: Process.of(old) is None, "the old process to leave")


@pytest.mark.difference("a connection of an old httpd child still finds its daemon processes")
def test_request_that_ends_after_a_graceful_restart(server_factory):
    """Half of it was sent before: the old child asks for a daemon process after the restart."""
    server = server_factory(with_options(""))
    with server.raw() as raw:
        raw.send(b"GET /pid HTTP/1.1\r\nHost: x\r\n")
        wait_until(lambda: accepted(server) == 1, "httpd to accept the connection")
        server.graceful()
        raw.send(b"Connection: close\r\n\r\n")
        answer = raw.receive_all()
    assert answer.startswith(differs(upstream=b"HTTP/1.1 503 ", ours=b"HTTP/1.1 200 "))
    if UPSTREAM:
        server.expect_log("WSGI0117", count=1)


@pytest.mark.ours_only("mod_wsgi ends its processes in a graceful restart")
def test_no_request_is_lost_in_graceful_restarts(server_factory):
    server = server_factory(with_options("processes=2 threads=5"))
    stop = []
    answered = []

    def ask() -> None:
        while not stop:
            response = server.get("/pid")
            assert (response.status, response.complete) == (200, True)
            answered.append(response.body)

    clients = [Background(ask) for _ in range(4)]
    for _ in range(3):
        count = len(answered)
        wait_until(lambda count=count: len(answered) > count + 50, "requests to be answered")
        server.graceful()
    count = len(answered)
    wait_until(lambda: len(answered) > count + 50, "requests to be answered")
    stop.append(True)
    for client in clients:
        client.result()
    assert len(set(answered)) >= 4


def test_descriptors_do_not_grow_with_graceful_restarts(server_factory):
    """What the audit checks after each test, here across restarts."""
    server = server_factory(with_options(""))
    for _ in range(3):
        assert server.get("/pid").status == 200
        server.graceful()
    assert server.get("/pid").status == 200


def test_graceful_restart_with_another_configuration(server_factory):
    server = server_factory(with_options("umask=0"))
    assert server.get("/process").json["umask"] == 0
    server.configure(with_options("umask=0077"))
    server.graceful()
    assert server.get("/process").json["umask"] == 0o77
    server.configure("WSGIScriptAlias / ${APPS}/hello/app.wsgi")
    server.graceful()
    assert server.get("/").status == 200
    wait_until(lambda: not server.daemon_processes, "the group's process to leave")


def test_restart(server_factory):
    server = server_factory(with_options(""))
    before = int(server.get("/pid").body)
    server.restart()
    response = server.get("/pid")
    assert response.status == 200
    assert int(response.body) != before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGWINCH])
def test_stop_leaves_nothing(server_factory, number):
    server = server_factory(with_options("processes=2"))
    assert server.get("/pid").status == 200
    assert server.get("/embedded").status == 200
    assert server.stop(number) == []
    assert server.tree.processes() == []


def test_stop_with_a_running_request_leaves_nothing(server_factory, tmp_path_for_server):
    server = server_factory(with_options("shutdown-timeout=1"))
    held = HeldRequest(server, tmp_path_for_server)
    held.wait_started()
    assert server.stop() == []
    assert server.tree.processes() == []
    server.tolerate_log("WSGI014[567]|WSGI0309|AH00045|AH00046")


@pytest.mark.ours_only("in mod_wsgi, httpd waits for them, and kills its children after 9 seconds")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["stop", "restart"])
def test_requests_that_wait_for_a_thread_do_not_hold_up_httpd(
    server_factory, mpm, number, tmp_path_for_server
):
    if mpm == "prefork":
        pytest.skip("children of prefork do not wait for their requests")
    server = server_factory(
        f"""
{with_options("processes=2 threads=1 shutdown-timeout=1")}
<Location /server-status>
SetHandler server-status
Require all granted
</Location>
""",
        modules=["status"],
    )

    def busy() -> int:
        return int(re.search(r"BusyWorkers: (\d+)", server.get("/server-status?auto").text)[1])

    held = [HeldRequest(server, tmp_path_for_server) for _ in range(2)]
    for request in held:
        request.wait_started()
    waiting = [HeldRequest(server, tmp_path_for_server) for _ in range(8)]
    wait_until(lambda: busy() > 10, "all requests to reach httpd")
    children = server.httpd_children
    server.send_signal(number)
    # One that had not ended after 9 seconds would be killed, with AH00046.
    wait_until(lambda: not any(child.runs for child in children), "the children to end")
    if number == signal.SIGTERM:
        server.reap_killed_parent()
    assert not any(request.started for request in waiting)
    server.tolerate_log("WSGI014[567]|WSGI0309|AH00045")


@pytest.mark.ours_only("processes of mod_wsgi hear of the end of httpd after all of its children")
def test_process_hears_of_the_stop_while_its_request_runs(server_factory, tmp_path_for_server):
    """httpd waits for the thread that has the request, and kills its child after 9 seconds."""
    server = server_factory(with_options("threads=2 shutdown-timeout=60"))
    held = HeldRequest(server, tmp_path_for_server)
    held.wait_started()
    children = server.httpd_children
    (process,) = server.daemon_processes
    (address,) = server.daemon_sockets
    stop = Background(server.stop)
    wait_until(lambda: address not in server.daemon_sockets, "the process to take no more requests")
    if server.mpm != "prefork":
        # Under prefork the children have left already, request or not.
        assert any(child.runs for child in children)
    assert process.runs
    held.release()
    assert stop.result() == []
    # The application returned, and the process left by itself.
    server.wait_log(f"daemon process {process.pid} .*has left")
    server.tolerate_log("WSGI014[567]|AH00045")


@pytest.mark.ours_only("daemon processes of mod_wsgi outlive an httpd parent that was killed")
def test_processes_leave_when_httpd_was_killed(server_factory):
    server = server_factory(with_options("processes=2"))
    assert server.get("/pid").status == 200
    children = server.httpd_children
    server.send_signal(signal.SIGKILL)
    server.reap_killed_parent()
    for process in children:
        os.kill(process.pid, signal.SIGKILL)
    server.wait_for_no_processes()


@pytest.mark.ours_only("daemon processes of mod_wsgi outlive an httpd parent that was killed")
def test_children_are_served_while_they_live_although_the_parent_was_killed(server_factory):
    server = server_factory(with_options(""))
    assert server.get("/pid").status == 200
    children = server.httpd_children
    server.send_signal(signal.SIGKILL)
    server.reap_killed_parent()
    assert server.get("/pid").status == 200
    for process in children:
        os.kill(process.pid, signal.SIGKILL)
    server.wait_for_no_processes()


# Interpreters that cannot start


@pytest.mark.ours_only("requests to a group without interpreter hang in mod_wsgi")
@pytest.mark.parametrize(
    ("home", "named"),
    [
        ("/no/such/folder", "/no/such/folder"),
        ("${ROOT}/htdocs", "htdocs"),
        ("${ROOT}/conf/mime.types", "mime.types"),
        ("${ROOT}/venv/lib/python3.11/site-packages", "site-packages"),
    ],
)
def test_missing_interpreter(server_factory, home, named):
    server = server_factory(start=False)
    server.write("venv/lib/python3.11/site-packages/x.py", "")
    server.configure(with_options(f"connect-timeout=1 python-home={home}"))
    server.start()
    assert server.get("/pid").status in (500, 503)
    assert server.get("/embedded").status == 200
    record = server.wait_log(f"WSGI0100.*{named}")
    assert "python-home" in record.message or "python-path" in record.message
    server.expect_log("WSGI0100")
    server.expect_log("WSGI0308.*'main'")
    server.expect_log("WSGI0301.*'main'", count=1)


@pytest.mark.ours_only("requests to a group without interpreter hang in mod_wsgi")
@pytest.mark.root_only("the folder must be closed to the server's user")
def test_interpreter_in_a_folder_that_is_closed_to_the_user(server_factory, venv):
    env = venv("plain")
    server = server_factory(start=False)
    closed = server.root / "closed"
    closed.mkdir(mode=0o700)
    (closed / "venv").symlink_to(env.path)
    server.configure(with_options("connect-timeout=1 python-home=${ROOT}/closed/venv"))
    server.start()
    assert server.get("/pid").status in (500, 503)
    record = server.wait_log("WSGI0100.*/closed ")
    user = server_user()
    assert user in record.message or f"user id {pwd.getpwnam(user).pw_uid}" in record.message
    server.expect_log("WSGI0100")
    server.expect_log("WSGI0308.*'main'")
    server.expect_log("WSGI0301.*'main'", count=1)


DYING = """
import os
import time

with open({attempts!r}, "a") as file:
    file.write(f"{{time.monotonic()}}\\n")
if not os.path.exists({repaired!r}):
    os._exit(3)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"repaired"]
"""


@pytest.mark.ours_only("mod_wsgi starts a process that dies at once again each second")
def test_process_that_dies_while_starting_is_tried_again_ever_later(
    server_factory, tmp_path_for_server
):
    """The script is loaded at start, as its alias names both groups, and ends the process."""
    attempts, repaired = tmp_path_for_server / "attempts", tmp_path_for_server / "repaired"
    attempts.touch()
    attempts.chmod(0o666)
    server = server_factory(start=False)
    server.write("apps/dying.wsgi", DYING.format(attempts=str(attempts), repaired=str(repaired)))
    server.configure("""
WSGIDaemonProcess main connect-timeout=1
WSGIScriptAlias / ${APPS}/dying.wsgi process-group=main application-group=%{GLOBAL}
""")
    server.start()

    def times() -> list[float]:
        return [float(line) for line in attempts.read_text().splitlines()]

    wait_until(lambda: len(times()) >= 5, "five attempts to start the process")
    pauses = [later - earlier for earlier, later in zip(times(), times()[1:], strict=False)]
    assert pauses[3] > 2 * pauses[0]
    assert server.get("/").status == 503
    repaired.touch()
    wait_until(lambda: server.get("/").status == 200, "the repaired process to answer")
    server.expect_log("WSGI0308.*exit(ed with status| code) 3")
    server.expect_log("WSGI0301")
    server.tolerate_log("WSGI0302")


@pytest.mark.ours_only("mod_wsgi starts a process that dies at once again each second")
def test_first_failure_is_repeated(server_factory, tmp_path_for_server):
    """What comes later may follow from it, as where half of something is left behind."""
    attempts, repaired = tmp_path_for_server / "attempts", tmp_path_for_server / "repaired"
    attempts.touch()
    attempts.chmod(0o666)
    server = server_factory(start=False)
    server.write(
        "apps/dying.wsgi",
        f"""
import os, sys

with open({str(attempts)!r}, "a") as file:
    file.write("x")
if not os.path.exists({str(repaired)!r}):
    first = os.path.getsize({str(attempts)!r}) == 1
    print("the disk is full" if first else "a lock is left", file=sys.stderr, flush=True)
    os._exit(3)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"repaired"]
""",
    )
    server.configure("""
WSGIDaemonProcess main
WSGIScriptAlias / ${APPS}/dying.wsgi process-group=main application-group=%{GLOBAL}
""")
    server.start()
    wait_until(lambda: len(server.find_log("WSGI0353")) >= 2, "the first failure to be repeated")
    repaired.touch()
    wait_until(lambda: server.get("/").status == 200, "the repaired process to answer")
    repeated = len(server.find_log("WSGI0353"))
    assert len(server.find_log("the disk is full")) == 1 + repeated
    server.expect_log("WSGI0353: WSGI process group 'main': the first process")
    server.expect_log("the disk is full|a lock is left")
    server.expect_log("WSGI0308.*exit(ed with status| code) 3")
    server.tolerate_log("WSGI0301|WSGI0302")
