# SPDX-License-Identifier: Apache-2.0
"""What a daemon process is started with: environment, encoding of text, limits, priority, root
directory, buffers. As whom and where it runs is in test_daemon_life.py."""

import hashlib
import os
import pwd
import resource
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.configuration import server_user

MOUNTS = """
WSGIProcessGroup main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /process ${APPS}/process/app.wsgi
WSGIScriptAlias /limits ${APPS}/limits/app.wsgi
WSGIScriptAlias /evaluate ${APPS}/evaluate/app.wsgi
WSGIScriptAlias /input-digest ${APPS}/input-digest/app.wsgi
WSGIScriptAlias /large-blocks ${APPS}/large-blocks/app.wsgi
"""


def with_options(options: str) -> str:
    return f"WSGIDaemonProcess main {options}\n{MOUNTS}"


def asked(server_factory, options: str, **more) -> dict:
    return server_factory(with_options(options), **more).get("/process").json


# Environment

new_options = pytest.mark.ours_only("mod_wsgi has no env= and env-file=")


@new_options
def test_variables_of_the_group(server_factory):
    environment = {"FROM_HTTPD": "kept", "REPLACED": "old"}
    options = "env=REPLACED=new env='TWO_WORDS=a b' env=TWICE=1 env=TWICE=2 env=EMPTY="
    found = asked(server_factory, options, environment=environment)["environ"]
    assert found["FROM_HTTPD"] == "kept"
    assert (found["REPLACED"], found["TWO_WORDS"]) == ("new", "a b")
    assert (found["TWICE"], found["EMPTY"]) == ("2", "")


@new_options
def test_file_of_variables(server_factory):
    server = server_factory(start=False)
    content = '# comment\nexport ONE=\'1 $HOME\'\nTWO="two \\"2\\""\nTHREE=file\n'
    server.write("conf/app.env", content)
    server.configure(with_options("env-file=${ROOT}/conf/app.env env=THREE=option"))
    found = server.start().get("/process").json["environ"]
    assert (found["ONE"], found["TWO"], found["THREE"]) == ("1 $HOME", 'two "2"', "option")


@new_options
@pytest.mark.root_only("only root can read what the group's user cannot")
def test_file_of_root_alone_is_read_where_only_root_writes(server_factory):
    """As a file with passwords is kept. Its folder is root's, and no link leads there."""
    folder = Path("/etc") / f"mod_wsgi-test-{os.getpid()}"
    folder.mkdir(mode=0o700)
    try:
        (folder / "secret.env").write_text("SECRET=known\n")
        (folder / "secret.env").chmod(0o600)
        server = server_factory(with_options(f"env-file={folder}/secret.env"))
        assert server.get("/process").json["environ"]["SECRET"] == "known"
        server.stop()
    finally:
        shutil.rmtree(folder)


@new_options
@pytest.mark.root_only("only root can read what the group's user cannot")
def test_link_does_not_lead_to_what_the_user_cannot_read(server_factory):
    """Whoever owns the folder of an env-file could make it a link to any file."""
    server = server_factory(start=False)
    secret = server.root / "conf" / "secret.env"
    secret.write_text("SECRET=known\n")
    secret.chmod(0o600)
    (server.root / "htdocs" / "app.env").symlink_to(secret)
    server.configure(with_options("env-file=${ROOT}/htdocs/app.env"))
    server.start()
    assert server.get("/process").status == 503
    server.expect_log("WSGI0326: .*env-file=.*/htdocs/app.env cannot be used: Permission denied")
    server.expect_log("WSGI0308")
    server.expect_log("WSGI0301")


@new_options
def test_file_that_cannot_be_used_is_named_with_its_line(server_factory):
    server = server_factory(start=False)
    server.write("conf/app.env", "FINE=1\nnot a variable\n")
    server.configure(with_options("env-file=${ROOT}/conf/app.env"))
    server.start()
    assert server.get("/process").status == 503
    server.expect_log(
        "WSGI0326: .*/app.env cannot be used: line 2: it must be of the form NAME=VALUE"
    )
    server.expect_log("WSGI0308")
    server.expect_log("WSGI0301")


@new_options
def test_file_is_read_again_for_the_next_process(server_factory):
    server = server_factory(start=False)
    server.write("conf/app.env", "ROUND=1\n")
    server.configure(with_options("env-file=${ROOT}/conf/app.env"))
    server.start()
    first = server.get("/process").json
    server.write("conf/app.env", "ROUND=2\n")
    server.graceful()
    assert first["environ"]["ROUND"] == "1"
    assert server.get("/process").json["environ"]["ROUND"] == "2"


# Text

UTF8 = "/evaluate?(sys.flags.utf8_mode,sys.getfilesystemencoding())"
LATIN = {"LANG": "de_DE.ISO-8859-1", "LC_ALL": "de_DE.ISO-8859-1"}


