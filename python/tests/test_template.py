# SPDX-License-Identifier: Apache-2.0
"""A template: it loads its scripts once, and forks workers that serve."""

import ctypes
import errno
import os
import resource
import signal
import struct
from pathlib import Path

import pytest
from daemon import (
    DRAIN,
    FORK_FAILED,
    KEEP,
    LEAVING,
    NOT_LOADED,
    READY,
    REPLACE,
    SERVE,
    STOP,
    Daemon,
    Worker,
    wait_for,
)

COUNTING = """
    import os, random, threading
    with open({log!r}, "a") as file:
        file.write("loaded %d\\n" % os.getpid())
    os.register_at_fork(after_in_child=lambda: globals().update(forked=os.getpid()))
    forked = None
    print("no line end", end="")

    def application(environ, start_response):
        start_response("200 OK", [])
        return [repr(eval(environ["QUERY_STRING"])).encode()]
"""

SCRIPT_CHANGED, GRACEFUL_SIGNAL, SHUTDOWN_SIGNAL = 4, 2, 1
PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(autouse=True)
def subreaper():
    libc = ctypes.CDLL(None)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def app(script, log):
    return script(COUNTING.format(log=str(log)))


@pytest.fixture
def fork(tmp_path):
    """Forks workers, and ends those that are left."""
    workers = []

    def fork(template, **options):
        workers.append(template.fork(tmp_path, **options))
        return workers[-1]

    yield fork
    for worker in workers:
        worker.close()
        if Path(f"/proc/{worker.pid}").exists() and parent(worker.pid) == os.getpid():
            os.kill(worker.pid, signal.SIGKILL)
            os.waitpid(worker.pid, 0)


def start_template(start, *scripts, **settings) -> Daemon:
    preload = tuple((os.fsencode(path), b"") for path in scripts)
    return start(is_template=True, application_group=b"", preload=preload, **settings)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def ask(worker, app, question: str):
    response = worker.request(app, environ={"QUERY_STRING": question})
    assert response.status == 200, response
    return eval(response.body)


def descriptors(pid: int) -> dict[int, str]:
    folder = Path(f"/proc/{pid}/fd")
    found = {}
    for name in os.listdir(folder):
        try:
            found[int(name)] = os.readlink(folder / name)
        except FileNotFoundError:
            continue
    return found


def test_workers_are_forked_from_what_was_loaded_once(start, app, log, fork):
    template = start_template(start, app)
    first, second = fork(template), fork(template)
    for worker in (first, second):
        assert ask(worker, app, "os.getpid()") == worker.pid
        assert ask(worker, app, "forked") == worker.pid
        assert parent(worker.pid) == os.getpid()
        name = Path(f"/proc/{worker.pid}/comm").read_text()
        assert name.startswith("python")
    assert Path(f"/proc/{template.process.pid}/comm").read_text() == "wsgi-template\n"
    assert log.read_text() == f"loaded {template.process.pid}\n"
    assert ask(first, app, "random.random()") != ask(second, app, "random.random()")
    assert ask(first, app, "threading.main_thread().is_alive()")
    assert ask(first, app, "__import__('gc').get_freeze_count() > 1000")


def test_a_worker_has_no_descriptor_of_its_template(start, app, fork):
    template = start_template(start, app)
    before = descriptors(template.process.pid)
    first = fork(template)
    second = fork(template)
    assert descriptors(template.process.pid) == before
    # The null device, and what the test passes as standard output and error.
    shared = {link for link in before.values() if link.startswith(("socket:", "pipe:"))}
    shared.discard(before[1])
    for worker in (first, second):
        links = descriptors(worker.pid)
        assert not shared & set(links.values())
        assert links[1] == links[2] != before[2]
        assert links[0] == "/dev/null"
    common = set(descriptors(first.pid).values()) & set(descriptors(second.pid).values())
    assert not {link for link in common if link.startswith(("socket:", "pipe:"))}


def test_what_a_worker_logs_goes_to_its_own_output(start, app, fork):
    template = start_template(start, app)
    worker = fork(template)
    assert ask(worker, app, "os.write(2, b'written\\n')") == 8
    worker.log("written\n")
    worker.tell(STOP, 5)
    assert worker.wait() == 0
    assert "no line end" not in worker.log()
    template.tell(STOP, 5)
    assert template.wait() == 0
    text = template.log()
    assert text.count("no line end") == 1 and "written" not in text


