# SPDX-License-Identifier: Apache-2.0
"""mod_wsgi.server_metrics(): httpd's scoreboard, where the configuration allows it."""

import ast
import json
import os
import signal
import time

import pytest

from harness.background import HeldRequest
from harness.plugin import differs
from harness.server import Server
from harness.waiting import DEADLINE, wait_until

CONFIG = """
ServerName scoreboard.example
WSGIServerMetrics On
WSGIDaemonProcess main threads=4 server-metrics=On {options}
{more_groups}
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias /embedded ${{APPS}}/evaluate/app.wsgi
WSGIScriptAlias /daemon ${{APPS}}/evaluate/app.wsgi process-group=main
WSGIScriptAlias /run ${{APPS}}/run-code/app.wsgi process-group=main
{more}
"""

SERVER_TYPES = {
    "server_limit": int,
    "thread_limit": int,
    "running_generation": int,
    "restart_time": float,
    "current_time": float,
    "running_time": int,
    "processes": list,
}
PROCESS_TYPES = {
    "process_num": int,
    "pid": int,
    "generation": int,
    "quiescing": bool,
    "workers": list,
}
WORKER_TYPES = {
    "thread_num": int,
    "generation": int,
    "status": str,
    "access_count": int,
    "bytes_served": int,
    "start_time": float,
    "stop_time": float,
    "last_used": float,
    "client": str,
    "request": str,
    "vhost": str,
}
TEXTS = ("client", "request", "vhost")
TIMES = ("start_time", "stop_time", "last_used")


def config(more: str = "", options: str = "", more_groups: str = "") -> str:
    return CONFIG.format(more=more, options=options, more_groups=more_groups)


REQUEST = "GET /{mode}/caf\xe9?mod_wsgi.server_metrics() HTTP/1.0"


def ask(server: Server, mode: str, host: str = "localhost"):
    """What the function returns; the path is beyond ASCII, as a careless client may send it."""
    raw = server.raw()
    head = f"{REQUEST.format(mode=mode)}\r\nHost: {host}\r\n\r\n"
    raw.send(head.encode("latin-1"))
    head, _, body = raw.receive_all().partition(b"\r\n\r\n")
    raw.close()
    assert head.startswith(b"HTTP/1.1 200 ")
    return ast.literal_eval(body.decode())


def types(facts: dict) -> dict:
    return {name: type(value) for name, value in facts.items()}


def workers(metrics: dict) -> list[dict]:
    return [worker for process in metrics["processes"] for worker in process["workers"]]


def is_busy(worker: dict) -> bool:
    """Whether it has a request."""
    return worker["status"] == "W"


def busy(metrics: dict) -> list[dict]:
    return list(filter(is_busy, workers(metrics)))


def own_process(metrics: dict) -> dict:
    """The one that has the request that asks."""
    (own,) = (process for process in metrics["processes"] if any(map(is_busy, process["workers"])))
    return own


def test_shape(server_factory, mode, mpm):
    metrics = ask(server_factory(config()), mode)
    assert types(metrics) == SERVER_TYPES
    assert list(metrics) == list(SERVER_TYPES)
    limits = (60, 1) if mpm == "prefork" else (8, 25)
    assert (metrics["server_limit"], metrics["thread_limit"]) == limits
    assert len(metrics["processes"]) == limits[0]
    for number, process in enumerate(metrics["processes"]):
        assert types(process) == PROCESS_TYPES
        assert list(process) == list(PROCESS_TYPES)
        assert process["process_num"] == number
        assert len(process["workers"]) == limits[1]
    for worker in workers(metrics):
        assert types(worker) == WORKER_TYPES
        assert list(worker) == list(WORKER_TYPES)
        assert worker["status"] in tuple("._SRWKLDCGI")


