# SPDX-License-Identifier: Apache-2.0
"""preload=on: the application is loaded once, in a template, and processes are forked from it."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

from harness.background import Background, HeldRequest
from harness.configuration import server_user
from harness.processes import Process
from harness.waiting import wait_until

pytestmark = pytest.mark.ours_only("mod_wsgi has no preload=")

APP = '''
"""Says which code it is and what it knows of its process."""

import os
import time

TEXT = "{text}"
LOADED = {loaded!r}
ballast = bytearray(os.urandom(1 << 20) * {megabytes})

with open(LOADED, "a") as file:
    file.write("%d\\n" % os.getpid())


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    question = environ["QUERY_STRING"]
    if question == "slow":
        time.sleep(0.2)
    answer = eval(question.replace("%20", " ")) if question.startswith("(") else os.getpid()
    return [("%s %s" % (TEXT, answer)).encode()]
'''

LITERAL = """
WSGIDaemonProcess main preload=on {options}
WSGIScriptAlias / ${{ROOT}}/apps/loaded.wsgi process-group=main application-group=%{{GLOBAL}}
"""

ADOPTED = """
WSGIDaemonProcess main preload=on {options}
WSGIProcessGroup main
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias / ${{ROOT}}/apps/loaded.wsgi
"""


class Site:
    """A server with the application."""

    def __init__(self, server_factory, folder, options, config=LITERAL, megabytes=0, start=True):
        self.loaded_file = folder / "loaded"
        self.loaded_file.touch()
        self.loaded_file.chmod(0o666)
        self.megabytes = megabytes
        self.server = server_factory(config.format(options=options), start=False)
        self.write("old")
        if start:
            self.server.start()

    def write(self, text: str, content: str | None = None) -> None:
        """Replaces the script; its modification time moves by a second at least."""
        path = self.server.apps / "loaded.wsgi"
        before = path.stat().st_mtime_ns if path.exists() else 0
        self.server.write("apps/loaded.wsgi", content or self.app(text))
        if before:
            moved = before + 1_000_000_000
            os.utime(path, ns=(moved, moved))

    def app(self, text: str) -> str:
        loaded = str(self.loaded_file)
        return APP.format(text=text, loaded=loaded, megabytes=self.megabytes)

    @property
    def loaded(self) -> list[int]:
        """Process ids of all that have loaded the application, in that order."""
        return [int(line) for line in self.loaded_file.read_text().split()]

    def ask(self, question: str = "") -> tuple[str, str]:
        response = self.server.get(f"/?{question}")
        assert (response.status, response.complete) == (200, True), response
        text, _, answer = response.text.partition(" ")
        return text, answer

    def pid(self) -> int:
        return int(self.ask()[1])

    @property
    def supervisor(self) -> Process:
        (supervisor,) = self.server.supervisors
        return supervisor

    @property
    def templates(self) -> list[Process]:
        return [p for p in self.server.daemon_processes if comm(p) == "wsgi-template"]

    @property
    def workers(self) -> list[Process]:
        return [p for p in self.server.daemon_processes if comm(p) != "wsgi-template"]

    def wait_ready(self, count: int) -> list[Process]:
        """Waits for the log's word that so many processes have become ready."""
        wait_until(lambda: len(self.server.find_log("daemon process .* is ready")) >= count,
                   f"{count} processes to be ready")  # fmt: skip
        return self.workers


def comm(process: Process) -> str:
    try:
        return Path(f"/proc/{process.pid}/comm").read_text().strip()
    except OSError:
        return ""


@pytest.fixture
def site(server_factory, tmp_path_for_server):
    def make(options: str = "", **more) -> Site:
        return Site(server_factory, tmp_path_for_server, options, **more)

    return make


def test_application_is_loaded_once_for_all_processes(site):
    site = site("processes=4 threads=2")
    workers = site.wait_ready(4)
    (template,) = site.templates
    assert site.loaded == [template.pid]
    assert len(workers) == 4
    assert {worker.parent for worker in workers} == {site.supervisor.pid}
    assert site.pid() in {worker.pid for worker in workers}
    assert template.thread_count == 1
    assert site.loaded == [template.pid]


