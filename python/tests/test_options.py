# SPDX-License-Identifier: Apache-2.0
"""What the configuration says of interpreters: paths, the environment, restrictions, the switch
interval, the GIL, and the end; for all of them, and for single application groups."""

import os

import daemon as protocol
import pytest
from daemon import Layer

pytestmark = pytest.mark.both_modes

MILLISECOND = 1_000_000

# The value of an expression.
EVALUATE = """
    import os, signal, sys
    def application(environ, start_response):
        start_response("200 OK", [])
        return [repr(eval(environ["QUERY_STRING"])).encode()]
"""


@pytest.fixture
def evaluate(script):
    path = script(EVALUATE)

    def evaluate(process, expression, group=""):
        response = process.request(path, environ={"QUERY_STRING": expression}, group=group)
        assert response.status == 200, response.log()
        return eval(response.body)

    return evaluate


@pytest.fixture
def folders(tmp_path):
    """Directories of which each has a module `where`."""
    made = {}
    for name in ("base", "every", "mine", "other", "home"):
        made[name] = tmp_path / name
        made[name].mkdir()
        (made[name] / "where.py").write_text(f"name = {name!r}\n")
        (made[name] / f"{name}_only.py").write_text("")
    return made


def encoded(*folders):
    return os.fsencode(":".join(map(str, folders)))


# Python path

IMPORT = "__import__('where').name"
PATH = "[os.path.basename(entry) for entry in sys.path]"


def test_the_path_of_a_group_stands_before_that_of_all(start, evaluate, folders):
    layers = (
        Layer(python_path=encoded(folders["every"])),
        Layer(b"other", python_path=encoded(folders["other"])),
        Layer(b"mine", python_path=encoded(folders["mine"])),
    )
    process = start(
        interpreters=True, python_path=encoded(folders["base"]), layers=layers, threads=1
    )
    assert evaluate(process, PATH, "mine")[:3] == ["mine", "every", "base"]
    assert evaluate(process, IMPORT, "mine") == "mine"
    assert evaluate(process, PATH, "other")[:3] == ["other", "every", "base"]
    assert evaluate(process, IMPORT) == "every"
    assert "mine" not in evaluate(process, PATH)


@pytest.mark.daemon_only
@pytest.mark.parametrize("known", [True, False])
def test_the_path_of_the_group_that_a_process_serves(start, evaluate, folders, known):
    layers = (
        Layer(b"mine", python_path=encoded(folders["mine"])),
        Layer(b"other", python_path=encoded(folders["other"])),
        Layer(python_path=encoded(folders["every"])),
    )
    process = start(
        application_group=b"mine" if known else None,
        home=encoded(folders["home"]),
        python_path=encoded(folders["base"]),
        layers=layers,
    )
    # The order is that of the layers, whenever each came to hold.
    assert evaluate(process, PATH, "mine")[:4] == ["home", "every", "mine", "base"]
    assert evaluate(process, PATH, "other")[:4] == ["home", "every", "mine", "base"]
    assert evaluate(process, PATH, "other").count("mine") == 1


@pytest.mark.daemon_only
def test_the_path_is_there_before_the_script_is_loaded(start, script, folders):
    path = script("""
        import mine_only
        def application(environ, start_response):
            start_response("200 OK", [])
            return [b"imported"]
    """)
    # Many requests at once: none may run before the first has decided.
    process = start(threads=8, layers=(Layer(b"mine", python_path=encoded(folders["mine"])),))
    connections = [process.connect() for _ in range(8)]
    for connection in connections:
        connection.send_request(path, group="mine")
    for connection in connections:
        response = connection.response()
        assert response.body == b"imported", response.log()
        connection.close()


@pytest.mark.daemon_only
def test_a_hook_decides_the_group_as_well(start, script, folders):
    path = script("""
        import mine_only, mod_wsgi
        def groups_for_user(environ, user):
            return [mod_wsgi.application_group]
    """)
    process = start(layers=(Layer(b"mine", python_path=encoded(folders["mine"])),))
    response = process.ask(protocol.GROUPS, path, b"user", group="mine")
    assert response.values == [b"mine"], response.log()


# Environment


def test_the_environment_of_every_interpreter(start, evaluate, mode):
    settings = {"python_eggs": b"/srv/eggs", "hide_hash_seed": True, "interpreters": True}
    process = start(env={"PYTHONHASHSEED": "0"}, **settings)
    for group in ("", "other"):
        assert evaluate(process, "os.environ['PYTHON_EGG_CACHE']", group) == "/srv/eggs"
        assert evaluate(process, "'PYTHONHASHSEED' in os.environ", group) is False
        hidden = "__import__('subprocess').getoutput('env | grep -c PYTHONHASHSEED')"
        assert evaluate(process, hidden, group) == "0"
    process = start(env={"PYTHONHASHSEED": "0"})
    assert evaluate(process, "os.environ['PYTHONHASHSEED']") == "0"
    assert evaluate(process, "'PYTHON_EGG_CACHE' in os.environ") is False


# Restrictions