def test_processes(server_factory, mode):
    server = server_factory(config())
    before = time.time()
    metrics = ask(server, mode)
    children = {child.pid for child in server.httpd_children}
    pids = [process["pid"] for process in metrics["processes"]]
    assert {pid for pid in pids if pid} <= children
    own = own_process(metrics)
    assert own["pid"] in children
    assert not own["quiescing"]
    assert before - DEADLINE < metrics["restart_time"] < metrics["current_time"]
    assert before <= metrics["current_time"] <= time.time()
    passed = metrics["current_time"] - metrics["restart_time"]
    assert metrics["running_time"] in (int(passed), int(passed) + 1)


def test_own_request(server_factory, mode):
    server = server_factory(config("ExtendedStatus On"))
    before = time.time()
    metrics = ask(server, mode)
    (own,) = busy(metrics)
    assert own["client"] == "127.0.0.1"
    assert own["request"] == REQUEST.format(mode=mode)
    # With its port, from some release of httpd on.
    assert own["vhost"].partition(":")[0] == "scoreboard.example"
    assert before - 1 < own["start_time"] <= own["last_used"] <= metrics["current_time"]
    # The processes that wait have had none.
    for worker in workers(metrics):
        if worker["status"] == ".":
            assert [worker[name] for name in TEXTS] == ["", "", ""]
            assert [worker[name] for name in TIMES] == [0.0, 0.0, 0.0]


@pytest.mark.difference("mod_wsgi reads a field that is too short for an IPv6 address")
def test_long_address(server_factory, mode):
    """With mod_remoteip, as the harness speaks IPv4."""
    address = "2001:db8:1111:2222:3333:4444:5555:6666"
    more = "ExtendedStatus On\nRemoteIPHeader X-Client\nRemoteIPInternalProxy 127.0.0.1"
    server = server_factory(config(more), modules=("remoteip",))
    response = server.get(f"/{mode}?mod_wsgi.server_metrics()", headers={"X-Client": address})
    (own,) = busy(ast.literal_eval(response.text))
    assert own["client"] == differs(upstream=address[:31], ours=address)


def test_requests_are_counted(server_factory, mode):
    server = server_factory(config("ExtendedStatus On"))

    def totals() -> tuple[int, int]:
        """Those of the request that asks are counted later."""
        all_workers = workers(ask(server, mode))
        counted = sum(worker["access_count"] for worker in all_workers)
        return counted, sum(worker["bytes_served"] for worker in all_workers)

    count, size = totals()
    for _ in range(3):
        server.get("/nowhere")
    # A child counts a request when it has sent the answer.
    wait_until(lambda: totals()[0] >= count + 4, "the requests to be counted")
    assert totals()[1] > size


def test_without_extended_status(server_factory, mode):
    server = server_factory(config("ExtendedStatus Off"))
    ask(server, mode)
    metrics = ask(server, mode)
    (own,) = busy(metrics)
    for name in (*TEXTS, *TIMES, "access_count", "bytes_served"):
        assert not own[name]


def test_requests_of_other_hosts_are_seen(server_factory, mode, answer):
    text = """
ExtendedStatus On
WSGIScriptAlias /hold ${APPS}/hold/app.wsgi process-group=holds
<VirtualHost *:${PORT}>
    ServerName first.example
</VirtualHost>
<VirtualHost *:${PORT}>
    ServerName second.example
</VirtualHost>
"""
    server = server_factory(config(text, more_groups="WSGIDaemonProcess holds threads=1"))
    held = HeldRequest(server, answer.parent).wait_started()
    metrics = ask(server, mode, host="second.example")
    held.release()
    assert held.result().status == 200
    hosts = {worker["vhost"].partition(":")[0] for worker in busy(metrics)}
    assert hosts == {"first.example", "second.example"}


def test_restarts(server_factory, mode):
    server = server_factory(config())
    first = ask(server, mode)
    server.graceful()
    second = ask(server, mode)
    server.restart()
    third = ask(server, mode)
    generations = [metrics["running_generation"] for metrics in (first, second, third)]
    assert generations == [0, 1, 2]
    for metrics, generation in zip((first, second, third), generations, strict=True):
        # Under prefork, workers have none.
        assert own_process(metrics)["generation"] == generation
    assert second["restart_time"] == first["restart_time"]
    assert third["restart_time"] > first["restart_time"]


