# SPDX-License-Identifier: Apache-2.0
"""`make bench`: httpd alone, mod_wsgi from PyPI and ours under one httpd, side by side.

All servers run at once and the measurements go round them in turn, so that what else the machine
does meets them alike; each number is the median over the rounds. CPU is that of every process of
the server. What is asked for is in scenarios.py; starting and stopping httpd is in scripts/.
"""

import argparse
import contextlib
import http.client
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BENCH = Path(__file__).resolve().parent
REPOSITORY = BENCH.parent
sys.path.insert(0, str(REPOSITORY / "scripts"))
sys.dont_write_bytecode = True

from download import Mismatch, download, quantile
from httpd import MODULES, Failure, Httpd, Server, User, copy_modules, descendants, server_directory
from scenarios import SCENARIOS

TICKS = os.sysconf("SC_CLK_TCK")
# More workers than connections: event closes idle keep-alive connections when it is full.
WORKERS_PER_CHILD = 64
PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Contestant:
    name: str
    """What the table calls it."""
    module: str
    """floor (bench/floor.c), static (httpd's own files), upstream or ours."""
    mode: str = ""
    """embedded or daemon; empty where there is no Python."""


CONTESTANTS = (
    Contestant("C handler", "floor"),
    Contestant("httpd static", "static"),
    Contestant("mod_wsgi embedded", "upstream", "embedded"),
    Contestant("ours embedded", "ours", "embedded"),
    Contestant("mod_wsgi daemon", "upstream", "daemon"),
    Contestant("ours daemon", "ours", "daemon"),
)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few minutes, more noise")
    parser.add_argument("--json", metavar="FILE", help="write every measurement; - for stdout")
    parser.add_argument("--rounds", type=int, help="default 5, quick 3")
    parser.add_argument("--seconds", type=int, help="per measurement; default 5, quick 2")
    parser.add_argument("--connections", default="1,16,48")
    parser.add_argument("--processes", type=int, default=2, help="daemon processes, httpd children")
    parser.add_argument("--threads", type=int, default=15, help="threads of a daemon process")
    parser.add_argument("--only", default="", help="contestants whose name contains this")
    parser.add_argument("--scenario", default="", help="scenarios whose name contains this")
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.seconds = options.seconds or (2 if options.quick else 5)
    options.connections = [int(number) for number in options.connections.split(",")]
    return options


def build_floor(httpd):
    """Compile floor.c with apxs, if it is newer than what is there."""
    folder = REPOSITORY / "target" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    source, module = folder / "mod_floor.c", folder / ".libs" / "mod_floor.so"
    original = BENCH / "floor.c"
    if module.exists() and module.stat().st_mtime >= original.stat().st_mtime:
        return module
    shutil.copy(original, source)
    built = subprocess.run(
        [httpd.apxs, "-c", source.name], cwd=folder, capture_output=True, text=True
    )
    if built.returncode:
        raise Failure(f"apxs could not compile bench/floor.c:\n{built.stdout}{built.stderr}")
    return module


