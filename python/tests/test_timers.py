# SPDX-License-Identifier: Apache-2.0
"""Timers and signals of a daemon process, as its supervisor sees them."""

import os
import re
import select
import signal
import struct
import time
from pathlib import Path

import pytest
from daemon import DEADLINE, DRAIN, LEAVING, NOT_LOADED, READY, REPLACE, SERVE, STOP, wait_for

SHUTDOWN_SIGNAL, GRACEFUL_SIGNAL, MAXIMUM_REQUESTS, SCRIPT_CHANGED, SUPERVISOR = 1, 2, 3, 4, 5
EVICTION_SIGNAL, RESTART_INTERVAL, INACTIVITY, REQUEST, STARTUP, DEADLOCK = 6, 7, 8, 9, 10, 11
CPU_TIME, SERVICE_ENDED = 12, 13

# Tells the reason for which its process leaves, and runs for as long as it is told to.
SCRIPT = """
    import ctypes
    import os
    import time

    import mod_wsgi

    with open(__file__ + ".pid", "w") as file:
        file.write(str(os.getpid()))


    @mod_wsgi.subscribe_shutdown
    def stopping(event, **payload):
        print(event, payload["shutdown_reason"])


    @mod_wsgi.subscribe_signals
    def signalled(event, **payload):
        print(event, payload["signame"], payload["signum"])


    def answer(start_response, text):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [text.encode()]


    def compute(seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass


    def application(environ, start_response):
        path = environ["PATH_INFO"]
        what, _, seconds = path[1:].partition("/")
        if what == "compute":
            compute(float(seconds))
        elif what == "sleep":
            time.sleep(float(seconds))
        elif what == "gil":
            ctypes.PyDLL(None).sleep(int(seconds))
        elif what == "begun":
            def body():
                yield b"begun"
                compute(float(seconds))
            start_response("200 OK", [("Content-Type", "text/plain")])
            return body()
        elif what == "caught":
            try:
                compute(float(seconds))
            except mod_wsgi.RequestTimeout:
                return answer(start_response, "caught")
        elif what == "stubborn":
            end = time.monotonic() + float(seconds)
            while time.monotonic() < end:
                try:
                    compute(end - time.monotonic())
                except BaseException:
                    pass
        elif what == "interrupt":
            os.kill(os.getpid(), int(seconds))
        return answer(start_response, "whole")
"""


@pytest.fixture
def app(script):
    return script(SCRIPT)


def described(daemon, connection, app, path, slot=0, **options) -> None:
    """Sends a request as a child does that has written into the shared memory what it is."""
    words = f"GET {path} HTTP/1.1".encode()
    at = (daemon.region.slots_at + slot * 32) * 4
    struct.pack_into("<IIIII", daemon.region.memory, at, 0, 0, 1, len(words), 0)
    daemon.region.memory[at + 20 : at + 20 + len(words)] = words
    environ = {"PATH_INFO": path, "REQUEST_URI": f"{path}?secret=1"}
    connection.send_request(app, environ=environ, slot=slot, mark=1, **options)


def told(daemon, patience: float = DEADLINE):
    """The next message of the daemon, or None when none comes."""
    daemon.control.settimeout(patience)
    try:
        return daemon.told()
    except TimeoutError:
        return None
    finally:
        daemon.control.settimeout(DEADLINE)


# request-timeout, interrupt-timeout


def test_request_timeout_is_raised_in_the_request(start, app):
    daemon = start(threads=1, request_timeout=1, interrupt_timeout=20)
    with daemon.connect() as connection:
        begin = time.monotonic()
        described(daemon, connection, app, "/compute/25")
        response = connection.response()
        assert 1 <= time.monotonic() - begin < 15
        assert (response.status, response.body, response.complete) == (504, b"", True)
        assert "ended by RequestTimeout" in response.log()
        # The process goes on, with the same connection and thread.
        assert connection.request(app, environ={"PATH_INFO": "/"}).body == b"whole"
    log = daemon.log("stack of")
    assert re.search(r"WSGI0340: 'GET /compute/25 HTTP/1.1' has run for 1\.\d s", log)
    assert "in compute" in daemon.log("in compute")
    assert told(daemon, 0.1) is None


