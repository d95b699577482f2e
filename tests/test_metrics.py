# SPDX-License-Identifier: Apache-2.0
"""mod_wsgi.process_metrics() and mod_wsgi.request_metrics(), for monitoring from inside."""

import json
import time
from pathlib import Path

import pytest

from harness.plugin import differs
from harness.server import Server
from harness.under_test import OURS
from harness.waiting import wait_until

OPTIONS = "body-spool=0" if OURS else ""
"""Bodies are read by the application while they come."""

CONFIG = f"""
WSGIDaemonProcess main threads=4 {OPTIONS}
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias /embedded ${{APPS}}/run-code/app.wsgi
WSGIScriptAlias /daemon ${{APPS}}/run-code/app.wsgi process-group=main
"""


@pytest.fixture
def server(server_factory, mode, mpm) -> Server:
    if mpm == "prefork" and mode == "embedded":
        pytest.skip("each request may have another process")
    return server_factory(CONFIG)


def answers_of(server: Server) -> Path:
    """A folder in which applications may write."""
    path = server.root / "answers"
    path.mkdir(exist_ok=True)
    path.chmod(0o777)
    return path


def run(server: Server, mode: str, code: str, status: int = 200) -> None:
    assert server.post(f"/{mode}", code.encode()).status == status


def ask(server: Server, mode: str, function: str):
    """Through a file: the log cuts lines."""
    path = answers_of(server) / "metrics.json"
    code = f"""
import json, mod_wsgi
with open({str(path)!r}, "w") as file:
    json.dump(mod_wsgi.{function}(), file)
"""
    run(server, mode, code)
    return json.loads(path.read_text())


def test_nothing_before_recording(server, mode):
    for function in ("process_metrics", "request_metrics", "server_metrics"):
        assert ask(server, mode, function) is None


def test_process_metrics(server, mode):
    ask(server, mode, "start_recording_metrics")
    begun = time.time()
    for _ in range(10):
        run(server, mode, "import time\ntime.sleep(0.02)")
    metrics = ask(server, mode, "process_metrics")
    processes = server.daemon_processes if mode == "daemon" else server.httpd_children
    assert metrics["pid"] in [process.pid for process in processes]
    # The one that asks is running; the one that began may have been counted.
    assert metrics["request_count"] in (10, 11)
    assert metrics["active_requests"] == 1
    assert 0.2 <= metrics["request_busy_time"] <= time.time() - begun + 1
    # The kernel does not count both at the same moments.
    assert min(metrics["memory_rss"], metrics["memory_max_rss"]) > 1 << 20
    times = (metrics["cpu_user_time"], metrics["cpu_system_time"])
    assert metrics["cpu_time"] == pytest.approx(sum(times))
    assert begun - 120 < metrics["restart_time"] < begun + 1
    assert metrics["restart_time"] < metrics["current_time"]
    assert isinstance(metrics["running_time"], int)
    counts = [thread["request_count"] for thread in metrics["threads"]]
    assert 10 <= sum(counts) <= 12
    assert metrics["request_threads"] == len(counts) >= 1


STATUS = """
environ["wsgi.input"].read()
raise ValueError("METRICS as told")
"""


@pytest.mark.difference("start_time is that of the interval")
def test_request_metrics(server, mode):
    ask(server, mode, "start_recording_metrics")
    ask(server, mode, "request_metrics")
    for _ in range(5):
        run(server, mode, "import time\ntime.sleep(0.05)")
    run(server, mode, STATUS, 500)
    server.expect_traceback("ValueError: METRICS as told", count=1)
    metrics = ask(server, mode, "request_metrics")
    # With the one that has asked before.
    assert metrics["request_count"] == 7
    assert (metrics["status_2xx"], metrics["status_5xx"], metrics["status_4xx"]) == (6, 1, 0)
    period = metrics["sample_period"]
    assert metrics["request_throughput"] == pytest.approx(7 / period, rel=0.01)
    interval = metrics["stop_time"] - metrics["start_time"]
    assert interval == pytest.approx(differs(upstream=0, ours=period), abs=1e-3)
    assert metrics["application_time_max_us"] >= 50_000
    assert 0 < metrics["application_time_min_us"] <= metrics["application_time_max_us"]
    assert metrics["application_time"] >= 5 * 0.05 / 7
    assert metrics["request_time"] >= metrics["application_time"]
    assert sum(metrics["application_time_buckets"]) == 7
    # 50 ms are in the octave from 32 ms, or, on a slow machine, in a later one.
    assert sum(metrics["application_time_buckets"][22:]) >= 5
    for name in ("queue_time", "daemon_time"):
        assert (metrics[name] is None) == (mode == "embedded")
    assert len(metrics["server_time_buckets"]) == 65
    maximum = metrics["request_threads_maximum"]
    assert maximum == (4 if mode == "daemon" else 25)
    for name in ("completed", "buckets", "busy_time", "cpu_time", "max_duration"):
        assert len(metrics[f"request_threads_{name}"]) == maximum
    assert sum(metrics["request_threads_completed"]) == 7
    assert max(metrics["request_threads_max_duration"]) >= 0.05
    assert sum(metrics["request_threads_busy_time"]) >= 0.25
    assert 0.25 / period / maximum <= metrics["capacity_utilization"] <= 1
    assert metrics["output_bytes"] >= 6 * len("done")
    assert metrics["input_bytes"] > 0
    # Each call begins another interval.
    assert ask(server, mode, "request_metrics")["request_count"] == 1