RESTRICTED = """(
    type(sys.stdin).__name__ == "Restricted",
    type(sys.stdout).__name__ == "Restricted",
    signal.signal.__module__ != "signal",
)"""


def test_restrictions_of_groups(start, evaluate):
    layers = (
        Layer(restrict_stdout=True, restrict_signal=False),
        Layer(b"strict", restrict_stdin=True, restrict_signal=True),
        Layer(b"free", restrict_stdout=False),
    )
    process = start(interpreters=True, layers=layers)
    assert evaluate(process, RESTRICTED, "strict") == (True, True, True)
    assert evaluate(process, RESTRICTED, "free") == (False, False, False)
    assert evaluate(process, RESTRICTED) == (False, True, False)


@pytest.mark.daemon_only
def test_restrictions_of_the_group_that_a_process_serves(start, evaluate, script):
    for before in (True, False):
        settings = dict.fromkeys(("restrict_stdin", "restrict_stdout", "restrict_signal"), before)
        choices = {name: not value for name, value in settings.items()}
        layers = (Layer(b"mine", **choices), Layer(b"other", **settings))
        process = start(layers=layers, **settings)
        assert evaluate(process, RESTRICTED, "mine") == (not before,) * 3
        process = start(layers=layers, **settings)
        assert evaluate(process, RESTRICTED, "third") == (before,) * 3


@pytest.mark.daemon_only
def test_a_restriction_of_one_group_ends_quietly(start, evaluate):
    process = start(layers=(Layer(b"mine", restrict_stdout=True),))
    assert evaluate(process, RESTRICTED, "mine")[1]
    process.tell(protocol.STOP, 5)
    assert process.wait() == 0
    assert "Error" not in process.log()


# Switch interval

INTERVAL = "round(sys.getswitchinterval(), 6)"


def test_the_switch_interval(start, evaluate):
    process = start(switch_interval=20 * MILLISECOND, interpreters=True)
    for group in ("", "other"):
        assert evaluate(process, INTERVAL, group) == 0.02
    # The most specific that holds for all interpreters.
    layers = (Layer(switch_interval=30 * MILLISECOND),)
    process = start(switch_interval=20 * MILLISECOND, layers=layers)
    assert evaluate(process, INTERVAL) == 0.03
    assert "the switch interval is 0.03 s" in process.log("0.03 s")


def test_a_sub_interpreter_can_not_have_a_switch_interval_alone(start, evaluate):
    layers = (
        Layer(b"other", switch_interval=30 * MILLISECOND),
        Layer(b"", switch_interval=40 * MILLISECOND),
    )
    process = start(interpreters=True, switch_interval=20 * MILLISECOND, layers=layers)
    assert evaluate(process, INTERVAL) == 0.04
    assert evaluate(process, INTERVAL, "other") == 0.04
    log = process.log("WSGI0199")
    assert "application group 'other'" in log


@pytest.mark.daemon_only
def test_the_switch_interval_of_the_group_that_a_process_serves(start, evaluate):
    layers = (Layer(b"mine", switch_interval=30 * MILLISECOND),)
    process = start(switch_interval=20 * MILLISECOND, layers=layers)
    assert evaluate(process, INTERVAL, "mine") == 0.03
    process = start(switch_interval=20 * MILLISECOND, layers=layers)
    assert evaluate(process, INTERVAL, "other") == 0.02


# The end

AT_END = """
    import atexit, mod_wsgi
    name = mod_wsgi.application_group
    atexit.register(lambda: print("at exit", name))
    mod_wsgi.subscribe_shutdown(lambda event, **payload: print(event, name))
    def application(environ, start_response):
        start_response("200 OK", [])
        return []
"""


@pytest.mark.parametrize("groups", [[""], ["", "sub"]], ids=["main", "subs"])
@pytest.mark.parametrize("skip", [True, False])
def test_what_runs_at_the_end(start, script, mode, groups, skip):
    path = script(AT_END)
    process = start(interpreters=True, skip_finalisation=skip)
    for group in groups:
        assert process.request(path, group=group).complete
    if mode is protocol.Embedded:
        process.stop()
    else:
        process.tell(protocol.STOP, 5)
    assert process.wait() == 0
    log = process.log()
    for group in groups:
        assert f"process_stopping {group}\n" in log
        assert (f"at exit {group}\n" in log) is not skip


# GIL

VERSION = "sys.version_info[:2]"


def has_own_gil(evaluate, process):
    return evaluate(process, VERSION) >= (3, 12)


def test_an_interpreter_with_a_gil_of_its_own(start, evaluate):
    layers = (
        Layer(b"shared", own_gil=False),
        Layer(b"fast", switch_interval=1 * MILLISECOND),
    )
    process = start(
        interpreters=True, own_gil=True, switch_interval=20 * MILLISECOND, layers=layers
    )
    assert evaluate(process, INTERVAL, "shared") == 0.02
    separate = has_own_gil(evaluate, process)
    assert evaluate(process, INTERVAL, "fast") == (0.001 if separate else 0.02)
    assert evaluate(process, INTERVAL, "other") == 0.02
    assert evaluate(process, INTERVAL) == 0.02
    if separate:
        log = process.log("sub-interpreter 'other' has a GIL of its own")
        assert "sub-interpreter 'fast' has a GIL of its own" in log
        assert "'shared' has a GIL" not in log and "WSGI0198" not in log
    else:
        log = process.log("WSGI0199")
        assert log.count("WSGI0198") == 1