def test_request_timeout_after_output_truncates(start, app):
    daemon = start(threads=1, request_timeout=1, interrupt_timeout=20)
    with daemon.connect() as connection:
        described(daemon, connection, app, "/begun/25")
        response = connection.response()
        assert (response.status, response.body, response.complete) == (200, b"begun", False)


def test_request_timeout_can_be_caught(start, app):
    daemon = start(threads=1, request_timeout=1, interrupt_timeout=20)
    with daemon.connect() as connection:
        described(daemon, connection, app, "/caught/25")
        response = connection.response()
        assert (response.status, response.body) == (200, b"caught")


@pytest.mark.no_python
@pytest.mark.parametrize("event", ["request_started", "response_started"])
def test_request_timeout_is_not_lost_in_a_subscriber(start, script, event):
    app = script(f"""
        import time
        import mod_wsgi

        @mod_wsgi.subscribe_events
        def event(name, **payload):
            end = time.monotonic() + 25 * (name == "{event}")
            while time.monotonic() < end:
                pass

        def application(environ, start_response):
            start_response("200 OK", [])
            return [b"whole"]
    """)
    daemon = start(threads=1, request_timeout=1, interrupt_timeout=20)
    with daemon.connect() as connection:
        described(daemon, connection, app, "/")
        assert connection.response().status == 504


def test_what_is_raised_too_late_does_not_hit_the_next_request(start, script):
    fast = script("""
        def application(environ, start_response):
            start_response("200 OK", [])
            for i in range(100000):
                pass
            return [b"fast"]
    """)
    sleeper = script("""
        import ctypes
        sleep = ctypes.CDLL(None).usleep

        def application(environ, start_response):
            start_response("200 OK", [])
            return iter(lambda: sleep(1500000) and b"" or b"", b"")
    """)
    daemon = start(threads=1, request_timeout=1, interrupt_timeout=20)
    with daemon.connect() as connection:
        connection.request(sleeper)
        for _ in range(3):
            response = connection.request(fast)
            assert (response.status, response.body) == (200, b"fast"), response.log()


@pytest.mark.no_python
def test_request_timeout_is_scaled_by_threads(start, app):
    daemon = start(threads=8, request_timeout=1, interrupt_timeout=20)
    with daemon.connect() as connection:
        begin = time.monotonic()
        described(daemon, connection, app, "/compute/28")
        assert connection.response().status == 504
        assert time.monotonic() - begin > 3.07


def test_a_request_that_does_not_end_has_its_process_replaced(start, app):
    daemon = start(threads=2, request_timeout=1, interrupt_timeout=1, shutdown_timeout=1)
    with daemon.connect() as connection, daemon.connect() as other:
        described(daemon, connection, app, "/stubborn/60")
        assert told(daemon) == (REPLACE, REQUEST)
        # Others are served until the replacement is there.
        assert other.request(app, environ={"PATH_INFO": "/"}).body == b"whole"
        log = daemon.log("the process is to be replaced")
        assert "RequestTimeout did not end it in 1." in log
        # It does not hold the drain open, which has no end here.
        daemon.tell(DRAIN, 0)
        daemon.log("process_stopping request_timeout")
        assert daemon.wait() == 1
        with pytest.raises((EOFError, ConnectionResetError)):
            connection.response()
    assert "1 running: 'GET /stubborn/60 HTTP/1.1' for" in daemon.log()


@pytest.mark.no_python
def test_a_process_in_which_every_thread_is_stuck_leaves(start, app):
    daemon = start(threads=1, request_timeout=1, shutdown_timeout=1)
    with daemon.connect() as connection:
        described(daemon, connection, app, "/sleep/60")
        assert told(daemon) == (LEAVING, REQUEST)
        assert daemon.wait() == 1
    assert "in application" in daemon.log()


def test_a_held_gil_does_not_stop_the_other_timers(start, app):
    daemon = start(
        threads=1, request_timeout=1, interrupt_timeout=2, deadlock_timeout=4, shutdown_timeout=30
    )
    with daemon.connect() as connection:
        begin = time.monotonic()
        described(daemon, connection, app, "/gil/9")
        assert told(daemon) == (LEAVING, REQUEST)
        assert time.monotonic() - begin < 9
        log = daemon.log("WSGI0342")
        assert time.monotonic() - begin < 9, log
        # Both have said so before the GIL was given back.
        connection.response()