def test_more_processes_than_are_asked_for_at_a_time(site):
    site = site("processes=40 threads=1")
    site.wait_ready(40)
    assert len(site.workers) == 40
    assert len(site.loaded) == 1


def test_set_that_may_be_empty_has_no_template_without_requests(site):
    site = site("processes=0-2 threads=1 inactivity-timeout=1")
    assert site.server.daemon_processes == []
    pid = site.pid()
    (template,) = site.templates
    assert site.loaded == [template.pid]
    assert [worker.pid for worker in site.workers] == [pid]
    wait_until(lambda: not site.server.daemon_processes, "the set to be empty again")
    assert site.ask()[0] == "old"
    assert len(site.loaded) == 2


def test_set_grows_from_its_template(site):
    site = site("processes=1-4 threads=1")
    site.wait_ready(1)
    stop: list[bool] = []

    def ask() -> None:
        while not stop:
            site.ask("slow")

    clients = [Background(ask) for _ in range(6)]
    wait_until(lambda: len(site.workers) == 4, "four processes")
    stop.append(True)
    for client in clients:
        client.result()
    assert len(site.loaded) == 1


def test_memory_of_what_was_loaded_is_shared(site):
    size = 50
    site = site("processes=3 threads=1", megabytes=size)
    workers = site.wait_ready(3)
    assert len(workers) == 3
    for worker in workers:
        assert worker.private_memory < size / 2 * 1024 * 1024
        assert worker.proportional_memory > size / 5 * 1024 * 1024
    _, length = site.ask("(len(ballast))")
    assert int(length) == size << 20


@pytest.mark.root_only("only root's httpd can change the user")
def test_processes_run_as_the_user_of_the_group(site):
    import pwd

    site = site("user=nobody home=/ processes=2 umask=0027")
    workers = site.wait_ready(2)
    uid = pwd.getpwnam("nobody").pw_uid
    assert server_user() != "nobody"
    assert {process.user for process in [*workers, *site.templates]} == {uid}
    assert {worker.umask for worker in workers} == {0o027}
    assert {worker.working_directory for worker in workers} == {"/"}


def test_descriptors_of_processes_are_their_own(site):
    site = site("processes=2 threads=2")
    workers = site.wait_ready(2)
    (template,) = site.templates
    own = {link for link in template.descriptors.values() if link.startswith(("socket", "pipe"))}
    assert own
    seen: set[str] = set()
    for worker in workers:
        links = {
            link for link in worker.descriptors.values() if link.startswith(("socket", "pipe"))
        }
        assert len(links) > 4
        assert not links & own
        assert not links & seen
        seen |= links


def test_killed_process_is_forked_again(site):
    site = site("processes=1")
    site.wait_ready(1)
    (template,) = site.templates
    before = site.pid()
    os.kill(before, signal.SIGKILL)
    after = site.pid()
    assert after != before
    assert site.loaded == [template.pid]
    assert Process.of(after).parent == site.supervisor.pid
    site.server.expect_log("WSGI0303.*daemon process .*signal 9", count=1)


def test_killed_template_is_replaced_and_its_processes_serve_on(site):
    site = site("processes=2")
    workers = site.wait_ready(2)
    (template,) = site.templates
    os.kill(template.pid, signal.SIGKILL)
    site.server.wait_log("WSGI0303.*template .*signal 9")
    wait_until(lambda: len(site.server.find_log("template .* is ready")) == 2, "a new template")
    assert site.workers == workers
    assert site.pid() in {worker.pid for worker in workers}
    (successor,) = site.templates
    assert site.loaded == [template.pid, successor.pid]
    os.kill(workers[0].pid, signal.SIGTERM)
    site.wait_ready(3)
    wait_until(lambda: not workers[0].runs, "the old process to leave")
    assert len(site.workers) == 2
    assert site.loaded == [template.pid, successor.pid]
    site.server.expect_log("WSGI0303", count=1)


def test_recycled_processes_are_forked_from_the_same_template(site):
    site = site("processes=2 threads=1 maximum-requests=5")
    site.wait_ready(2)
    pids = set()
    while len(pids) < 8:
        pids.add(site.pid())
    assert len(site.loaded) == 1