@pytest.mark.difference("mod_wsgi leaves it to the locale that httpd was started with")
@pytest.mark.parametrize("environment", [{"LANG": "C", "LC_ALL": "C"}, LATIN, {"LC_ALL": "POSIX"}])
def test_text_is_utf8(server_factory, environment, module_under_test):
    server = server_factory(with_options(""), environment=environment)
    answer = server.get(UTF8).text
    assert answer.endswith("'utf-8')")
    if module_under_test.name == "ours":
        assert answer == "(1, 'utf-8')"


def test_text_is_what_the_group_says(server_factory):
    """lang= and locale= are the operator's word; so is PYTHONUTF8."""
    assert server_factory(with_options("locale=C.UTF-8")).get(UTF8).text == "(0, 'utf-8')"


@new_options
def test_text_is_what_pythons_variable_says(server_factory):
    server = server_factory(with_options("env=PYTHONUTF8=0"), environment={"LC_ALL": "C.UTF-8"})
    assert server.get(UTF8).text == "(0, 'utf-8')"


def test_a_language_that_the_system_has_not_is_told(server_factory, module_under_test):
    server = server_factory(with_options("lang=xx_XX.UTF-8"))
    assert server.get("/process").json["environ"]["LANG"] == "xx_XX.UTF-8"
    if module_under_test.name == "ours":
        server.expect_log("WSGI0079: .*no locale 'xx_XX.UTF-8'")


# Limits


def limits(server_factory, options: str) -> dict:
    return server_factory(with_options(options)).get("/limits").json


def test_limits_are_httpds_by_default(server_factory):
    server = server_factory(with_options(""))
    found = server.get("/limits").json
    for name in ("RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_AS"):
        assert found[name] == list(resource.prlimit(server.pid, getattr(resource, name))), name
    assert found["nice"] == os.getpriority(os.PRIO_PROCESS, server.pid)


def test_time_of_the_processor(server_factory):
    found = limits(server_factory, "cpu-time-limit=1000 shutdown-timeout=7")
    assert found["RLIMIT_CPU"] == [1000, 1008]


def test_memory(server_factory):
    found = limits(server_factory, f"memory-limit={1 << 30} virtual-memory-limit={4 << 30}")
    assert found["RLIMIT_DATA"] == [1 << 30, 1 << 30]
    assert found["RLIMIT_AS"] == [4 << 30, 4 << 30]


def test_memory_beyond_the_limit_is_refused(server_factory):
    server = server_factory(with_options(f"memory-limit={1 << 30}"))
    assert "MemoryError" in server.get("/evaluate?len(bytearray(1<<31))").text
    assert server.get("/evaluate?len(bytearray(1<<20))").text == str(1 << 20)


def test_priority(server_factory):
    assert limits(server_factory, "cpu-priority=5")["nice"] == 5


@pytest.mark.root_only("the user of the processes must have no others")
@pytest.mark.ours_only("mod_wsgi has no process-limit=")
def test_fork_bomb(server_factory):
    """The user is one that runs nothing else. The group goes on, and so does its neighbour."""
    server = server_factory("""
WSGIDaemonProcess bomb user=games process-limit=40 threads=2 home=/
WSGIDaemonProcess other threads=2
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /bomb ${APPS}/forks-without-end/app.wsgi process-group=bomb
WSGIScriptAlias /pid ${APPS}/pid/app.wsgi process-group=bomb
WSGIScriptAlias /other ${APPS}/pid/app.wsgi process-group=other
""")
    before = server.get("/pid").text
    assert 5 < int(server.get("/bomb").text) < 40
    assert server.get("/pid").text == before
    assert server.get("/other").status == 200


@pytest.mark.ours_only("mod_wsgi does not say why")
def test_end_by_the_limit_on_the_processors_time_is_told(server_factory):
    server = server_factory("""
WSGIDaemonProcess main threads=1 cpu-time-limit=1 shutdown-timeout=0 graceful-timeout=60
WSGIScriptAlias / ${APPS}/takes-time/app.wsgi process-group=main application-group=%{GLOBAL}
""")
    assert server.get("/compute/60").status == 502
    server.expect_log(
        r"WSGI0309: .*SIGKILL\) \(it used \d\.\d s of the processor's time, "
        r"and cpu-time-limit is 1\.0 s\)"
    )
    server.expect_log("WSGI014[67]: .*SIGKILL")
    server.tolerate_log("process_stopping")


# Root directory