def catches(daemon, number: int) -> bool:
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    caught = int(re.search(r"^SigCgt:\s*(\w+)", status, re.M).group(1), 16)
    return bool(caught >> number - 1 & 1)


def test_deadlock_timeout(start, app):
    daemon = start(threads=2, deadlock_timeout=1, shutdown_timeout=1)
    # A GIL that is never to be had cannot be prepared for.
    wait_for(lambda: catches(daemon, signal.SIGRTMAX))
    with daemon.connect() as connection:
        described(daemon, connection, app, "/gil/60")
        assert told(daemon) == (LEAVING, DEADLOCK)
        assert daemon.wait() == 1
    log = daemon.log()
    assert re.search(r"WSGI0342: the GIL of the main interpreter was not to be had for \d", log)
    assert "'GET /gil/60 HTTP/1.1'" in log
    assert re.search(r'File ".*app0.wsgi", line \d+ in application', log), log


def test_deadlock_timeout_leaves_a_busy_process_alone(start, app):
    daemon = start(threads=2, deadlock_timeout=1)
    with daemon.connect() as connection:
        described(daemon, connection, app, "/compute/4")
        assert connection.response().body == b"whole"
    assert told(daemon, 0.1) is None


def test_deadlock_timeout_watches_a_gil_of_its_own(start, script):
    app = script("""
        import re

        def application(environ, start_response):
            start_response("200 OK", [])
            if environ["PATH_INFO"] == "/":
                return [b"plain"]
            # It is at its end in some minutes, and gives no GIL away before.
            return [str(re.match("(a+)+$", "a" * 34 + "b")).encode()]
    """)
    daemon = start(
        threads=2, deadlock_timeout=1, shutdown_timeout=1, interpreters=True, own_gil=True
    )
    with daemon.connect() as connection:
        response = connection.request(app, group="sub", environ={"PATH_INFO": "/"})
        if "has a GIL of its own" not in daemon.log(" own"):
            pytest.skip("interpreters have no GIL of their own before Python 3.12")
        assert response.body == b"plain"
        described(daemon, connection, app, "/match", group="sub")
        assert told(daemon) == (LEAVING, DEADLOCK)
        assert daemon.wait() == 1
    log = daemon.log()
    assert "the GIL of interpreter 'sub'" in log
    # faulthandler is not to be had in such an interpreter before Python 3.14.
    stack = r'File ".*app0.wsgi", line \d+ in application|where its threads are is not known'
    assert re.search(stack, log), log


# Other timers


@pytest.mark.no_python
def test_restart_interval_needs_no_other_timer(start, app):
    daemon = start(restart_interval=1)
    assert told(daemon) == (REPLACE, RESTART_INTERVAL)
    # It serves until its replacement is there.
    assert daemon.request(app, environ={"PATH_INFO": "/"}).body == b"whole"
    daemon.tell(DRAIN, 15)
    assert daemon.wait() == 0
    assert "process_stopping restart_interval" in daemon.log()


@pytest.mark.no_python
def test_inactivity_timeout_begins_with_the_first_request(start, app):
    daemon = start(inactivity_timeout=1)
    assert told(daemon, 2.5) is None
    with daemon.connect() as connection:
        described(daemon, connection, app, "/sleep/2.5")
        assert connection.response().body == b"whole"
        assert told(daemon) == (LEAVING, INACTIVITY)
        assert connection.at_end()
    assert daemon.wait() == 0
    assert "process_stopping inactivity_timeout" in daemon.log()


@pytest.mark.no_python
def test_startup_timeout_for_the_first_request(start, script):
    slow = script("import time\ntime.sleep(60)\n")
    daemon = start(startup_timeout=1, shutdown_timeout=1)
    assert told(daemon, 1.5) is None
    with daemon.connect() as connection:
        connection.send_request(slow)
        assert told(daemon) == (LEAVING, STARTUP)
        assert daemon.wait() == 1
    assert "WSGI0341: the WSGI script was not loaded within 1.0 s" in daemon.log()