def test_changed_script_is_loaded_once_and_answers_the_next_request(site):
    site = site("processes=3 threads=2")
    site.wait_ready(3)
    first = site.templates
    assert site.ask()[0] == "old"
    site.write("new")
    for _ in range(12):
        assert site.ask()[0] == "new"
    assert len(site.loaded) == 2
    (second,) = site.templates
    assert second not in first
    assert site.loaded[1] == second.pid


def test_old_code_goes_on_where_the_new_does_not_load(site):
    site = site("processes=2 threads=2 reload=keep")
    workers = site.wait_ready(2)
    (template,) = site.templates
    site.write("", "1 / 0\n")
    for _ in range(6):
        assert site.ask()[0] == "old"
    assert site.workers == workers
    assert site.templates == [template]
    # Also in processes that come later.
    os.kill(workers[0].pid, signal.SIGKILL)
    site.wait_ready(3)
    for _ in range(6):
        assert site.ask()[0] == "old"
    assert site.loaded == [template.pid]
    site.write("new")
    for _ in range(6):
        assert site.ask()[0] == "new"
    assert len(site.loaded) == 2
    site.server.expect_log("the old code goes on", count=1)
    site.server.expect_log("WSGI0110", count=1)
    site.server.expect_traceback("ZeroDivisionError: division by zero", count=1)
    site.server.expect_log("WSGI0303.*signal 9", count=1)


def test_changed_module_is_loaded_by_a_new_template(site):
    site = site("processes=2 threads=2 reload-on=modules python-path=${ROOT}/apps", start=False)
    site.server.write("apps/changing_module.py", "TEXT = 'one'\n")
    source = "import changing_module\n" + site.app("").replace(
        'TEXT = ""', "TEXT = changing_module.TEXT"
    )
    site.write("", source)
    site.server.start()
    assert site.ask()[0] == "one"
    site.server.write("apps/changing_module.py", "TEXT = 'two'\n")
    os.utime(site.server.apps / "changing_module.py", (1, 1))
    wait_until(lambda: site.ask()[0] == "two", "the new module to be used")
    for _ in range(6):
        assert site.ask()[0] == "two"
    assert len(site.loaded) == 2


def test_scripts_of_earlier_requests_are_loaded_by_a_new_template(server_factory):
    server = server_factory("""
WSGIDaemonProcess main preload=on threads=1
WSGIProcessGroup main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /one ${APPS}/pid/app.wsgi
WSGIScriptAlias /two ${APPS}/hello/app.wsgi
""")
    assert server.get("/one").status == 200
    assert server.get("/two").status == 200
    (template,) = [p for p in server.daemon_processes if comm(p) == "wsgi-template"]
    os.kill(template.pid, signal.SIGUSR1)
    wait_until(lambda: len(server.find_log("template .* is ready")) == 3, "a new template")
    wait_until(lambda: not template.runs, "the old template to leave")
    before = len(server.find_log("Loading Python script"))
    pid = int(server.get("/one").body)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: Process.of(pid) is None, "the process to leave")
    assert server.get("/one").status == 200
    assert server.get("/two").status == 200
    assert len(server.find_log("Loading Python script")) == before


def test_nothing_is_lost_while_the_script_changes(site):
    site = site("processes=2 threads=3")
    site.wait_ready(2)
    stop: list[bool] = []
    answered: list[str] = []

    def ask() -> None:
        while not stop:
            answered.append(site.ask()[0])

    clients = [Background(ask) for _ in range(4)]
    for number in range(4):
        site.write(f"version{number}")
        wait_until(lambda number=number: answered[-4:] == [f"version{number}"] * 4,
                   "the new code to answer everybody")  # fmt: skip
    stop.append(True)
    for client in clients:
        client.result()
    assert len(site.loaded) == 5


def test_running_request_finishes_on_the_old_code(site):
    site = site("processes=1 threads=2")
    site.wait_ready(1)
    slow = Background(lambda: site.ask("slow"))
    wait_until(lambda: site.ask("(len([1]))")[1] == "1", "the process to answer")
    site.write("new")
    assert site.ask()[0] == "new"
    assert slow.result()[0] in ("old", "new")