def test_interpreters_with_gils_run_at_the_same_time(start, evaluate, script):
    process = start(interpreters=True, own_gil=True, threads=4)
    if not has_own_gil(evaluate, process):
        pytest.skip("before 3.12 there is one GIL")
    # It keeps its GIL: only interpreters with another one go on.
    busy = script("""
        import os, re
        def application(environ, start_response):
            started, finish = environ["QUERY_STRING"].split("|")
            open(started, "w").close()
            sre = re.compile("(a*)*b")
            while not os.path.exists(finish):
                sre.match("a" * 18)
            start_response("200 OK", [])
            return [b"done"]
    """)
    quick = script("def application(e, s): s('200 OK', []); return [b'quick']")
    folder = busy.parent
    for group, other in (("one", "two"), ("one", ""), ("", "two")):
        started, finish = (folder / f"{what}-{group}-{other}" for what in ("started", "finish"))
        with process.connect() as connection:
            environ = {"QUERY_STRING": f"{started}|{finish}"}
            connection.send_request(busy, environ=environ, group=group)
            protocol.wait_for(started.exists)
            for _ in range(20):
                assert process.request(quick, group=other).body == b"quick"
            finish.touch()
            assert connection.response().body == b"done"


def test_everything_of_a_request_in_an_interpreter_with_its_own_gil(start, script, tmp_path):
    text = tmp_path / "file.txt"
    text.write_text("contents")
    path = script(f"""
        import io, subprocess, sys, threading, mod_wsgi
        print("loaded", mod_wsgi.application_group)
        def reload_required(path):
            return False
        def application(environ, start_response):
            data = environ["wsgi.input"].read()
            print("logged", file=environ["wsgi.errors"])
            mod_wsgi.request_data()["x"] = data
            results = []
            thread = threading.Thread(target=lambda: results.append(len(data)))
            thread.start()
            thread.join()
            query = environ["QUERY_STRING"]
            if query == "file":
                start_response("200 OK", [("Content-Type", "text/plain")])
                return environ["wsgi.file_wrapper"](open({str(text)!r}, "rb"))
            if query == "raise":
                raise ValueError("on purpose")
            if query == "run":
                data = subprocess.run(["echo", "-n", "ran"], capture_output=True).stdout
            write = start_response("200 OK", [])
            write(data)
            return iter([str(results[0]).encode()])
        def groups_for_user(environ, user):
            return [user, str(environ["mod_ssl.is_https"]())]
    """)
    process = start(interpreters=True, own_gil=True)
    for group in ("one", "", "two", "one"):
        with process.connect() as connection:
            for _ in range(3):
                response = connection.request(path, b"body", group=group)
                assert response.body == b"body4", response.log()
                assert (3, "logged") in response.logs
                response = connection.request(path, group=group, environ={"QUERY_STRING": "file"})
                assert response.body == b"contents"
                response = connection.request(path, group=group, environ={"QUERY_STRING": "run"})
                assert response.body == b"ran0", response.log()
                response = connection.request(path, group=group, environ={"QUERY_STRING": "raise"})
                assert response.error == 500 and "ValueError: on purpose" in response.log()
                response = connection.ask(protocol.GROUPS, path, b"user", group=group)
                assert response.values == [b"user", b"0"]
    path.write_text("def application(e, s): s('200 OK', []); return [b'new']")
    os.utime(path, ns=(1, 1_000_000_000))


def test_an_extension_that_knows_one_interpreter_only_is_refused(start, evaluate):
    # Python 3.12 alone would crash when the second interpreter asks.
    process = start(interpreters=True, own_gil=True)
    separate = has_own_gil(evaluate, process)
    now = "__import__('datetime').datetime(2000, 1, 2).isoformat()"
    for group in ("one", "two", "", "three", "one"):
        assert evaluate(process, now, group) == "2000-01-02T00:00:00"
    modules = "[name for name in ('_datetime', '_tracemalloc') if name in sys.modules]"
    tracing = "__import__('tracemalloc').is_tracing()"
    assert evaluate(process, tracing) is False
    assert evaluate(process, modules) == ["_datetime", "_tracemalloc"]
    if separate:
        with pytest.raises(AssertionError, match="not support loading in subinterpreters"):
            evaluate(process, tracing, "two")
        assert "_tracemalloc" not in evaluate(process, modules, "two")


def test_a_forked_child_of_an_interpreter_with_its_own_gil(start, evaluate):
    process = start(interpreters=True, own_gil=True)
    ran = "__import__('subprocess').check_output(['echo', 'ran'])"
    assert evaluate(process, ran, "other") == b"ran\n"
    if has_own_gil(evaluate, process):
        with pytest.raises(AssertionError, match="fork not supported"):
            evaluate(process, "os.fork() or os._exit(0)", "other")