@pytest.mark.no_python
def test_startup_timeout_before_the_process_is_ready(start, script):
    slow = script("import time\ntime.sleep(60)\n")
    daemon = start(
        startup_timeout=1, wait=False, preload=((os.fsencode(slow), b""),), application_group=b""
    )
    assert daemon.wait() == 1
    assert "WSGI0341" in daemon.log()
    assert daemon.told() is None


@pytest.mark.no_python
def test_startup_timeout_ends_with_the_first_script(start, app):
    daemon = start(startup_timeout=1)
    assert daemon.request(app, environ={"PATH_INFO": "/"}).body == b"whole"
    assert daemon.request(app, environ={"PATH_INFO": "/sleep/2.5"}).body == b"whole"
    assert told(daemon, 0.1) is None


@pytest.mark.no_python
def test_the_end_of_a_drain_names_what_still_runs(start, app):
    daemon = start(threads=2, shutdown_timeout=1)
    with daemon.connect() as connection:
        described(daemon, connection, app, "/compute/60")
        wait_for_request(daemon)
        daemon.tell(DRAIN, 1)
        assert daemon.wait() == 1
    log = daemon.log()
    assert "WSGI0344" in log
    assert "process_stopping shutdown_signal" in log
    assert "in compute" in log
    assert "1 running: 'GET /compute/60 HTTP/1.1'" in log


def wait_for_request(daemon, slot=0):
    limit = time.monotonic() + DEADLINE
    while daemon.region.mark(slot) != 1:
        assert time.monotonic() < limit
        select.select([], [], [], 0.01)


@pytest.mark.no_python
def test_a_drain_without_end_has_one_without_supervisor(start, app):
    daemon = start(threads=2, shutdown_timeout=1)
    with daemon.connect() as connection:
        described(daemon, connection, app, "/sleep/60")
        wait_for_request(daemon)
        daemon.tell(DRAIN, 0)
        # The end of the listener shows that it has heard that.
        wait_for(lambda: not accepts(daemon))
        daemon.control.close()
        assert daemon.wait() == 1


def accepts(daemon) -> bool:
    try:
        daemon.connect().close()
    except ConnectionRefusedError:
        return False
    return True


# WSGISlowRequests


def test_the_signals_of_an_application_stay_its_own(start, script):
    app = script("""
        import signal
        import time

        def application(environ, start_response):
            time.sleep(1)
            start_response("200 OK", [])
            return [b"whole"]

        signal.signal(signal.SIGRTMAX, lambda number, frame: print("handled"))
    """)
    daemon = start(
        slow_requests=100_000,
        restrict_signal=False,
        application_group=b"",
        preload=((os.fsencode(app), b""),),
    )
    assert daemon.request(app).body == b"whole"
    daemon.log("in application")
    daemon.signal(signal.SIGRTMAX)
    daemon.log("handled")


@pytest.mark.no_python
def test_a_tiny_limit_keeps_nobody_busy(start, app):
    daemon = start(slow_requests=1)
    assert daemon.request(app, environ={"PATH_INFO": "/"}).body == b"whole"

    def wakings() -> int:
        for thread in Path(f"/proc/{daemon.process.pid}/task").iterdir():
            status = (thread / "status").read_text()
            if "wsgi-monitor" in status:
                return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status, re.M).group(1))
        raise AssertionError("there is no monitor")

    before = wakings()
    assert told(daemon, 1) is None
    assert wakings() - before < 1000


def test_slow_requests_are_logged_twice(start, app):
    daemon = start(slow_requests=500_000)
    with daemon.connect() as connection:
        described(daemon, connection, app, "/compute/2")
        response = connection.response()
        assert response.body == b"whole"
        quick = connection.request(app, environ={"PATH_INFO": "/"})
    log = daemon.log("in compute")
    assert re.search(r"WSGI0343: slow request: 'GET /compute/2 HTTP/1.1' has run for \d\.\d s", log)
    assert log.count("has run for") == 1
    slow = [text for _, text in response.logs if "WSGI0343" in text]
    assert len(slow) == 1
    assert re.search(
        r"'GET /compute/2' took .* s in the queue, 2\.\d+ s in the application", slow[0]
    )
    assert "WSGI0343" not in quick.log()


# Signals