@pytest.mark.parametrize("to", ["worker", "template"])
def test_graceful_signal_loads_the_application_again(site, to):
    """Also when the script's file is as it was: what it imports may not be."""
    site = site("processes=1")
    (worker,) = site.wait_ready(1)
    (template,) = site.templates
    os.kill(worker.pid if to == "worker" else template.pid, signal.SIGUSR1)
    wait_until(lambda: len(site.loaded) == 2, "the application to be loaded again")
    wait_until(lambda: not template.runs, "the old template to leave")
    if to == "worker":
        wait_until(lambda: not worker.runs, "the old process to leave")
        assert site.pid() != worker.pid
    else:
        assert site.pid() == worker.pid
    assert len(site.loaded) == 2


def test_script_of_the_first_request_is_loaded_where_the_configuration_names_none(site):
    site = site("processes=3 threads=1", config=ADOPTED)
    site.server.wait_log("template .* is ready")
    assert site.loaded == []
    assert site.workers == []
    assert site.ask()[0] == "old"
    site.wait_ready(3)
    (template,) = site.templates
    assert site.loaded == [template.pid]
    site.write("new")
    assert site.ask()[0] == "new"
    assert len(site.loaded) == 2
    assert site.server.find_log("nothing to load") == []


def test_first_request_may_come_before_the_template_is_ready(site):
    site = site("processes=2 threads=1", config=ADOPTED)
    assert site.ask()[0] == "old"
    site.wait_ready(2)
    assert len(site.loaded) == 1


def test_graceful_restart(site):
    site = site("processes=2")
    before = [*site.wait_ready(2), *site.templates]
    site.server.graceful()
    assert site.pid() not in {process.pid for process in before}
    wait_until(lambda: not any(process.runs for process in before), "the old processes to leave")
    assert len(site.loaded) == 2


def test_stop_leaves_nothing(site):
    site = site("processes=3")
    site.wait_ready(3)
    assert site.server.stop() == []
    assert site.server.tree.processes() == []


def test_processes_that_are_killed_while_they_are_forked_anew(site):
    """Each takes its place, under load, and nobody is left over."""
    site = site("processes=4 threads=2 graceful-timeout=1")
    site.wait_ready(4)
    (template,) = site.templates
    for _ in range(10):
        for worker in site.workers[:3]:
            # One that was told before may be gone by now.
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGTERM)
        assert site.server.get("/").status == 200
    wait_until(lambda: len(site.workers) == 4, "four processes")
    assert site.templates == [template]
    assert len(site.loaded) == 1
    # They live for moments only.
    site.server.tolerate_log("WSGI0355")


def test_stop_while_processes_are_forked_leaves_nothing(site):
    site = site("processes=12 threads=1")
    site.server.wait_log("template .* is ready")
    assert site.server.stop() == []
    assert site.server.tree.processes() == []


def test_processes_leave_when_the_supervisor_was_killed(site):
    site = site("processes=2")
    before = [*site.wait_ready(2), *site.templates]
    os.kill(site.supervisor.pid, signal.SIGKILL)
    wait_until(lambda: not any(process.runs for process in before), "the processes to leave")
    assert site.pid() not in {process.pid for process in before}
    site.server.expect_log("WSGI0312", count=1)
    site.server.tolerate_log("WSGI014|WSGI0302|AH00051")


def test_orphans_of_the_application_leave_no_zombies(site):
    """The supervisor becomes the parent of what a forked process leaves behind."""
    site = site("processes=1")
    site.wait_ready(1)
    command = "['sh','-c','sleep%200.1%20>/dev/null%20&%20echo%20$!']"
    orphan = int(site.ask(f"(__import__('subprocess').check_output({command}).decode())")[1])
    wait_until(lambda: Process.of(orphan) is None, "the orphan to be waited for")
    # The audit after the test finds zombies.