def test_workers_outlive_their_template(start, app, fork):
    template = start_template(start, app)
    worker = fork(template)
    template.process.kill()
    template.wait()
    assert ask(worker, app, "os.getpid()") == worker.pid
    worker.tell(DRAIN, 5)
    assert worker.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_go_to_one_process(start, app, fork, number):
    template = start_template(start, app)
    first, second = fork(template), fork(template)
    os.kill(first.pid, number)
    assert first.told() == (LEAVING, SHUTDOWN_SIGNAL)
    assert first.wait() == 0
    assert ask(second, app, "os.getpid()") == second.pid
    third = fork(template)
    os.kill(template.process.pid, number)
    assert template.told() == (LEAVING, SHUTDOWN_SIGNAL)
    assert template.wait() == 0
    assert ask(third, app, "os.getpid()") == third.pid
    os.kill(second.pid, signal.SIGUSR1)
    assert second.told() == (REPLACE, GRACEFUL_SIGNAL)


def test_a_template_asks_to_be_replaced(start, app):
    template = start_template(start, app)
    template.signal(signal.SIGUSR1)
    assert template.told() == (REPLACE, GRACEFUL_SIGNAL)


def test_a_template_with_old_code_forks_nothing(start, app, fork, tmp_path):
    template = start_template(start, app)
    worker = fork(template)
    status = app.stat()
    os.utime(app, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
    refused = Worker(template, tmp_path, template.settings)
    assert template.told() == (REPLACE, SCRIPT_CHANGED)
    assert refused.never_was()
    refused.close()
    # The worker knows as well, when it is asked.
    assert worker.request(app).rejected == 2


def test_a_template_goes_on_with_old_code_when_it_is_told_to(start, app, fork, tmp_path):
    template = start_template(start, app)
    changed = app.stat().st_mtime_ns // 1000 + 1_000_000
    os.utime(app, ns=(changed * 1000, changed * 1000))
    template.control.send(struct.pack("<IIq", KEEP, 0, changed))
    worker = fork(template)
    assert ask(worker, app, "os.getpid()") == worker.pid
    os.utime(app, ns=(changed * 1000 + 10**9, changed * 1000 + 10**9))
    refused = Worker(template, tmp_path, template.settings)
    assert template.told() == (REPLACE, SCRIPT_CHANGED)
    assert refused.never_was()
    refused.close()


def test_a_template_whose_scripts_do_not_load_asks_whether_it_is_wanted(start, script, fork):
    app = script("1 / 0")
    preload = ((os.fsencode(app), b""),)
    settings = {"is_template": True, "application_group": b"", "preload": preload}
    template = start(keeps_old_code=True, wait=False, **settings)
    assert template.told() == (NOT_LOADED, 15)
    template.tell(SERVE)
    assert template.told() == (READY, 5)
    worker = fork(template)
    assert worker.request(app).error == 500


def test_a_template_loads_again_when_a_module_has_changed(start, script, fork, tmp_path):
    module = tmp_path / "changing_module.py"
    module.write_text("TEXT = 'old'")
    app = script(f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import changing_module

        def application(environ, start_response):
            start_response("200 OK", [])
            return [changing_module.TEXT.encode()]
    """)
    template = start_template(start, app, watches_modules=True)
    assert fork(template).request(app).body == b"old"
    os.utime(module, (1, 1))
    refused = Worker(template, tmp_path, template.settings)
    assert template.told() == (REPLACE, SCRIPT_CHANGED)
    refused.close()


def test_a_template_that_is_given_its_scripts_later(start, app, log, fork):
    template = start(is_template=True)
    assert not log.exists()
    template.settings.application_group = b"later"
    template.settings.preload = ((os.fsencode(app), b"later"),)
    template.control.send(template.settings.encode())
    assert template.told() == (READY, 5)
    assert log.read_text() == f"loaded {template.process.pid}\n"
    worker = fork(template)
    question = "__import__('mod_wsgi').application_group"
    assert ask(worker, app, question) == "later"


def test_a_script_that_fails_is_loaded_again_by_each_worker(start, script, fork):
    app = script("1 / 0")
    template = start_template(start, app)
    template.log("ZeroDivisionError")
    worker = fork(template)
    assert worker.request(app).error == 500


def test_threads_of_the_application_are_warned_of(start, script, fork):
    app = script("""
        import threading
        go_on = threading.Event()
        threading.Thread(target=go_on.wait, name="refresher", daemon=True).start()

        def application(environ, start_response):
            start_response("200 OK", [])
            return [repr([thread.name for thread in threading.enumerate()]).encode()]
    """)
    template = start_template(start, app)
    text = template.log("os.register_at_fork")
    assert "\x014WSGI0370: " in text and ", 1 of them (refresher)" in text
    worker = fork(template)
    assert "refresher" not in worker.request(app).body.decode()


def test_faulthandler_works_in_a_worker(start, app, fork):
    worker = fork(start_template(start, app))
    with worker.connect() as connection:
        connection.send_request(app, environ={"QUERY_STRING": "__import__('ctypes').string_at(0)"})
        assert worker.wait() == -signal.SIGSEGV
    text = worker.log()
    assert "Fatal Python error: Segmentation fault" in text and "in application" in text


def test_handlers_of_signals_are_ignored_in_a_worker_as_well(start, app, fork):
    worker = fork(start_template(start, app))
    handler = "__import__('signal').signal(15, print)"
    response = worker.request(app, environ={"QUERY_STRING": f"({handler}, 1)[1]"})
    assert "registration of a handler for SIGTERM was ignored" in response.log()
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.told() == (LEAVING, SHUTDOWN_SIGNAL)
    assert worker.wait() == 0


def test_signal_handlers_of_the_application_run_in_a_worker(start, script, log, fork):
    app = script(f"""
        import os, signal

        def handle(number, frame):
            with open({str(log)!r}, "a") as file:
                file.write("%d\\n" % os.getpid())

        signal.signal(signal.SIGALRM, handle)

        def application(environ, start_response):
            start_response("200 OK", [])
            return [b"%d" % os.getpid()]
    """)
    template = start_template(start, app, restrict_signal=False)
    first, second = fork(template), fork(template)
    for worker in (first, second):
        os.kill(worker.pid, signal.SIGALRM)
        wait_for(lambda worker=worker: log.exists() and f"{worker.pid}\n" in log.read_text())
    assert log.read_text() == f"{first.pid}\n{second.pid}\n"
    assert int(second.request(app).body) == second.pid


def test_children_of_the_application_work_in_a_worker(start, app, fork):
    worker = fork(start_template(start, app))
    question = "__import__('subprocess').check_output(['echo', 'child'])"
    assert ask(worker, app, question) == b"child\n"
    # The child of a worker is one that the application forked, and the worker is not.
    question = "os.waitpid(os.fork() or os._exit(7), 0)[1]"
    assert os.waitstatus_to_exitcode(ask(worker, app, question)) == 7
    question = "__import__('multiprocessing').get_context('fork').Pool(2).map(abs, [-1, 2])"
    assert ask(worker, app, question) == [1, 2]


def test_display_names_tell_a_template_from_its_workers(start, app, fork):
    template = start_template(start, app, display_name=b"(wsgi:test)")
    worker = fork(template)

    def shown(pid):
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ").partition(b"\0")[0]

    assert shown(template.process.pid).rstrip() == b"(wsgi:test) template"
    assert shown(worker.pid).rstrip() == b"(wsgi:test)"


def test_a_fork_that_the_system_refuses_is_told(start, app, fork, tmp_path):
    # Not even the descriptors find room.
    template = start_template(start, app)
    limits = resource.prlimit(template.process.pid, resource.RLIMIT_NOFILE)
    most = max(descriptors(template.process.pid)) + 1
    resource.prlimit(template.process.pid, resource.RLIMIT_NOFILE, (most, limits[1]))
    refused = Worker(template, tmp_path, template.settings)
    assert template.told() == (FORK_FAILED, errno.EMFILE)
    assert refused.never_was()
    refused.close()
    resource.prlimit(template.process.pid, resource.RLIMIT_NOFILE, limits)
    worker = fork(template)
    assert ask(worker, app, "1 + 1") == 2


def test_a_template_leaves_when_its_supervisor_is_gone(start, app, fork):
    template = start_template(start, app)
    worker = fork(template)
    template.control.close()
    assert template.wait() == 0
    worker.control.close()
    assert worker.wait() == 0


def test_exit_functions_run_in_workers_and_not_in_the_template(start, script, log, fork):
    app = script(f"""
        import atexit, os

        @atexit.register
        def leave():
            with open({str(log)!r}, "a") as file:
                file.write("%d\\n" % os.getpid())

        def application(environ, start_response):
            start_response("200 OK", [])
            return []
    """)
    template = start_template(start, app)
    worker = fork(template)
    template.tell(STOP, 5)
    assert template.wait() == 0
    assert not log.exists()
    worker.tell(STOP, 5)
    assert worker.wait() == 0
    assert log.read_text() == f"{worker.pid}\n"