@pytest.mark.no_python
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_told_to_stop_finishes_its_requests(start, app, number):
    daemon = start(threads=2)
    with daemon.connect() as connection:
        described(daemon, connection, app, "/sleep/1")
        wait_for_request(daemon)
        daemon.signal(number)
        assert told(daemon) == (LEAVING, SHUTDOWN_SIGNAL)
        assert connection.response().body == b"whole"
    assert daemon.wait() == 0
    assert "process_stopping shutdown_signal" in daemon.log()


def test_an_application_stops_its_process(start, app):
    daemon = start(threads=2)
    with daemon.connect() as connection:
        described(daemon, connection, app, f"/interrupt/{int(signal.SIGINT)}")
        assert connection.response().body == b"whole"
    assert told(daemon) == (LEAVING, SHUTDOWN_SIGNAL)
    assert daemon.wait() == 0


@pytest.mark.no_python
@pytest.mark.parametrize(
    ("number", "eviction", "reason", "name"),
    [
        (signal.SIGUSR1, 0, GRACEFUL_SIGNAL, "graceful_signal"),
        (signal.SIGUSR1, 3, EVICTION_SIGNAL, "eviction_signal"),
        (signal.SIGXCPU, 0, CPU_TIME, "cpu_time_limit"),
    ],
)
@pytest.mark.parametrize("graceful", [0, 15])
def test_a_graceful_signal_asks_for_a_replacement(
    start, app, number, eviction, reason, name, graceful
):
    daemon = start(threads=2, graceful_timeout=graceful, eviction_timeout=eviction)
    with daemon.connect() as connection:
        assert connection.request(app, environ={"PATH_INFO": "/"}).body == b"whole"
        described(daemon, connection, app, "/sleep/1")
        wait_for_request(daemon)
        daemon.signal(number)
        daemon.signal(number)
        assert told(daemon) == (REPLACE, reason)
        with daemon.connect() as other:
            assert other.request(app, environ={"PATH_INFO": "/"}).body == b"whole"
        daemon.tell(DRAIN, graceful) if graceful else daemon.tell(STOP, 5)
        assert connection.response().body == b"whole"
    assert daemon.wait() == 0
    assert f"process_stopping {name}" in daemon.log()
    assert daemon.told() is None


@pytest.mark.no_python
def test_eviction_timeout_is_the_time_of_a_drain_after_sigusr1(start, app):
    daemon = start(threads=2, graceful_timeout=60, eviction_timeout=1, shutdown_timeout=1)
    with daemon.connect() as connection:
        described(daemon, connection, app, "/sleep/60")
        wait_for_request(daemon)
        daemon.signal(signal.SIGUSR1)
        assert told(daemon) == (REPLACE, EVICTION_SIGNAL)
        daemon.tell(DRAIN, 60)
        assert daemon.wait() == 1


@pytest.mark.parametrize("interpreters", [False, True])
def test_other_signals_are_told_to_applications(start, app, interpreters):
    daemon = start(interpreters=interpreters)
    assert daemon.request(app, group="", environ={"PATH_INFO": "/"}).body == b"whole"
    assert daemon.request(app, group="b", environ={"PATH_INFO": "/"}).body == b"whole"
    count = 1 + interpreters
    for number in (signal.SIGHUP, signal.SIGUSR2):
        daemon.signal(number)
        text = f"process_signal {number.name} {int(number)}"
        daemon.log(text)
    daemon.tell(STOP, 5)
    assert daemon.wait() == 0
    assert daemon.log().count("process_signal SIGUSR2") == count
    assert daemon.log().count("process_stopping shutdown_signal") == count


@pytest.mark.no_python
def test_a_callback_of_a_signal_holds_nobody_up(start, script):
    app = script("""
        import time
        import mod_wsgi

        @mod_wsgi.subscribe_signals
        def signalled(event, **payload):
            print("begins")
            time.sleep(60)

        def application(environ, start_response):
            start_response("200 OK", [])
            return [b"answer"]
    """)
    daemon = start(shutdown_timeout=1)
    assert daemon.request(app).body == b"answer"
    daemon.signal(signal.SIGHUP)
    daemon.log("begins")
    assert daemon.request(app).body == b"answer"
    daemon.tell(STOP, 1)
    assert daemon.wait() == 1
    assert "exit functions" in daemon.log()


