# SPDX-License-Identifier: Apache-2.0
"""Directives that set up Python, and those that say how a request is given to it.

WSGIPythonHome is tested in systems/; restrictions in test_restrictions.py; settings for single
interpreters in test_interpreter_options.py.
"""

import os
import re
import subprocess
from ast import literal_eval
from urllib.parse import quote

import pytest

from harness.plugin import differs

MOUNTS = """
WSGIApplicationGroup %{GLOBAL}
Define EVALUATE ${APPS}/evaluate/app.wsgi
WSGIScriptAlias /embedded ${EVALUATE}
WSGIScriptAlias /daemon ${EVALUATE} process-group=main
"""


def value(server, path: str, expression: str):
    response = server.get(f"/{path}?{quote(expression)}")
    assert response.status == 200
    return literal_eval(response.text)


# Python itself

PLAIN = "WSGIDaemonProcess main threads=1\n" + MOUNTS
SET = """
WSGIPythonOptimize 1
WSGIDontWriteBytecode On
WSGIPythonWarnings ignore::ImportWarning
WSGIPythonWarnings default::DeprecationWarning
WSGIPythonHashSeed 7
WSGIPythonEggs ${ROOT}/run/top-eggs
WSGIPythonPath ${ROOT}/one:${ROOT}/two
WSGISwitchInterval 0.125
WSGIDaemonProcess main threads=1
WSGIDaemonProcess own threads=1 python-eggs=${ROOT}/run/eggs python-path=${ROOT}/own \\
    switch-interval=0.25
WSGIScriptAlias /own ${APPS}/evaluate/app.wsgi process-group=own
WSGIScriptAlias /sub ${APPS}/evaluate/app.wsgi process-group=own
<Location /sub>
    WSGIApplicationGroup sub
</Location>
"""


@pytest.fixture(scope="module")
def plain(module_server_factory):
    return module_server_factory(PLAIN)


@pytest.fixture(scope="module")
def configured(module_server_factory):
    server = module_server_factory(SET + MOUNTS, start=False)
    for name in ("one", "two", "own", "linked"):
        server.write(f"{name}/module_{name}.py", f"NAME = {name!r}\n")
    server.write("one/more.pth", f"{server.root}/linked\n")
    return server.start()


@pytest.mark.difference("the most processes that there can be are not those that there have been")
def test_module_apache(plain, mode, mpm):
    """What httpd is, also in daemon processes: the numbers of a process group are in mod_wsgi."""
    found = value(plain, mode, "dict(vars(__import__('apache')))['mpm_name']")
    assert found == mpm
    # MaxRequestWorkers is 50, of which a threaded MPM has 25 in a process.
    processes = 50 if mpm == "prefork" else differs(upstream=1, ours=2)
    threads = 1 if mpm == "prefork" else 25
    expression = "(lambda a: (a.maximum_processes, a.threads_per_process))(__import__('apache'))"
    assert value(plain, mode, expression) == (processes, threads)
    expression = "(lambda a: (a.description, a.build_date))(__import__('apache'))"
    description, build_date = value(plain, mode, expression)
    assert description.startswith("Apache/2.4")
    assert re.search(r"\d{4}.*\d\d:\d\d:\d\d", build_date)


def test_names_of_the_module(plain, mode):
    """What is made when it is first asked for is listed before."""
    assert value(plain, mode, "{'LogHandler', 'active_requests', 'version'} <= set(dir(mod_wsgi))")


@pytest.mark.parametrize(
    ("expression", "default", "wanted"),
    [
        ("sys.flags.optimize", 0, 1),
        ("sys.dont_write_bytecode", False, True),
        ("sys.warnoptions", [], ["ignore::ImportWarning", "default::DeprecationWarning"]),
        ("sys.flags.isolated", 0, 0),
    ],
)
def test_flags(plain, configured, mode, expression, default, wanted):
    assert value(plain, mode, expression) == default
    assert value(configured, mode, expression) == wanted