def test_nothing_where_it_is_not_allowed(server_factory):
    directive = "WSGIServerMetrics On"
    option = "server-metrics=On"
    for text, allowed in [
        (config().replace(directive, ""), {"daemon"}),
        (config().replace(option, ""), {"embedded"}),
        (config().replace(directive, "").replace(option, "server-metrics=Off"), set()),
    ]:
        server = server_factory(text)
        for mode in ("embedded", "daemon"):
            assert (ask(server, mode) is not None) == (mode in allowed)
        server.stop()


def test_one_group_of_two(server_factory):
    server = server_factory(
        config("""
WSGIDaemonProcess other threads=1
WSGIScriptAlias /other ${APPS}/evaluate/app.wsgi process-group=other
""")
    )
    assert ask(server, "daemon") is not None
    assert ask(server, "other") is None


BACKGROUND = """
import json, threading
import mod_wsgi

def tell():
    with open({answer!r} + ".new", "w") as file:
        json.dump(mod_wsgi.server_metrics(), file)
    import os
    os.rename({answer!r} + ".new", {answer!r})

threading.Thread(target=tell).start()
"""


@pytest.fixture
def answer(run_folder):
    path = run_folder / f"server-metrics-{os.urandom(4).hex()}"
    path.mkdir()
    path.chmod(0o777)
    return path / "answer.json"


def wait_for(answer):
    wait_until(answer.exists, "the answer of a thread")
    return json.loads(answer.read_text())


def test_threads_without_a_request(server_factory, answer):
    server = server_factory(config())
    code = BACKGROUND.format(answer=str(answer))
    assert server.post("/run", code.encode()).status == 200
    assert types(wait_for(answer)) == SERVER_TYPES


LOADING = (
    """
import mod_wsgi
first = mod_wsgi.server_metrics()
"""
    + BACKGROUND
    + """
def application(environ, start_response):
    start_response("200 OK", [])
    return [repr(first is not None).encode()]
"""
)


STAYS = """
import time
while True:
    time.sleep(600)
"""


def loading(server_factory, answer, text: str, more: str = "") -> Server:
    server = server_factory(config(text), start=False)
    server.write("apps/loading.wsgi", LOADING.format(answer=str(answer)) + more)
    return server.start()


@pytest.mark.parametrize("group", ["%{GLOBAL}", "sub"])
def test_while_the_script_is_loaded(server_factory, answer, group):
    groups = f"process-group=main application-group={group}"
    text = f"WSGIScriptAlias / ${{ROOT}}/apps/loading.wsgi {groups}"
    server = loading(server_factory, answer, text)
    assert server.get("/").text == "True"
    assert types(wait_for(answer)) == SERVER_TYPES


@pytest.mark.ours_only("mod_wsgi has no isolation=")
def test_in_a_sub_interpreter(server_factory):
    server = server_factory(
        config(
            "WSGIScriptAlias /sub ${APPS}/evaluate/app.wsgi process-group=main application-group=s",
            "isolation=interpreter",
        )
    )
    assert types(ask(server, "sub")) == SERVER_TYPES


@pytest.mark.ours_only("mod_wsgi has no preload=")
def test_in_a_forked_worker(server_factory):
    groups = {"forked": "server-metrics=On", "silent": ""}
    lines = [
        f"WSGIDaemonProcess {name} preload=on processes=2 {option}\n"
        f"WSGIScriptAlias /{name} ${{APPS}}/evaluate/app.wsgi "
        f"process-group={name} application-group=%{{GLOBAL}}\n"
        for name, option in groups.items()
    ]
    server = server_factory(config("".join(lines)))
    assert types(ask(server, "forked")) == SERVER_TYPES
    assert ask(server, "silent") is None


