# SPDX-License-Identifier: Apache-2.0
"""Signals to a daemon process, and processes that have the signals to themselves (threads=0)."""

import os
import signal

import pytest

from harness.background import Background, HeldRequest
from harness.under_test import OURS
from harness.waiting import wait_until

MOUNTS = """
WSGIProcessGroup main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /timed ${APPS}/takes-time/app.wsgi
WSGIScriptAlias /hold ${APPS}/hold/app.wsgi
WSGIScriptAlias /subscribes ${APPS}/subscribes/app.wsgi
"""


@pytest.fixture
def start(server_factory):
    def start(options: str = "threads=3", **more):
        server = server_factory(f"WSGIDaemonProcess main {options}\n{MOUNTS}", **more)
        # The application tells why each of its processes leaves, the last at the end of the test.
        server.tolerate_log("process_stopping")
        return server

    return start


def pid(server, path: str = "/timed") -> int:
    response = server.get(path)
    assert response.status == 200, response.text
    return int(response.text)


def process(server, number: int):
    (found,) = [process for process in server.daemon_processes if process.pid == number]
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_that_stop(start, tmp_path_for_server, number):
    server = start()
    before = pid(server)
    held = HeldRequest(server, tmp_path_for_server)
    assert held.pid == before
    os.kill(process(server, before).pid, number)
    server.wait_log("process_stopping shutdown_signal")
    # Nobody waits for the old process, and what it runs is not lost.
    if OURS:
        assert pid(server) != before
    held.release()
    assert (held.result().status, int(held.result().text)) == (200, before)
    assert pid(server) != before


def test_application_restarts_its_own_process(start):
    server = start()
    before = pid(server)
    assert pid(server, f"/timed/signal/{int(signal.SIGINT)}") == before
    # Which of its threads the system gives the signal to, and when, is not ours to say.
    server.wait_log("process_stopping shutdown_signal")
    assert pid(server) != before


@pytest.mark.parametrize(
    ("number", "options", "reason"),
    [
        (signal.SIGUSR1, "", "graceful_signal"),
        (signal.SIGUSR1, "eviction-timeout=20", "eviction_signal"),
        (signal.SIGUSR1, "eviction-timeout=20 graceful-timeout=0", "eviction_signal"),
        (signal.SIGXCPU, "", "cpu_time_limit"),
    ],
)
def test_graceful_signals(start, tmp_path_for_server, number, options, reason):
    server = start(f"threads=3 {options}")
    before = pid(server)
    held = HeldRequest(server, tmp_path_for_server)
    assert held.pid == before
    os.kill(process(server, before).pid, number)
    if OURS:
        wait_until(lambda: pid(server) != before, "the replacement to take over")
    else:
        server.wait_log("[Gg]raceful|CPU|[Ee]viction")
        assert pid(server) == before
    held.release()
    assert (held.result().status, int(held.result().text)) == (200, before)
    server.wait_log(f"process_stopping {reason}")
    assert pid(server) != before


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGXCPU])
@pytest.mark.ours_only("mod_wsgi waits without end, or hangs")
def test_graceful_signals_without_time(start, tmp_path_for_server, number):
    server = start("threads=2 graceful-timeout=0 eviction-timeout=0 shutdown-timeout=1")
    before = pid(server)
    started = tmp_path_for_server / "started"
    stuck = Background(lambda: server.get(f"/timed/sleep/60?{started}"))
    wait_until(started.exists, "the request to begin")
    os.kill(process(server, before).pid, number)
    wait_until(lambda: pid(server) != before, "the replacement to take over")
    assert stuck.result().status == 502
    server.expect_log("WSGI0309")
    server.expect_log("WSGI0146")


def test_other_signals_are_for_subscribers(start):
    server = start()
    before = pid(server, "/subscribes")
    for number in (signal.SIGHUP, signal.SIGUSR2):
        os.kill(process(server, before).pid, number)
        text = f"process_signal {number.name} {int(number)}"
        server.wait_log(text)
        server.expect_log(text, count=1)
    assert pid(server, "/subscribes") == before


# threads=0


SERVICE = """
WSGIDaemonProcess service threads=0
WSGIImportScript ${APPS}/service/app.wsgi process-group=service application-group=%{GLOBAL}
"""


def test_service_script(server_factory):
    server = server_factory(SERVICE)
    server.wait_log("service: main thread True, handler kept True")
    server.expect_log("service: main thread True, handler kept True")
    if OURS:
        wait_until(lambda: len(server.daemon_processes) == 1, "the process")
    (service,) = server.daemon_processes
    os.kill(service.pid, signal.SIGTERM)
    server.wait_log("service: SystemExit")
    server.expect_log("service: SystemExit")
    server.expect_log("service: at exit")
    wait_until(
        lambda: [found.pid for found in server.daemon_processes] not in ([], [service.pid]),
        "another process",
    )
    wait_until(
        lambda: len(server.find_log("service: main thread True")) == 2, "the script to run again"
    )


@pytest.mark.ours_only("mod_wsgi starts it again and again without a pause")
def test_service_script_that_returns_is_run_again_with_pauses(server_factory):
    server = server_factory(SERVICE, start=False)
    server.write("apps/service/app.wsgi", "print('service: returns')\n")
    server.start()
    wait_until(lambda: len(server.find_log("service: returns")) >= 4, "several runs")
    server.expect_log("service: returns")
    server.wait_log("pause")


ENDS_ITSELF = """
import os
import signal

os.kill(os.getpid(), signal.SIGTERM)


def application(environ, start_response):
    start_response("200 OK", [])
    return []
"""


@pytest.mark.ours_only("mod_wsgi starts the next one at once, for ever")
@pytest.mark.parametrize("preload", ["on", "off"])
def test_process_that_ends_itself_at_once_is_started_again_after_pauses(server_factory, preload):
    server = server_factory(start=False)
    server.write("apps/ends.wsgi", ENDS_ITSELF)
    server.configure(f"""
WSGIDaemonProcess main preload={preload}
WSGIScriptAlias / ${{ROOT}}/apps/ends.wsgi process-group=main application-group=%{{GLOBAL}}
""")
    server.start()
    records = wait_until(
        lambda: (found := server.find_log("WSGI0355"))[1:] and found, "a pause, and another one"
    )
    pauses = [record.message.rpartition("after a pause of ")[2] for record in records]
    assert pauses[:2] == ["0.5 s", "1.0 s"]
    assert "(shutdown_signal)" in records[0].message
    server.tolerate_log("WSGI0355|WSGI030[379]|WSGI0308")