def test_threads_of_the_application_are_warned_of(site):
    site = site("processes=1", start=False)
    source = site.app("threads")
    thread = (
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    site.write("", source + thread)
    site.server.start()
    assert site.ask()[0] == "threads"
    site.server.expect_log("WSGI0370.*threads were started", count=1)


def test_application_that_cannot_be_loaded_fails_with_each_request(site):
    site = site("processes=2", start=False)
    site.write("", "1 / 0\n")
    site.server.start()
    assert site.server.get("/").status == 500
    site.server.expect_log("WSGI0110", count=1)
    site.server.expect_log("WSGI0109", count=1)
    site.server.expect_traceback("ZeroDivisionError: division by zero", count=2)
    site.write("repaired")
    assert site.ask()[0] == "repaired"


def test_template_that_dies_while_loading_is_tried_again(site):
    site = site("connect-timeout=1", start=False)
    repaired = Path(f"{site.loaded_file}2")
    dying = f"import os\nif not os.path.exists({str(repaired)!r}):\n    os._exit(3)\n"
    app = site.app("repaired")
    site.write("", dying + app)
    site.server.start()
    assert site.server.get("/").status == 503
    repaired.touch()
    wait_until(lambda: site.server.get("/").status == 200, "the template to start")
    site.server.expect_log("WSGI0308.*template .*exit code 3")
    site.server.expect_log("WSGI0301")
    site.server.tolerate_log("WSGI0302")


LYING = """
import os
import struct

FORKED = 8
os.register_at_fork(before=lambda: os.write(3, struct.pack("<IIQ", FORKED, {pid}, 0)))
"""


@pytest.mark.parametrize("pid", ["1", "os.getpid()", "os.getppid()", "0", "1 << 31"])
def test_supervisor_does_not_believe_what_a_template_says_of_processes(site, pid):
    """Neither init, nor the template or the supervisor itself, is taken for a forked process."""
    site = site("processes=1 connect-timeout=1", start=False)
    site.write("", LYING.format(pid=pid) + site.app(""))
    site.server.start()
    site.server.wait_log("WSGI0371")
    assert site.server.get("/").status == 503
    assert len(site.server.supervisors) == 1
    site.write("honest")
    wait_until(lambda: site.server.get("/").status == 200, "a template that can be believed")
    site.server.expect_log("WSGI0371.*has named process")
    site.server.expect_log("WSGI0309.*template .*signal 9")
    site.server.expect_log("WSGI0308")
    site.server.expect_log("WSGI0301")
    site.server.tolerate_log("WSGI0302")


def test_template_that_does_not_answer_is_killed(site):
    site = site("processes=1", start=False)
    hanging = "import os, time\nos.register_at_fork(before=lambda: time.sleep(3600))\n"
    app = site.app("")
    site.write("", hanging + app)
    site.server.start()
    (template,) = wait_until(lambda: site.templates, "the template to start")
    wait_until(lambda: not template.runs, "the template to be killed")
    site.write("repaired")
    wait_until(lambda: site.server.get("/").status == 200, "a template that forks")
    site.server.expect_log("WSGI0372.*has forked no process", count=1)
    site.server.expect_log("WSGI0309.*template .*signal 9", count=1)
    site.server.expect_log("WSGI0308.*has forked no process", count=1)
    site.server.tolerate_log("WSGI030[12]")


def test_template_that_does_not_finish_loading_is_killed(site):
    site = site("processes=1 startup-timeout=1 connect-timeout=1", start=False)
    site.write("", "import time\ntime.sleep(3600)\n")
    site.server.start()
    site.server.wait_log("WSGI0341.*template .*startup-timeout")
    site.write("repaired")
    wait_until(lambda: site.server.get("/").status == 200, "a template that has loaded it")
    site.server.expect_log("WSGI0341.*startup-timeout")
    site.server.expect_log("WSGI0308.*has not loaded")
    site.server.expect_log("WSGI0309.*template .*signal 9")
    site.server.tolerate_log("WSGI030[12]")


def test_faulthandler_tells_where_a_forked_process_crashed(site):
    site = site("processes=1 threads=1")
    site.wait_ready(1)
    crash = "(__import__('ctypes').string_at(0))"
    assert site.server.get(f"/?{crash}").status == 502
    site.server.wait_log("Fatal Python error: Segmentation fault")
    assert site.server.wait_log("in application")
    site.server.expect_log("WSGI0303.*signal 11", count=1)
    site.server.tolerate_log(
        "WSGI014|Fatal Python|hread 0x|no Python frame|File |extension modules"
    )


def test_children_of_the_application(site):
    site = site("processes=1")
    question = "(__import__('subprocess').check_output(['echo','child']).decode())"
    assert site.ask(question)[1] == "child\n"
    question = "(__import__('multiprocessing').get_context('fork').Pool(2).map(abs,[-1,2]))"
    assert site.ask(question)[1] == "[1, 2]"
    question = "(__import__('os').getpid())"
    assert int(site.ask(question)[1]) in {worker.pid for worker in site.workers}


@pytest.mark.parametrize("version", ["3.10", "3.12", "3.13"])
def test_every_python(site, venv, interpreter, version):
    env = venv("plain", python=interpreter(version))
    site = site(f"processes=3 threads=2 python-home={env.path}")
    site.wait_ready(3)
    assert site.ask("(__import__('sys').version_info[:2])")[1] == str(
        tuple(int(part) for part in version.split("."))
    )
    first = site.pid()
    os.kill(first, signal.SIGTERM)
    site.wait_ready(4)
    site.write("new")
    assert site.ask()[0] == "new"
    assert len(site.loaded) == 2


def test_several_groups_each_have_a_template(server_factory):
    server = server_factory("""
WSGIDaemonProcess one preload=on processes=2
WSGIDaemonProcess two preload=on
WSGIDaemonProcess three
WSGIScriptAlias /one ${APPS}/pid/app.wsgi process-group=one application-group=%{GLOBAL}
WSGIScriptAlias /two ${APPS}/pid/app.wsgi process-group=two application-group=%{GLOBAL}
WSGIScriptAlias /three ${APPS}/pid/app.wsgi process-group=three application-group=%{GLOBAL}
""")
    wait_until(lambda: len(server.find_log("daemon process .* is ready")) == 4, "four processes")
    names = [comm(process) for process in server.daemon_processes]
    assert names.count("wsgi-template") == 2 and len(names) == 6
    assert {server.get(f"/{name}").status for name in ("one", "two", "three")} == {200}


def test_application_groups_each_have_a_template(server_factory):
    server = server_factory("""
WSGIDaemonProcess main preload=on
WSGIProcessGroup main
WSGIScriptAlias /one ${APPS}/pid/app.wsgi
WSGIScriptAlias /two ${APPS}/hello/app.wsgi
""")
    assert server.get("/one").status == 200
    assert server.get("/two").status == 200
    templates = [p for p in server.daemon_processes if comm(p) == "wsgi-template"]
    assert len(templates) == 2


def test_sub_interpreters_are_made_by_each_process(server_factory):
    server = server_factory("""
WSGIDaemonProcess main preload=on isolation=interpreter processes=2
WSGIScriptAlias /main ${APPS}/pid/app.wsgi process-group=main application-group=%{GLOBAL}
WSGIScriptAlias /sub ${APPS}/pid/app.wsgi process-group=main application-group=sub
""")
    wait_until(lambda: len(server.find_log("daemon process .* is ready")) == 2, "two processes")
    assert server.get("/main").status == 200
    assert server.get("/sub").status == 200


def test_display_name_tells_templates_from_processes(site):
    site = site("display-name=%{GROUP}")
    (worker,) = site.wait_ready(1)
    (template,) = [p for p in site.server.daemon_processes if p != worker]

    def shown(process):
        return process.command_line.rstrip(b"\0 ").split(b"\0")[0].rstrip()

    assert sorted([shown(worker), shown(template)]) == [b"(wsgi:main)", b"(wsgi:main) template"]


def test_held_request_across_a_graceful_restart(server_factory, tmp_path_for_server):
    server = server_factory("""
WSGIDaemonProcess main preload=on threads=2
WSGIScriptAlias /hold ${APPS}/hold/app.wsgi process-group=main application-group=%{GLOBAL}
""")
    held = HeldRequest(server, tmp_path_for_server)
    old = held.pid
    server.graceful()
    held.release()
    assert held.result().body == str(old).encode()
    wait_until(lambda: Process.of(old) is None, "the old process to leave")


def test_processes_have_a_seed_of_their_own(site):
    site = site("processes=1 threads=1")
    seen = {}
    for _ in range(3):
        pid, number = site.ask("(os.getpid(),__import__('random').random())")[1][1:-1].split(", ")
        seen[pid] = number
        os.kill(int(pid), signal.SIGTERM)
        wait_until(lambda pid=pid: Process.of(int(pid)) is None, "the process to leave")
    assert len(site.loaded) == 1
    assert len(seen) == len(set(seen.values())) == 3