def test_signals_while_a_process_waits_for_a_word(start, script):
    failing = script("""
        import signal
        signal.signal(signal.SIGALRM, lambda number, frame: print("handled"))
        signal.raise_signal(signal.SIGALRM)
        raise ValueError("not loaded")
    """)
    daemon = start(
        wait=False,
        keeps_old_code=True,
        restrict_signal=False,
        application_group=b"",
        preload=((os.fsencode(failing), b""),),
    )
    assert daemon.told() == (NOT_LOADED, 15)
    daemon.signal(signal.SIGHUP)
    daemon.signal(signal.SIGALRM)
    daemon.log("handled")
    daemon.tell(SERVE)
    assert daemon.told() == (READY, 5)
    daemon.tell(STOP, 5)
    assert daemon.wait() == 0


# threads=0


def test_metrics_of_a_service(start, script):
    service = script("""
        import mod_wsgi
        mod_wsgi.start_recording_metrics()
        print("used", mod_wsgi.request_metrics()["capacity_utilization"])
    """)
    daemon = start(threads=0, preload=((os.fsencode(service), b""),), application_group=b"")
    assert "used 0.0" in daemon.log()


def test_a_service_script_is_a_program(start, script):
    service = script("""
        import atexit
        import signal
        import sys
        import threading

        print(threading.current_thread() is threading.main_thread())
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        print(repr(signal.getsignal(signal.SIGALRM)))
        atexit.register(print, "at exit")

        try:
            print("waits")
            threading.Event().wait()
        except SystemExit as error:
            print("told to leave", error.code)
            sys.exit(3)
    """)
    daemon = start(threads=0, preload=((os.fsencode(service), b""),), application_group=b"")
    log = daemon.log("waits")
    assert "3True\n" in log
    assert "Handlers.SIG_IGN" in log
    daemon.tell(DRAIN, 15)
    assert told(daemon) == (LEAVING, SERVICE_ENDED)
    assert daemon.wait() == 0
    log = daemon.log()
    assert "told to leave 0" in log
    assert "at exit" in log
    assert "WSGI0" not in log


def test_a_service_script_that_waits_notices_a_signal(start, script):
    service = script("""
        import signal
        import threading

        # Another thread gets it, and nothing ends the wait of this one.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        print("waits")
        threading.Event().wait()
    """)
    daemon = start(threads=0, preload=((os.fsencode(service), b""),), application_group=b"")
    daemon.log("waits")
    daemon.tell(DRAIN, 15)
    assert told(daemon) == (LEAVING, SERVICE_ENDED)
    assert daemon.wait() == 0


def test_a_service_script_that_returns_ends_its_process(start, script):
    service = script("""
        import threading, time
        threading.Thread(target=lambda: (time.sleep(1), print("thread is over"))).start()
        print("returns")
    """)
    daemon = start(
        threads=0, startup_timeout=1, preload=((os.fsencode(service), b""),), application_group=b""
    )
    daemon.log("returns")
    assert told(daemon) == (LEAVING, SERVICE_ENDED)
    assert "thread is over" in daemon.log()
    assert daemon.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_a_service_script_that_computes(start, script, number):
    service = script("""
        print("begins", flush=True)
        while True:
            pass
    """)
    daemon = start(threads=0, preload=((os.fsencode(service), b""),), application_group=b"")
    daemon.log("begins")
    daemon.signal(number)
    assert told(daemon) == (LEAVING, SERVICE_ENDED)
    assert daemon.wait() == 0


# Threads


@pytest.mark.no_python
def test_stack_size(start, script):
    app = script("""
        def application(environ, start_response):
            start_response("200 OK", [])
            sizes = []
            for line in open("/proc/self/maps"):
                first, last = (int(word, 16) for word in line.split()[0].split("-"))
                sizes.append(last - first)
            return [str(sizes.count(3 << 20)).encode()]
    """)
    daemon = start(threads=5, stack_size=3 << 20)
    assert int(daemon.request(app).body) >= 1


@pytest.mark.no_python
def test_threads_that_can_not_be_had(start):
    daemon = start(threads=2, stack_size=1 << 60, wait=False)
    assert daemon.wait() == 1
    assert "WSGI0022" in daemon.log()