def test_in_a_service(server_factory, answer):
    groups = "process-group=service application-group=%{GLOBAL}"
    text = f"""
WSGIDaemonProcess service threads=0 server-metrics=On
WSGIImportScript ${{ROOT}}/apps/loading.wsgi {groups}
"""
    loading(server_factory, answer, text, STAYS)
    assert types(wait_for(answer)) == SERVER_TYPES


FORK = """
import os
import mod_wsgi
pid = os.fork()
if not pid:
    os._exit(mod_wsgi.server_metrics() is None)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
assert mod_wsgi.server_metrics() is not None
"""


@pytest.mark.ours_only("mod_wsgi's daemon processes are forked from httpd, and so are theirs")
def test_not_in_a_forked_process(server_factory):
    server = server_factory(config())
    assert server.post("/run", FORK.encode()).status == 200


@pytest.mark.ours_only("mod_wsgi has no supervisor")
def test_a_scoreboard_longer_than_a_message(server_factory, mode, mpm):
    if mpm == "prefork":
        limits = (3000, 1)
        more = "ServerLimit 3000"
    else:
        limits = (8, 500)
        more = "ThreadLimit 500"
    metrics = ask(server_factory(config(f"{more}\nExtendedStatus On")), mode)
    assert (metrics["server_limit"], metrics["thread_limit"]) == limits
    assert {len(process["workers"]) for process in metrics["processes"]} == {limits[1]}
    assert len(metrics["processes"]) == limits[0]
    assert len(busy(metrics)) == 1


@pytest.mark.ours_only("mod_wsgi has no supervisor")
def test_many_threads_at_once(server_factory, mpm):
    server = server_factory(config("ServerLimit 900" if mpm == "prefork" else "ThreadLimit 200"))
    code = """
import threading, mod_wsgi
answers = []
def ask():
    for _ in range(20):
        answers.append(mod_wsgi.server_metrics())
threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(answers) == 160
assert all(answer and len(answer["processes"]) == answer["server_limit"] for answer in answers)
"""
    assert server.post("/run", code.encode()).status == 200


@pytest.mark.ours_only("mod_wsgi has no supervisor")
def test_a_supervisor_that_does_not_answer(server_factory):
    server = server_factory(config())
    assert ask(server, "daemon") is not None
    (supervisor,) = server.supervisors
    os.kill(supervisor.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        assert ask(server, "daemon") is None
        assert time.monotonic() - begun < DEADLINE
    finally:
        os.kill(supervisor.pid, signal.SIGCONT)
    # The answer that came too late is not taken for the next one.
    sent = time.time()
    metrics = ask(server, "daemon")
    assert metrics["current_time"] >= sent
    assert len(busy(metrics)) == 1


@pytest.mark.ours_only("mod_wsgi has no supervisor")
def test_after_the_supervisor_was_killed(server_factory):
    server = server_factory(config())
    (before,) = server.supervisors
    os.kill(before.pid, signal.SIGKILL)
    server.expect_log("WSGI0312")

    def has_another() -> bool:
        return any(supervisor.pid != before.pid for supervisor in server.supervisors)

    wait_until(has_another, "another supervisor")
    server.tolerate_log("WSGI0146|WSGI0302")
    assert wait_until(lambda: ask(server, "daemon"), "an answer")["running_generation"] == 0


@pytest.mark.ours_only("mod_wsgi inherits all that httpd has open")
def test_a_group_without_it_has_nothing_for_it(server_factory):
    server = server_factory(config("WSGIDaemonProcess other threads=4"))
    server.get("/daemon")
    sockets = sorted(
        sum(target.startswith("socket:") for target in process.descriptors.values())
        for process in wait_until(
            lambda: len(server.daemon_processes) == 2 and server.daemon_processes, "processes"
        )
    )
    assert sockets[0] < sockets[1]