@pytest.mark.parametrize(("number", "level"), [("0", 0), ("2", 2), ("-1", 0), ("abc", 0)])
def test_optimize(server_factory, mode, number, level):
    server = server_factory(f"WSGIPythonOptimize {number}\n{PLAIN}")
    assert value(server, mode, "sys.flags.optimize") == level
    # Ours says what it made of it.
    server.tolerate_log("WSGI0315.*WSGIPythonOptimize")


def test_variables_of_python_hold(server_factory, mode):
    server = server_factory(PLAIN, environment={"PYTHONDONTWRITEBYTECODE": "1"})
    assert value(server, mode, "sys.dont_write_bytecode") is True


def hash_of(text: str, seed: str) -> int:
    """What Python's hash() gives with the seed; for the interpreter that the server runs by
    default."""
    command = ["/usr/bin/python3", "-c", f"print(hash({text!r}))"]
    environment = os.environ | {"PYTHONHASHSEED": seed}
    return int(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)


def test_hash_seed(configured, mode):
    assert value(configured, mode, "hash('a text')") == hash_of("a text", "7")


HASHES = """
WSGIDaemonProcess one threads=1
WSGIDaemonProcess two threads=1
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /embedded ${APPS}/evaluate/app.wsgi
WSGIScriptAlias /one ${APPS}/evaluate/app.wsgi process-group=one
WSGIScriptAlias /two ${APPS}/evaluate/app.wsgi process-group=two
"""


@pytest.mark.difference("random means random")
def test_random_hash_seed(server_factory):
    server = server_factory("WSGIPythonHashSeed random\n" + HASHES)
    paths = ("embedded", "one", "two")
    hashes = {value(server, path, "hash('a text')") for path in paths}
    assert len(hashes) == differs(upstream=1, ours=3)
    assert (hash_of("a text", "0") in hashes) is differs(upstream=True, ours=False)
    for path in paths:
        assert value(server, path, "'PYTHONHASHSEED' in os.environ") is False


def test_hash_seed_of_python_itself(server_factory):
    server = server_factory(HASHES)
    assert len({value(server, path, "hash('a text')") for path in ("embedded", "one", "two")}) == 3


@pytest.mark.parametrize(
    ("path", "folder"),
    [("embedded", "{root}/run/top-eggs"), ("daemon", None), ("own", "{root}/run/eggs")],
)
def test_python_eggs(configured, path, folder):
    found = value(configured, path, "os.environ.get('PYTHON_EGG_CACHE')")
    assert found == (folder and folder.format(root=configured.root))


@pytest.mark.parametrize(
    ("path", "names"),
    [("embedded", ["one", "linked", "two"]), ("daemon", []), ("own", ["own"])],
)
def test_python_path(configured, path, names):
    """At the front, with what .pth files name; a daemon process has its own."""
    found = value(configured, path, "sys.path")
    assert found[: len(names)] == [f"{configured.root}/{name}" for name in names]
    assert not [entry for entry in found[len(names) :] if entry.startswith(str(configured.root))]
    for name in names:
        found = value(configured, path, f"__import__('module_{name}').NAME")
        assert found == name


def test_python_path_that_does_not_exist(server_factory):
    server = server_factory("WSGIPythonPath /no/such/folder\n" + PLAIN)
    assert value(server, "embedded", "sys.path[0]") == "/no/such/folder"
    # Ours says so.
    server.tolerate_log("WSGI0095.*/no/such/folder")


# The switch interval


@pytest.mark.parametrize(
    ("path", "wanted"), [("embedded", 0.125), ("daemon", 0.125), ("own", 0.25)]
)
def test_switch_interval(configured, path, wanted):
    """The server's holds in daemon processes, too, unless the group has its own."""
    assert value(configured, path, "sys.getswitchinterval()") == wanted