def copy_of_python(root: Path, artifacts) -> None:
    """Makes a directory in which Debian's Python runs: the program, its modules, and what they and
    our library are linked to."""
    program = Path("/usr/bin/python3").resolve()
    answer = subprocess.run(
        [program, "-c", "import os; print(os.__file__); import ssl, _ctypes"],
        check=True,
        capture_output=True,
        text=True,
    )
    modules = Path(answer.stdout.strip()).parent
    files = {Path("/usr/bin/python3"), program}
    for binary in [program, *modules.glob("lib-dynload/*.so"), *artifacts]:
        listed = subprocess.run(["ldd", binary], capture_output=True, text=True).stdout
        files |= {Path(word) for word in listed.split() if word.startswith("/")}
    for file in files:
        to = root / file.relative_to("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, to)
    shutil.copytree(
        modules,
        root / modules.relative_to("/"),
        ignore=shutil.ignore_patterns("test", "idlelib", "tkinter", "config-*", "__pycache__"),
        ignore_dangling_symlinks=True,
    )
    for directory in [root, *root.rglob("*/")]:
        directory.chmod(0o755)
    (root / "tmp").mkdir(mode=0o1777)
    (root / "tmp").chmod(0o1777)


@pytest.fixture(scope="module")
def jail(run_folder, module_under_test):
    root = run_folder / "jail"
    root.mkdir()
    copy_of_python(root, module_under_test.artifacts)
    yield root
    shutil.rmtree(root)


chroot = [
    pytest.mark.root_only("chroot is root's"),
    pytest.mark.ours_only(
        "the Python of mod_wsgi is linked into httpd, and is not looked for there"
    ),
]


class TestRootDirectory:
    pytestmark = chroot

    @pytest.fixture
    def server(self, server_factory, jail):
        server = server_factory(start=False)
        for name in ("process", "evaluate", "environ"):
            app = jail / "srv" / name
            app.mkdir(parents=True, exist_ok=True)
            shutil.copy(server.apps / name / "app.wsgi", app)
        server.configure(f"""
WSGIDaemonProcess main chroot={jail} home=/srv
WSGIProcessGroup main
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias /process {jail}/srv/process/app.wsgi
WSGIScriptAlias /evaluate {jail}/srv/evaluate/app.wsgi
WSGIScriptAlias /outside ${{APPS}}/hello/app.wsgi
<Directory {jail}/srv>
    Require all granted
</Directory>
""")
        return server.start()

    def test_processes_are_in_there(self, server, jail):
        process = server.daemon_processes[0]
        assert os.readlink(f"/proc/{process.pid}/root") == str(jail)
        assert process.user == pwd.getpwnam(server_user()).pw_uid
        assert server.get("/evaluate?sorted(os.listdir('/'))").text == repr(
            sorted(entry.name for entry in jail.iterdir())
        )

    def test_paths_are_those_of_the_inside(self, server):
        names = "[environ['SCRIPT_FILENAME'],environ.get('DOCUMENT_ROOT'),os.getcwd()]"
        expected = "['/srv/evaluate/app.wsgi', None, '/srv']"
        assert server.get(f"/evaluate?{names}").text == expected

    def test_nothing_is_left_of_the_library(self, server):
        assert server.get("/evaluate?os.listdir('/tmp')").text == "[]"

    def test_script_outside(self, server):
        assert server.get("/outside").status == 502
        server.expect_log("WSGI0081: The WSGI script .*/hello/app.wsgi is outside of chroot=")


@pytest.mark.root_only("chroot is root's")
@pytest.mark.ours_only("mod_wsgi needs no program there")
def test_root_directory_without_a_python(server_factory):
    server = server_factory(start=False)
    server.configure(with_options("chroot=${ROOT}/htdocs"))
    server.start()
    server.expect_log("WSGI0100: .*no Python to run at /usr/bin/python3: /usr does not exist")
    server.expect_log("WSGI0308")


# Buffers


@pytest.mark.parametrize("size", [512, 1 << 20])
def test_sizes_of_buffers_change_no_byte(server_factory, size):
    server = server_factory(with_options(f"send-buffer-size={size} receive-buffer-size={size}"))
    body = os.urandom(3 << 20)
    found = server.post("/input-digest?blocks", body).json
    assert found[:2] == [len(body), hashlib.sha256(body).hexdigest()]
    sizes = [100_000, 3_000_000, 1]
    response = server.post("/large-blocks", repr(sizes).encode())
    assert [response.body.count(letter) for letter in (b"x", b"y", b"z")] == sizes


@pytest.mark.ours_only("mod_wsgi hands no list of scripts to a daemon process")
@pytest.mark.parametrize("preload", ["on", "off"])
def test_group_with_more_scripts_than_fit_into_a_usual_message(server_factory, preload):
    """None of them but the last is there, which is of no concern here."""
    name = "not-there-" * 10
    groups = "process-group=main application-group=%{GLOBAL}"
    aliases = "\n".join(f"WSGIScriptAlias /{n} ${{APPS}}/{name}{n} {groups}" for n in range(2500))
    server = server_factory(f"""
WSGIDaemonProcess main preload={preload}
{aliases}
WSGIScriptAlias /pid ${{APPS}}/pid/app.wsgi {groups}
""")
    assert server.get("/pid").status == 200
    server.tolerate_log("not-there-")
