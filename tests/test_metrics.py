# SPDX-License-Identifier: Apache-2.0
"""mod_wsgi.process_metrics() and mod_wsgi.request_metrics(), for monitoring from inside."""

import json
import time

import pytest

from harness.plugin import differs
from harness.server import Server

CONFIG = """
WSGIDaemonProcess main threads=4
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /embedded ${APPS}/run-code/app.wsgi
WSGIScriptAlias /daemon ${APPS}/run-code/app.wsgi process-group=main
"""


@pytest.fixture
def server(server_factory, mode, mpm) -> Server:
    if mpm == "prefork" and mode == "embedded":
        pytest.skip("each request may have another process")
    return server_factory(CONFIG)


def run(server: Server, mode: str, code: str, status: int = 200) -> None:
    assert server.post(f"/{mode}", code.encode()).status == status


def ask(server: Server, mode: str, function: str):
    """Through a file: the log cuts lines."""
    path = server.root / "answers" / "metrics.json"
    code = f"""
import json, mod_wsgi
with open({str(path)!r}, "w") as file:
    json.dump(mod_wsgi.{function}(), file)
"""
    if not path.parent.exists():
        path.parent.mkdir()
        path.parent.chmod(0o777)
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


@pytest.mark.difference("start_time is that of the interval; what is not measured is None")
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
    assert (metrics["gil_wait_time"] is None) == differs(upstream=False, ours=True)
    # Each call begins another interval.
    assert ask(server, mode, "request_metrics")["request_count"] == 1