@pytest.mark.difference("the group's own interval is never replaced by the server's")
def test_switch_interval_after_another_application_group(configured):
    assert value(configured, "own", "sys.getswitchinterval()") == 0.25
    wanted = differs(upstream=0.125, ours=0.25)
    assert value(configured, "sub", "sys.getswitchinterval()") == wanted
    assert value(configured, "own", "sys.getswitchinterval()") == wanted
    # As it was, for the other tests.
    assert value(configured, "own", "sys.setswitchinterval(0.25)") is None


def test_default_switch_interval(plain, mode):
    assert value(plain, mode, "sys.getswitchinterval()") == 0.005


# The end


LAST = """
import atexit

atexit.register(print, "the last word", flush=True)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"still here"]
"""


@pytest.mark.parametrize("value_", ["On", "Off"])
def test_destroy_interpreter(server_factory, mode, value_):
    server = server_factory(
        f"""
WSGIDestroyInterpreter {value_}
WSGIDaemonProcess main threads=1
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias /embedded ${{ROOT}}/last/app.wsgi
WSGIScriptAlias /daemon ${{ROOT}}/last/app.wsgi process-group=main
<Directory ${{ROOT}}/last>
    Require all granted
</Directory>
""",
        start=False,
    )
    server.write("last/app.wsgi", LAST)
    server.start()
    assert server.get(f"/{mode}").text == "still here"
    assert server.stop() == []
    if value_ == "On":
        server.expect_log("the last word", count=1)
    else:
        assert not server.find_log("the last word")


# What the application may see


@pytest.mark.parametrize("setting", ["On", "Off"])
def test_request_is_passed_in_embedded_mode(server_factory, mode, setting):
    server = server_factory(f"WSGIPassApacheRequest {setting}\n{PLAIN}")
    kind = value(server, mode, "type(environ.get('apache.request_rec')).__name__")
    assert kind == ("PyCapsule" if (setting, mode) == ("On", "embedded") else "NoneType")


# HEAD

HEADS = """
WSGIDaemonProcess main threads=2
WSGIApplicationGroup %{GLOBAL}
Define ENVIRON ${APPS}/environ/app.wsgi
<Macro Everything $mode $group>
    WSGIScriptAlias /$mode ${ENVIRON} process-group=$group
    <Location /$mode/on>
        WSGIMapHEADToGET On
    </Location>
    <Location /$mode/off>
        WSGIMapHEADToGET Off
    </Location>
    <Location /$mode/auto>
        WSGIMapHEADToGET Auto
    </Location>
    <LocationMatch ^/$mode/[a-z]+/deflate>
        SetOutputFilter DEFLATE
    </LocationMatch>
</Macro>
Use Everything embedded %{GLOBAL}
Use Everything daemon main
"""


@pytest.fixture(scope="module")
def heads(module_server_factory):
    return module_server_factory(HEADS, modules=("macro", "deflate", "filter"))


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("on", "GET"),
        ("on/deflate", "GET"),
        ("off", "HEAD"),
        ("off/deflate", "HEAD"),
        ("auto", "HEAD"),
        ("auto/deflate", "GET"),
        ("default", "HEAD"),
        ("default/deflate", "GET"),
    ],
)
def test_head(heads, mode, path, seen):
    """By default it is GET for the application where a filter has to see the body."""
    response = heads.request(f"/{mode}/{path}", method="HEAD")
    assert (response.status, response.body) == (200, b"")
    assert response.header("X-Method") == seen