def test_shape_of_waits(server, mode):
    ask(server, mode, "start_recording_metrics")
    ask(server, mode, "request_metrics")
    run(server, mode, "pass")
    metrics = ask(server, mode, "request_metrics")
    assert type(metrics["gil_wait_count"]) is int
    for name in ("gil_wait_time", "input_read_time", "output_write_time"):
        assert type(metrics[name]) is float
        shortest, longest = metrics[f"{name}_min_us"], metrics[f"{name}_max_us"]
        assert type(shortest) is type(longest) is int
        assert shortest <= longest
        assert len(metrics[f"{name}_buckets"]) == 65
        assert sum(metrics[f"{name}_buckets"]) in (1, 2)


PAUSE = 0.25


def send_slowly(server: Server, mode: str, code: str) -> None:
    """Has the application wait for a part of the body."""
    raw = server.raw()
    head = f"POST /{mode} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {len(code)}\r\n\r\n"
    raw.send(head.encode() + code[:1].encode())
    time.sleep(PAUSE)
    raw.send(code[1:].encode())
    assert raw.receive_all().startswith(b"HTTP/1.1 200 ")
    raw.close()


def read_slowly(server: Server, mode: str) -> None:
    """Has the application wait until its response is taken: it is more than all buffers hold."""
    raw = server.raw()
    raw.send(f"GET /large-{mode} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    raw.receive(1)
    time.sleep(PAUSE)
    assert len(raw.receive_all()) > LARGE
    raw.close()


LARGE = 30_000_000
LARGE_APP = f"""
def application(environ, start_response):
    start_response("200 OK", [])
    return (b"x" * 1_000_000 for _ in range({LARGE} // 1_000_000))
"""


@pytest.fixture
def large(server_factory, mode, mpm) -> Server:
    if mpm == "prefork" and mode == "embedded":
        pytest.skip("each request may have another process")
    config = """
WSGIScriptAlias /large-embedded ${ROOT}/apps/large.wsgi
WSGIScriptAlias /large-daemon ${ROOT}/apps/large.wsgi process-group=main
"""
    server = server_factory(CONFIG + config, start=False)
    server.write("apps/large.wsgi", LARGE_APP)
    return server.start()


def test_waiting_for_the_body(server, mode):
    ask(server, mode, "start_recording_metrics")
    ask(server, mode, "request_metrics")
    send_slowly(server, mode, "pass")
    metrics = ask(server, mode, "request_metrics")
    longest = metrics["input_read_time_max_us"] / 1e6
    assert PAUSE / 2 <= longest <= metrics["application_time_max_us"] / 1e6
    assert metrics["input_read_time"] == pytest.approx(longest / metrics["request_count"], rel=0.1)
    # 250 ms are in the octave from 128 ms, or in a later one.
    assert sum(metrics["input_read_time_buckets"][28:]) == 1
    assert metrics["output_write_time_max_us"] / 1e6 < longest


def test_waiting_for_the_client(large, mode):
    ask(large, mode, "start_recording_metrics")
    ask(large, mode, "request_metrics")
    read_slowly(large, mode)
    written = []

    def is_known() -> bool:
        """Ours is known when all is sent, which the client may see before."""
        written.append(ask(large, mode, "request_metrics")["output_write_time_max_us"] or 0)
        return max(written) / 1e6 >= PAUSE / 2

    wait_until(is_known, "the time that writing took")


SPIN = """
import sys, threading
sys.spins = True

def spin():
    while sys.spins:
        pass

sys.before = sys.getswitchinterval()
sys.setswitchinterval(0.1)
threading.Thread(target=spin).start()
"""
STOP_SPINNING = """
import sys
sys.spins = False
sys.setswitchinterval(sys.before)
"""


def test_waiting_for_the_gil(server, mode):
    """Who has the GIL keeps it until somebody has waited for the switch interval."""
    ask(server, mode, "start_recording_metrics")
    run(server, mode, SPIN)
    ask(server, mode, "request_metrics")
    run(server, mode, STOP_SPINNING)
    metrics = ask(server, mode, "request_metrics")
    assert metrics["gil_wait_count"] >= metrics["request_count"]
    assert 0.05 <= metrics["gil_wait_time_max_us"] / 1e6 <= metrics["request_time_max_us"] / 1e6


FINISHED = """
import json, mod_wsgi
def tell(name, **payload):
    if name == "request_finished":
        payload.pop("request_data")
        mod_wsgi.finished = payload
mod_wsgi.subscribe_events(tell)
"""
FINISHED_TYPES = {
    "request_id": str,
    "thread_id": int,
    "server_pid": int,
    "request_start": float,
    "queue_start": float,
    "daemon_start": float,
    "input_reads": int,
    "input_length": int,
    "input_time": float,
    "output_length": int,
    "output_writes": int,
    "output_time": float,
    "cpu_user_time": float,
    "cpu_system_time": float,
    "cpu_time": float,
    "application_finish": float,
    "application_time": float,
    "status": int,
    "gil_wait_time": float,
    "gil_wait_count": int,
}


def finished(server: Server, mode: str) -> dict:
    """What subscribers were told of the last request."""
    path = answers_of(server) / "finished.json"
    code = "import json, mod_wsgi; json.dump(mod_wsgi.finished, open({!r}, 'w'))"
    run(server, mode, code.format(str(path)))
    return json.loads(path.read_text())


def test_request_finished(server, mode):
    run(server, mode, FINISHED)
    run(server, mode, "pass")
    event = finished(server, mode)
    assert {name: type(value) for name, value in event.items()} == FINISHED_TYPES
    assert event["server_pid"] in [child.pid for child in server.httpd_children]
    assert event["status"] == 200
    begun = event["request_start"]
    assert begun < event["application_finish"] <= begun + event["application_time"] + 30
    assert event["cpu_time"] == pytest.approx(event["cpu_user_time"] + event["cpu_system_time"])
    assert event["cpu_time"] <= event["application_time"] + 1e-9


KEYS = """
import mod_wsgi
mod_wsgi.told = []
def tell(name, **payload):
    mod_wsgi.told.append([name, payload.get("request_id"), sorted(payload)])
mod_wsgi.subscribe_events(tell)
"""
TOLD = """
import json, mod_wsgi
mine = environ["mod_wsgi.request_id"]
with open({!r}, "w") as file:
    json.dump([event for event in mod_wsgi.told if event[1] != mine], file)
"""
EVENT_KEYS = {
    "request_started": "application_object application_start callable_object daemon_start "
    "queue_start request_data request_environ request_id request_start server_pid thread_id",
    "response_started": "exception_info request_data request_id response_headers response_status",
    "request_exception": "exception_info request_data request_id",
    "request_finished": " ".join(sorted([*FINISHED_TYPES, "request_data"])),
}


@pytest.mark.difference("how often a child tried to reach its daemon process is not told")
def test_keys_of_events(server, mode):
    run(server, mode, KEYS)
    run(server, mode, STATUS, 500)
    server.expect_traceback("ValueError: METRICS as told", count=1)
    run(server, mode, "pass")
    path = answers_of(server) / "told.json"
    run(server, mode, TOLD.format(str(path)))
    # The end of the one that has subscribed is told, too.
    events = json.loads(path.read_text())
    names = [name for name, *_ in events]
    events = events[names.index("request_started") :]
    names = [name for name, *_ in events]
    failed, served = ("request_exception", "response_started")
    begin, end = ("request_started", "request_finished")
    assert names == [begin, failed, end, begin, served, end]
    assert len({request_id for _, request_id, _ in events[:3]}) == 1
    assert len({request_id for _, request_id, _ in events}) == 2
    tries = differs(upstream=["daemon_connects", "daemon_restarts"], ours=[])
    for name, _, keys in events:
        more = tries if name == begin else []
        assert keys == sorted([*EVENT_KEYS[name].split(), *more])


def test_request_finished_tells_of_waits(large, mode):
    run(large, mode, FINISHED)
    send_slowly(large, mode, "pass")
    event = finished(large, mode)
    assert PAUSE / 2 <= event["input_time"] <= event["application_time"]
    assert event["output_time"] < PAUSE / 2
    read_slowly(large, mode)
    event = finished(large, mode)
    assert PAUSE / 2 <= event["output_time"] <= event["application_time"]
    assert event["input_time"] == 0.0