def module_file(contestant, httpd, root):
    """A copy of the contestant's module that the server's user can read."""
    if contestant.module == "ours":
        return copy_modules(root)
    if contestant.module == "floor":
        found = build_floor(httpd)
    else:
        places = (REPOSITORY / "target" / "upstream-venv").glob(
            "lib/python*/site-packages/mod_wsgi/server/mod_wsgi-*.so"
        )
        found = next(places, None)
        if found is None:
            raise Failure("mod_wsgi from PyPI is not there: make upstream-venv")
    shutil.copy(found, root / "module.so")
    (root / "module.so").chmod(0o644)
    return root / "module.so"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def configuration(contestant, httpd, user, options, root, port):
    """httpd.conf: the same for all but the lines that name the contestant's module."""
    threads = WORKERS_PER_CHILD
    processes = max(options.processes, 1 + max(options.connections) // threads)
    lines = [
        f'ServerRoot "{root}"',
        f'DefaultRuntimeDir "{root}"',
        f'PidFile "{root}/httpd.pid"',
        "ServerName localhost",
        f"Listen 127.0.0.1:{port}",
        user.directives(),
        httpd.load_mpm("event"),
        httpd.load("unixd", "authz_core", "alias"),
        # As many children as it ever gets, so that none comes or goes while we count.
        f"ThreadsPerChild {threads}",
        f"ServerLimit {processes}",
        f"StartServers {processes}",
        f"MaxRequestWorkers {threads * processes}",
        "MinSpareThreads 1",
        f"MaxSpareThreads {threads * processes}",
        "MaxConnectionsPerChild 0",
        "KeepAlive On",
        "MaxKeepAliveRequests 0",
        "KeepAliveTimeout 60",
        f'ErrorLog "{root}/error.log"',
        "LogLevel warn",
    ]
    scenarios = [each for each in chosen_scenarios(options) if serves(contestant, each)]
    for scenario in scenarios:
        if scenario.sends_file:
            both = "EnableSendfile On" + ("\nWSGIEnableSendfile On" if contestant.mode else "")
            lines.append(f"<Location /{scenario.name}>\n{both}\n</Location>")
    if contestant.module == "static":
        for scenario in scenarios:
            lines.append(f'Alias /{scenario.name} "{root.parent}/files/{scenario.file}"')
        return "\n".join(lines) + "\n"
    module = module_file(contestant, httpd, root)
    if contestant.module == "floor":
        lines.append(f'LoadModule floor_module "{module}"')
        for scenario in scenarios:
            lines.append(f"<Location /{scenario.name}>\nSetHandler floor\n</Location>")
        return "\n".join(lines) + "\n"
    venv = root.parent / "venv"
    lines += [f'LoadModule wsgi_module "{module}"', f'WSGISocketPrefix "{root}/wsgi"']
    if contestant.mode == "daemon":
        group = "bench"
        lines.append(
            f"WSGIDaemonProcess bench processes={options.processes} threads={options.threads} "
            f'python-home="{venv}"'
        )
    else:
        group = "%{GLOBAL}"
        lines.append(f'WSGIPythonHome "{venv}"')
    for scenario in scenarios:
        lines.append(
            f'WSGIScriptAlias /{scenario.name} "{root.parent}/apps/{scenario.script}" '
            f"process-group={group} application-group=%{{GLOBAL}}"
        )
    return "\n".join(lines) + "\n"


def chosen_scenarios(options):
    return [scenario for scenario in SCENARIOS if options.scenario in scenario.name]


def serves(contestant, scenario):
    return bool(contestant.mode) or scenario.floor == contestant.name


def clients_of(scenario, options):
    """How many clients at once, one number for each measurement."""
    return scenario.connections or options.connections


class Running:
    """A contestant's server."""

    def __init__(self, contestant, httpd, user, options, folder):
        self.contestant = contestant
        self.port = free_port()
        self.root = folder / contestant.name.replace(" ", "-")
        self.root.mkdir(mode=0o755)
        conf = self.root / "httpd.conf"
        conf.write_text(configuration(contestant, httpd, user, options, self.root, self.port))
        self.server = Server(httpd, conf, self.root)

    def check(self, scenario):
        """The answer must be right before its speed means anything."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            # Often enough to meet every process.
            for _ in range(4 if scenario.is_download else 20):
                try:
                    method = "POST" if scenario.posted else "GET"
                    sent = b"x" * scenario.posted or None
                    connection.request(method, f"/{scenario.name}", sent)
                    response = connection.getresponse()
                    status, body = response.status, response.read()
                except (OSError, http.client.HTTPException) as error:
                    status, body = repr(error), b""
                if status != 200 or body != scenario.body:
                    raise Failure(
                        f"{self.contestant.name}: /{scenario.name} answers {status} with "
                        f"{len(body)} bytes, which is wrong; {self.error_log()}"
                    )

    def error_log(self):
        """The last lines of it, because its folder is about to go."""
        log = self.root / "error.log"
        text = log.read_text(errors="replace") if log.exists() else ""
        return "its error log:\n" + "\n".join(text.splitlines()[-15:])

    def cpu_seconds(self):
        """User and system time of all processes of this server, the ended ones too."""
        ticks = 0
        for pid in [self.server.pid, *descendants(self.server.pid)]:
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text("latin-1").rpartition(")")[2].split()
                ticks += sum(int(value) for value in fields[11:15])
        return ticks / TICKS

    def memory(self):
        """KiB of a typical httpd child, and of everything else together.

        Resident counts what is shared as well; private is what one more child adds; the others'
        is proportional: what is shared is divided by those who share it.
        """
        parent = int((self.root / "httpd.pid").read_text())
        binary = os.readlink(f"/proc/{parent}/exe")
        children, others = [], 0
        for pid in descendants(parent):
            with contextlib.suppress(OSError):
                sizes = _memory_of(pid)
                # The supervisor is httpd's binary too, but has no worker threads.
                serves = _thread_count(pid) > WORKERS_PER_CHILD
                if serves and os.readlink(f"/proc/{pid}/exe") == binary:
                    children.append(sizes)
                else:
                    others += sizes["Pss"]
        return {
            "child_resident": statistics.median(sizes["Rss"] for sizes in children),
            "child_private": statistics.median(
                sizes["Private_Clean"] + sizes["Private_Dirty"] for sizes in children
            ),
            "others": others,
        }


def _memory_of(pid):
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}


def _thread_count(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def measure(running, scenario, connections, seconds):
    """One run of clients against one server."""
    before = running.cpu_seconds()
    ask = by_download if scenario.is_download else by_wrk
    result = ask(running, scenario, connections, seconds)
    used = running.cpu_seconds() - before
    rate = result["requests"] / result["seconds"]
    return {
        "requests_per_second": rate,
        "mb_per_second": rate * len(scenario.body) / 1e6,
        "cpu_us_per_request": used * 1e6 / result["requests"],
        "p50_ms": result["p50_ms"],
        "p99_ms": result["p99_ms"],
    }


def by_wrk(running, scenario, connections, seconds):
    wrk = subprocess.run(
        [
            *("wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency"),
            *("-s", str(BENCH / "report.lua")),
            f"http://127.0.0.1:{running.port}/{scenario.name}",
            *(("--", str(scenario.posted)) if scenario.posted else ()),
        ],
        capture_output=True,
        text=True,
    )
    report = next((line for line in wrk.stdout.splitlines() if line.startswith("REPORT ")), None)
    if wrk.returncode or report is None:
        raise Failure(f"wrk failed: {wrk.stdout}{wrk.stderr}")
    result = json.loads(report.removeprefix("REPORT "))
    if result["status_errors"] or result["socket_errors"] or not result["requests"]:
        raise Failure(f"{running.contestant.name}: wrong or missing answers under load: {report}")
    return result


def by_download(running, scenario, connections, seconds):
    try:
        requests, taken, times = download(
            running.port, f"/{scenario.name}", len(scenario.body), connections, seconds
        )
    except Mismatch as mismatch:
        raise Failure(f"{running.contestant.name}: {mismatch}; {running.error_log()}") from None
    return {
        "requests": requests,
        "seconds": taken,
        "p50_ms": quantile(times, 50),
        "p99_ms": quantile(times, 99),
    }


def medians(samples):
    return {key: statistics.median(sample[key] for sample in samples) for key in samples[0]}


def table(results, options):
    """The one table: results is {(scenario, connections, contestant name): medians}."""
    heading = (
        f"{'scenario':<10}{'conn':>5}  {'server':<19}{'requests/s':>11}{'MB/s':>8}"
        f"{'CPU us/req':>12}{'p99 ms':>9}{'/mod_wsgi':>11}{'/floor':>9}{'CPU/floor':>11}"
    )
    lines = [heading, "-" * len(heading)]
    for scenario in chosen_scenarios(options):
        for connections in clients_of(scenario, options):
            floor = results.get((scenario.name, connections, scenario.floor))
            for contestant in CONTESTANTS:
                found = results.get((scenario.name, connections, contestant.name))
                if found is None:
                    continue
                speed, cost = found["requests_per_second"], found["cpu_us_per_request"]
                rival = results.get(
                    (scenario.name, connections, f"mod_wsgi {contestant.mode}")
                    if contestant.module == "ours"
                    else None
                )
                ratio = f"{speed / rival['requests_per_second']:.2f}x" if rival else ""
                near = f"{speed / floor['requests_per_second']:.2f}x" if floor else ""
                above = f"{cost / floor['cpu_us_per_request']:.2f}x" if floor else ""
                rate = f"{found['mb_per_second']:,.0f}" if scenario.is_download else ""
                requests = f"{speed:,.1f}" if scenario.is_download else f"{speed:,.0f}"
                lines.append(
                    f"{scenario.name:<10}{connections:>5}  {contestant.name:<19}{requests:>11}"
                    f"{rate:>8}{cost:>12.1f}{found['p99_ms']:>9.2f}{ratio:>11}{near:>9}{above:>11}"
                )
            lines.append("")
    return "\n".join(lines)


def memory_table(memory):
    heading = (
        f"{'memory after the runs, MiB':<32}{'child, resident':>17}{'child, private':>16}"
        f"{'all others':>12}"
    )
    lines = [heading, "-" * len(heading)]
    for name, sizes in memory.items():
        resident, private, others = (
            sizes[key] / 1024 for key in ("child_resident", "child_private", "others")
        )
        lines.append(f"{name:<32}{resident:>17.1f}{private:>16.1f}{others:>12.1f}")
    return "\n".join(lines)


def prepare(user, scenarios):
    """A folder that the servers' user can read, with applications, files and a Python."""
    folder, temporary = server_directory("bench-run", user)
    shutil.copytree(BENCH / "apps", folder / "apps", ignore=shutil.ignore_patterns("__pycache__"))
    for path in [folder / "apps", *(folder / "apps").iterdir()]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    (folder / "files").mkdir(mode=0o755)
    for scenario in scenarios:
        if scenario.file:
            (folder / "files" / scenario.file).write_bytes(scenario.body)
            (folder / "files" / scenario.file).chmod(0o644)
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    return folder, temporary


def bench(options):
    httpd, user = Httpd(), User()
    if not shutil.which("wrk"):
        raise Failure("wrk not found: make deps-bench")
    contestants = [
        each
        for each in CONTESTANTS
        if options.only in each.name
        and any(serves(each, scenario) for scenario in chosen_scenarios(options))
    ]
    if not contestants:
        raise Failure("nothing to measure: --only or --scenario names nothing that there is")
    if not (MODULES / "mod_wsgi.so").exists():
        raise Failure(f"{MODULES / 'mod_wsgi.so'} is not built: run make")
    with contextlib.ExitStack() as cleanup:
        folder, _ = prepare(user, chosen_scenarios(options))
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        servers = []
        for contestant in contestants:
            running = Running(contestant, httpd, user, options, folder)
            cleanup.callback(running.server.stop)
            servers.append(running)
        for running in servers:
            try:
                running.server.wait_until_answering(running.port)
            except Failure as failure:
                name = running.contestant.name
                raise Failure(f"{name}: {failure}; {running.error_log()}") from None
        return collect(servers, options)


def collect(servers, options):
    """Check, warm up, and measure round by round."""
    plan = [
        (scenario, connections, running)
        for scenario in chosen_scenarios(options)
        for connections in clients_of(scenario, options)
        for running in servers
        if serves(running.contestant, scenario)
    ]
    for scenario in chosen_scenarios(options):
        for running in servers:
            if serves(running.contestant, scenario):
                running.check(scenario)
                measure(running, scenario, max(clients_of(scenario, options)), 1)
    samples = {}
    for number in range(options.rounds):
        # The order turns with each round, so that no one always follows the same neighbour.
        turned = plan[number % len(plan) :] + plan[: number % len(plan)]
        for scenario, connections, running in turned:
            key = (scenario.name, connections, running.contestant.name)
            samples.setdefault(key, []).append(
                measure(running, scenario, connections, options.seconds)
            )
        print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    memory = {running.contestant.name: running.memory() for running in servers}
    return samples, memory


def write_json(target, options, samples, memory):
    document = {
        "settings": {
            "rounds": options.rounds,
            "seconds": options.seconds,
            "processes": options.processes,
            "threads": options.threads,
            "machine": platform.machine(),
            "processors": os.cpu_count(),
        },
        "results": [
            {"scenario": scenario, "connections": connections, "server": name}
            | {"median": medians(found), "samples": found}
            for (scenario, connections, name), found in samples.items()
        ],
        "memory_kib": memory,
    }
    text = json.dumps(document, indent=2) + "\n"
    if target == "-":
        print(text)
    else:
        Path(target).write_text(text)


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    signal.signal(signal.SIGTERM, interrupted)
    options = arguments()
    try:
        samples, memory = bench(options)
    except Failure as failure:
        print(f"make bench: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("make bench: interrupted", file=sys.stderr)
        return 130
    results = {key: medians(found) for key, found in samples.items()}
    if options.json != "-":
        print(table(results, options))
        print(memory_table(memory))
    if options.json:
        write_json(options.json, options, samples, memory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