@pytest.mark.parametrize("path", ["on", "on/deflate", "off", "auto/deflate"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_other_methods_are_not_mapped(heads, mode, path, method):
    response = heads.request(f"/{mode}/{path}", method=method)
    assert (response.status, response.header("X-Method")) == (200, method)


# Errors and bodies

ERRORS = """
WSGIDaemonProcess main threads=2
WSGIApplicationGroup %{GLOBAL}
ErrorDocument 401 "the server's word"
ErrorDocument 404 "the server's word"
ErrorDocument 500 "the server's word"
ErrorDocument 503 "the server's word"
<Macro Everything $mode $group>
    WSGIScriptAlias /$mode ${APPS}/respond/app.wsgi process-group=$group
    WSGIScriptAlias /$mode-echo ${APPS}/input-echo/app.wsgi process-group=$group
    <Location /$mode/on>
        WSGIErrorOverride On
    </Location>
    <Location /$mode/off>
        WSGIErrorOverride Off
    </Location>
    <Location /$mode-echo/on>
        WSGIChunkedRequest On
    </Location>
    <Location /$mode-echo/off>
        WSGIChunkedRequest Off
    </Location>
</Macro>
Use Everything embedded %{GLOBAL}
Use Everything daemon main
"""


@pytest.fixture(scope="module")
def overriding(module_server_factory):
    return module_server_factory(ERRORS, modules=("macro",))


@pytest.mark.parametrize(
    ("status", "is_error"),
    [
        ("200 OK", False),
        ("302 Found", False),
        ("404 Not Found", True),
        ("500 Internal Server Error", True),
        ("503 Service Unavailable", True),
    ],
)
@pytest.mark.parametrize("setting", ["on", "off", "default"])
def test_error_override(overriding, mode, setting, status, is_error):
    """In daemon mode only, as in mod_wsgi."""
    answer = (
        status,
        [("Content-Type", "text/plain"), ("X-Mine", "1")],
        [b"the application's word"],
    )
    response = overriding.get(f"/{mode}/{setting}?{quote(repr(answer))}")
    assert response.status == int(status[:3])
    overridden = is_error and setting == "on" and mode == "daemon"
    assert response.text == ("the server's word" if overridden else "the application's word")


@pytest.mark.parametrize("setting", ["on", "off"])
def test_what_error_override_keeps(overriding, mode, setting):
    """The challenges of a 401, without which a client does not know what to do. What else there is
    belongs to the body, and is dropped with it."""
    challenges = ['Basic realm="mine"', "Negotiate"]
    headers = [
        ("Content-Type", "text/plain"),
        ("Content-Length", "22"),
        ("Cache-Control", "max-age=60"),
        ("Set-Cookie", "a=1"),
        ("X-Mine", "1"),
        *(("WWW-Authenticate", challenge) for challenge in challenges),
    ]
    answer = ("401 Who Is It", headers, [b"the application's word"])
    response = overriding.get(f"/{mode}/{setting}?{quote(repr(answer))}")
    assert response.status == 401
    assert response.header_values("WWW-Authenticate") == challenges
    found = [response.header(name) for name in ("Cache-Control", "Set-Cookie", "X-Mine")]
    if setting == "off" or mode == "embedded":
        assert (response.reason, response.text) == ("Who Is It", "the application's word")
        assert found == ["max-age=60", "a=1", "1"]
    else:
        assert (response.reason, response.text) == ("Unauthorized", "the server's word")
        assert found == [None, None, None]


@pytest.mark.parametrize("setting", ["on", "off", "default"])
def test_chunked_request(overriding, mode, setting):
    response = overriding.post(f"/{mode}-echo/{setting}", iter([b"a ", b"body"]))
    if setting == "on":
        assert (response.status, response.body) == (200, b"a body")
    else:
        assert response.status == 411
        overriding.expect_log("WSGI0139", count=1)


@pytest.mark.parametrize("setting", ["on", "off"])
def test_body_of_known_length(overriding, mode, setting):
    response = overriding.post(f"/{mode}-echo/{setting}", b"a body")
    assert (response.status, response.body) == (200, b"a body")


@pytest.mark.parametrize("setting", ["On", "Off"])
def test_sendfile(server_factory, mode, setting):
    server = server_factory(
        f"""
WSGIEnableSendfile {setting}
EnableSendfile On
WSGIDaemonProcess main threads=1
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias /embedded ${{APPS}}/file-by-name/app.wsgi
WSGIScriptAlias /daemon ${{APPS}}/file-by-name/app.wsgi process-group=main
""",
        start=False,
    )
    content = os.urandom(300_000)
    path = server.write("htdocs/large.bin", content)
    server.start()
    response = server.get(f"/{mode}?{path}")
    assert (response.status, response.body) == (200, content)
