# SPDX-License-Identifier: Apache-2.0
"""Several Pythons in one Apache, with one pair of binaries, and what runs in each.

The process groups' homes are environments of whichever versions the machine has. The scripts are
mounted without a word about the application group: it is the default, one a script.
"""

import json
from pathlib import Path

import pytest

from harness import environments
from harness.environments import Venv
from harness.server import Server
from systems.deployment import Environments, Servers, account, copy_folder, mode_that_loaded

pytestmark = pytest.mark.ours_only("mod_wsgi has the one Python it was built for")

VERSIONS = ("3.10", "3.11", "3.12", "3.13")
REQUIREMENTS = ("cryptography==50.0.2", "bcrypt==5.0.0")
SYSTEM = Path("/usr/bin/python3")

DAEMON = """
WSGIDaemonProcess {name} {account} processes=1 threads=5 {home} python-path=${{ROOT}}/pythons
WSGIScriptAlias /{name} ${{ROOT}}/pythons/interpreter.wsgi process-group={name}
WSGIScriptAlias /{name}-again ${{ROOT}}/pythons/interpreter.wsgi process-group={name}
"""
EMBEDDED = """
WSGIPythonHome {home}
WSGIPythonPath ${{ROOT}}/pythons
WSGIScriptAlias /embedded ${{ROOT}}/pythons/interpreter.wsgi application-group=%{{GLOBAL}}
"""
ACCESS = """
<Directory ${ROOT}/pythons>
    Require all granted
</Directory>
"""
FACTS = ("version", "prefix", "base prefix", "executable")


def daemon_group(name: str, environment: Venv | None) -> str:
    home = f"python-home={environment.path}" if environment else ""
    return DAEMON.format(name=name, account=account(), home=home)


@pytest.fixture(scope="module")
def homes(venv: Environments) -> dict[str, Venv]:
    """By version, an environment of each Python on this machine."""
    found = [version for version in VERSIONS if environments.interpreter(version)]
    return {version: venv("pythons", REQUIREMENTS, python=version) for version in found}


@pytest.fixture(scope="module")
def server(homes: dict[str, Venv], module_server_factory: Servers) -> Server:
    """A process group for each version, and one of the interpreter that is the default."""
    groups = {version: daemon_group(version, home) for version, home in homes.items()}
    groups["system"] = daemon_group("system", None)
    server = module_server_factory(start=False)
    copy_folder(server, "pythons")
    server.configure("".join(groups.values()) + ACCESS)
    return server.start()


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest, homes: dict[str, Venv]) -> str:
    if request.param not in homes:
        pytest.skip(f"no Python {request.param} on this machine")
    return request.param


def facts_of(server: Server, python: Path) -> dict[str, str]:
    """What the interpreter says of itself on a command line."""
    code = (
        f"import json, sys; sys.path.insert(0, {str(server.root / 'pythons')!r});"
        "import interpreter_facts; print(json.dumps(interpreter_facts.collect()))"
    )
    told = json.loads(Venv(python.parent.parent).run(python, "-B", "-c", code))
    return {name: told[name] for name in FACTS}


def ask(server: Server, path: str) -> dict:
    response = server.get(path)
    assert response.status == 200, response.text
    return response.json


def facts(answer: dict) -> dict[str, str]:
    return {name: answer[name] for name in FACTS}


def test_interpreter_is_the_groups(server, homes, version):
    answer = ask(server, f"/{version}/facts")
    assert facts(answer) == facts_of(server, homes[version].python)
    assert answer["version"].startswith(f"{version}.")
    assert answer["prefix"] == str(homes[version].path)
    # It is a process of that very program.
    [process] = [one for one in server.daemon_processes if one.pid == answer["pid"]]
    assert process.executable == str(homes[version].python.resolve())


def test_interpreter_of_a_group_without_a_home(server):
    answer = ask(server, "/system/facts")
    assert facts(answer) == facts_of(server, SYSTEM)
    assert answer["prefix"] == answer["base prefix"] == "/usr"


def test_all_answer_side_by_side(server, homes):
    if len(homes) < 2:
        pytest.skip("this machine has one Python only")
    answers = {name: ask(server, f"/{name}/facts") for name in homes}
    again = {name: ask(server, f"/{name}/facts") for name in homes}
    assert again == answers
    assert len({answer["pid"] for answer in answers.values()}) == len(homes)
    assert len({answer["version"] for answer in answers.values()}) == len(homes)


def test_subprocess_of_the_executable(server, homes, version):
    answer = ask(server, f"/{version}/subprocess")
    assert facts(answer) == facts_of(server, homes[version].python)
    assert answer["parent"] == answer["server process"] != answer["pid"]


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_multiprocessing(server, homes, version, method):
    answer = ask(server, f"/{version}/{method}")
    assert facts(answer) == facts_of(server, homes[version].python)
    assert answer["squares"] == [number * number for number in range(100)]
    assert answer["pid"] != answer["server process"]
    # A process of forkserver is a child of that server.
    direct = set(answer["parents"]) == {answer["server process"]}
    assert direct == (method != "forkserver")


SIGNATURE = (
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555f"
    "b8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)
BCRYPT = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"


def test_extensions_that_refuse_sub_interpreters(server, version):
    groups, processes = set(), set()
    # Two application groups, each of which loads them for itself.
    for mount in (f"/{version}", f"/{version}-again"):
        answer = ask(server, f"{mount}/cryptography")
        assert answer["signature"] == SIGNATURE
        assert answer["name"] == ["Example", "example.org"]
        groups.add(answer["application group"])
        processes.add(answer["server process"])
        answer = ask(server, f"{mount}/bcrypt")
        assert (answer["hash"], answer["same"]) == (BCRYPT, True)
    assert groups == {f"localhost:{server.port}|/{version}{end}" for end in ("", "-again")}
    assert len(processes) == 2


def test_embedded_mode_beside_groups_of_other_versions(homes, version, server_factory):
    shared = homes[version].ask("import sysconfig; print(sysconfig.get_config_var('LDLIBRARY'))")
    if not shared.endswith(".so"):
        pytest.skip(f"this Python {version} has no shared libpython")
    others = {name: home for name, home in homes.items() if name != version}
    server = server_factory(start=False)
    copy_folder(server, "pythons")
    server.configure(
        EMBEDDED.format(home=homes[version].path)
        + "".join(daemon_group(name, home) for name, home in others.items())
        + ACCESS
    )
    server.start()
    expected = facts_of(server, homes[version].python)
    assert facts(ask(server, "/embedded/facts")) == expected
    assert mode_that_loaded(server, f"/libpython{version}.so") == "embedded"
    for name, home in others.items():
        assert facts(ask(server, f"/{name}/facts")) == facts_of(server, home.python)
    for what in ("subprocess", "spawn"):
        answer = ask(server, f"/embedded/{what}")
        assert facts(answer) == expected
        assert answer["server process"] in {child.pid for child in server.httpd_children}
    assert ask(server, "/embedded/cryptography")["signature"] == SIGNATURE
    assert ask(server, "/embedded/bcrypt")["hash"] == BCRYPT
