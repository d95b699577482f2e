# SPDX-License-Identifier: Apache-2.0
"""Hooks: functions of scripts that httpd asks before it serves a request."""

import os
import threading

import daemon as protocol
import pytest
from daemon import ACCESS, DISPATCH, FAILED, GROUPS, NO, PASSWORD, REALM_HASH, UNKNOWN, YES

pytestmark = pytest.mark.both_modes

# The hook, its function, and the arguments that it is called with here.
FUNCTIONS = {
    ACCESS: ("allow_access", [b"192.0.2.1"]),
    PASSWORD: ("check_password", [b"user", b"secret"]),
    REALM_HASH: ("get_realm_hash", [b"user", b"realm"]),
    GROUPS: ("groups_for_user", [b"user"]),
}


class Answer:
    """Asks a hook whose function has this body."""

    def __init__(self, process, script):
        self.process = process
        self.write = script

    def script(self, hook, body, before=""):
        lines = "".join(f"\n    {line}" for line in body.splitlines())
        return self.write(f"{before}\ndef {FUNCTIONS[hook][0]}(environ, *arguments):{lines}\n")

    def __call__(self, hook, body, before="", **options):
        path = self.script(hook, body, before)
        return self.process.ask(hook, path, *FUNCTIONS[hook][1], **options)


@pytest.fixture
def answer(start, script):
    return Answer(start(), script)


def told(response):
    return response.answer, response.values


def test_what_is_returned(answer):
    for hook, returned, outcome, values in [
        (ACCESS, "True", YES, []),
        (ACCESS, "False", NO, []),
        (ACCESS, "None", UNKNOWN, []),
        (PASSWORD, "True", YES, []),
        (PASSWORD, "False", NO, []),
        (PASSWORD, "None", UNKNOWN, []),
        (PASSWORD, "'other'", YES, [b"other"]),
        (PASSWORD, "'J\\u00f6rg\\u20ac'", YES, ["J\u00f6rg\u20ac".encode()]),
        (REALM_HASH, "None", UNKNOWN, []),
        (REALM_HASH, "'0123abcd'", YES, [b"0123abcd"]),
        (REALM_HASH, "b'0123abcd'", YES, [b"0123abcd"]),
        (REALM_HASH, "'\\xe4'", YES, [b"\xe4"]),
        (GROUPS, "['a', b'b', 'gr\\xfcn']", YES, [b"a", b"b", b"gr\xfcn"]),
        (GROUPS, "iter(('a', 'b'))", YES, [b"a", b"b"]),
        (GROUPS, "[]", YES, []),
        (GROUPS, "'ab'", YES, [b"a", b"b"]),
    ]:
        response = answer(hook, f"return {returned}")
        assert told(response) == (outcome, values), (returned, response.log())
        assert [text for level, text in response.logs if level < 6] == [], returned


def test_what_must_not_be_returned(answer):
    for hook, returned, number in [
        (ACCESS, "1", "WSGI0055"),
        (ACCESS, "'yes'", "WSGI0055"),
        (PASSWORD, "1", "WSGI0177"),
        (PASSWORD, "0", "WSGI0177"),
        (PASSWORD, "b'user'", "WSGI0177"),
        (PASSWORD, "'a\\0b'", "WSGI0177"),
        (PASSWORD, "''", "WSGI0176"),
        (PASSWORD, "'\\ud800'", "WSGI0174"),
        (REALM_HASH, "True", "WSGI0179"),
        (REALM_HASH, "''", "WSGI0178"),
        (REALM_HASH, "b''", "WSGI0178"),
        (REALM_HASH, "'\\u20ac'", "WSGI0174"),
        (GROUPS, "None", "WSGI0051"),
        (GROUPS, "1", "WSGI0051"),
        (GROUPS, "['a', 1]", "WSGI0050"),
        (GROUPS, "b'ab'", "WSGI0050"),
        (GROUPS, "['a', '\\u20ac']", "WSGI0049"),
    ]:
        response = answer(hook, f"return {returned}")
        assert told(response) == (FAILED, []), returned
        (problem,) = [text for level, text in response.logs if level == 3]
        assert problem.startswith(number), returned
        assert number == "WSGI0174" or f"{FUNCTIONS[hook][0]}() of the script" in problem


def test_an_exception_is_logged_with_its_traceback(answer):
    for hook, (name, _) in FUNCTIONS.items():
        response = answer(hook, "raise ValueError('no database')")
        assert told(response) == (FAILED, [])
        assert "ValueError exception raised in" in response.log()
        assert f"in {name}\n" in response.log()
        assert response.log().endswith("ValueError: no database")


def test_sys_exit_is_an_exception_like_others(answer):
    response = answer(ACCESS, "sys.exit(3)", "import sys")
    assert response.answer == FAILED and "WSGI0175" in response.log()
    assert answer(ACCESS, "return True").answer == YES


def test_a_function_that_is_not_there(start, script):
    process = start()
    path = script("x = 1")
    numbers = {ACCESS: "0056", PASSWORD: "0043", REALM_HASH: "0046", GROUPS: "0052"}
    for hook, (name, arguments) in FUNCTIONS.items():
        response = process.ask(hook, path, *arguments)
        assert told(response) == (FAILED, [])
        assert f"WSGI{numbers[hook]}: " in response.log()
        assert f"has no function {name}()" in response.log()


def test_a_script_that_does_not_load(start, script):
    process = start()
    for source, number in [
        ("1 +", "WSGI0105"),
        ("import sys; sys.exit()", "WSGI0107"),
        ("raise OSError", "WSGI0109"),
    ]:
        path = script(source)
        for hook, (_, arguments) in FUNCTIONS.items():
            response = process.ask(hook, path, *arguments)
            assert told(response) == (FAILED, []) and number in response.log()
        response = process.ask(DISPATCH, path)
        assert told(response) == (UNKNOWN, []) and number in response.log()


def test_groups_before_an_exception_count(answer):
    response = answer(GROUPS, "yield 'a'\nyield 'b'\nraise KeyError(1)")
    assert told(response) == (YES, [b"a", b"b"]) and "KeyError: 1" in response.log()


def test_iter_that_raises_is_logged(answer):
    before = "class Broken:\n    def __iter__(self):\n        raise KeyError('store')"
    response = answer(GROUPS, "return Broken()", before)
    assert told(response) == (FAILED, []) and "KeyError: 'store'" in response.log()


def test_an_answer_beyond_a_frame_is_refused(answer):
    response = answer(GROUPS, "return ['g' * 50] * 6000")
    assert told(response) == (FAILED, []) and "too large" in response.log()
    response = answer(GROUPS, "return [''] * 40_000")
    assert told(response) == (YES, [b""] * 40_000)


def test_groups_without_end_are_refused(answer):
    for item in ("'g' * 1000", "''"):
        response = answer(GROUPS, f"import itertools\nreturn itertools.repeat({item})")
        assert told(response) == (FAILED, []) and "too large" in response.log()


def test_arguments_and_environ(answer, mode):
    body = """\
assert arguments == ("user",)
assert environ["HTTPS"] == "on" and environ["PATH"] == "/bin"
known = {key: environ.pop(key) for key in list(environ) if "." in key}
assert all(type(value) is str for value in environ.values())
assert type(known["apache.version"]) is type(known["mod_wsgi.version"]) is tuple
print("to the log", file=known["wsgi.errors"])
return known
"""
    environ = {"HTTPS": "on", "PATH": "/bin"}
    for passed in (True, False):
        response = answer(GROUPS, body, environ=environ, pass_request=passed)
        keys = {value.decode() for value in response.values if value[:9] != b"mod_wsgi."}
        expected = {"apache.version", "mod_ssl.is_https", "mod_ssl.var_lookup", "wsgi.errors"}
        if passed and mode is protocol.Embedded:
            expected.add("apache.request_rec")
        assert keys == expected, response.log()
        assert (3, "to the log") in response.logs
    text = "assert arguments == ('J\\xc3\\xb6rg', '\\xff:'), arguments\nreturn True"
    path = answer.script(PASSWORD, text)
    assert answer.process.ask(PASSWORD, path, "J\u00f6rg".encode(), b"\xff:").answer == YES


def test_variables_of_mod_ssl(answer):
    body = """\
is_https, look_up = environ["mod_ssl.is_https"], environ["mod_ssl.var_lookup"]
assert look_up("SSL_NONE") is look_up("") is look_up(b"x" * 1000) is None
for wrong in (1, None):
    try:
        look_up(wrong)
    except TypeError:
        pass
    else:
        raise AssertionError
return [repr(is_https()), look_up("SSL_CIPHER"), look_up(b"SSL_DN")]
"""
    variables = {b"": b"", b"SSL_CIPHER": b"AES", b"SSL_DN": b"\xe4"}
    response = answer(GROUPS, body, variables=variables)
    assert response.values == [b"1", b"AES", b"\xe4"], response.log()
    assert response.lookups[:1] == [b"SSL_NONE"]
    assert response.lookups[-3:] == [b"", b"SSL_CIPHER", b"SSL_DN"]
    response = answer(GROUPS, "return [repr(environ['mod_ssl.is_https']())]")
    assert response.values == [b"0"]


def test_what_was_kept_of_a_hook_raises_later(start, script):
    path = script("""
        kept = []
        def allow_access(environ, host):
            if kept:
                for use in kept[0]:
                    try:
                        use()
                    except RuntimeError as error:
                        print("refused:", error)
                    else:
                        return False
                return True
            kept.append([
                environ["mod_ssl.is_https"],
                lambda: environ["mod_ssl.var_lookup"]("x"),
                lambda: environ["wsgi.errors"].write("x\\n"),
            ])
    """)
    process = start()
    with process.connect() as connection:
        assert connection.ask(ACCESS, path, b"host").answer == UNKNOWN
        response = connection.ask(ACCESS, path, b"host")
    assert response.answer == YES and response.log().count("refused:") == 3
    assert response.lookups == []


def test_dispatch(start, script):
    process = start()
    path = script("""
        def process_group(environ):
            assert environ["HTTPS"] == "on" and environ["PATH"] == "/bin"
            assert environ["mod_wsgi.x-script_reloading"] == "1"
            for absent in ("apache.version", "mod_wsgi.version", "mod_ssl.is_https"):
                assert absent not in environ
            environ["wsgi.errors"].write("asked\\n")
            return "gr\\xfcn"
        def callable_object(environ):
            return b"other"
    """)
    environ = {"HTTPS": "on", "PATH": "/bin", "mod_wsgi.x-script_reloading": "1"}
    response = process.ask(DISPATCH, path, environ=environ)
    assert told(response) == (YES, [b"gr\xfcn", None, b"other"]), response.log()
    assert (3, "asked") in response.logs
    everything = "process_group = application_group = callable_object = lambda environ: None"
    assert told(process.ask(DISPATCH, script(everything))) == (YES, [None] * 3)
    assert told(process.ask(DISPATCH, script(""))) == (YES, [None] * 3)


def test_a_dispatch_function_that_fails_is_the_last(start, script):
    process = start()
    for returned in ("1", "'\\u20ac'", "1 / 0", "['x']", "True"):
        path = script(f"""
            def process_group(environ):
                return "group"
            def application_group(environ):
                return {returned}
            def callable_object(environ):
                print("not asked")
        """)
        response = process.ask(DISPATCH, path)
        assert told(response) == (FAILED, []), returned
        assert "WSGI0174" in response.log() and "not asked" not in response.log()


def test_a_changed_script_is_loaded_again_in_place(start, script):
    process = start()
    path = script("import os\ndef groups_for_user(environ, user): return [str(os.getpid())]")
    (before,) = process.ask(GROUPS, path, b"user").values
    path.write_text(
        "import os\n"
        "def reload_required(path): raise AssertionError('this is for applications')\n"
        "def groups_for_user(environ, user): return [str(os.getpid()), 'new']\n"
    )
    os.utime(path, ns=(1, 1_000_000_000))
    unchanged = process.ask(GROUPS, path, b"user", reloading=False)
    assert unchanged.values == [before]
    response = process.ask(GROUPS, path, b"user")
    assert response.values == [before, b"new"] and "Reloading" in response.log()
    again = process.ask(GROUPS, path, b"user")
    assert again.values == [before, b"new"] and again.logs == []


def test_interpreters(start, script, mode):
    path = script("""
        import mod_wsgi
        def groups_for_user(environ, user):
            return [mod_wsgi.application_group]
    """)
    process = start(interpreters=True)
    for group in ("", "other"):
        assert process.ask(GROUPS, path, b"user", group=group).values == [group.encode()]


def test_an_interpreter_that_can_not_be_had(start, script, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if os.path.exists(__file__ + '.broken'):\n"
        "    sys.modules['threading'] = None\n"
    )
    process = start(interpreters=True, env={"PYTHONPATH": str(tmp_path)})
    (tmp_path / "sitecustomize.py.broken").touch()
    response = process.ask(PASSWORD, script("x = 1"), b"user", b"password", group="other")
    assert told(response) == (FAILED, [])
    assert "WSGI0042" in response.log()
    assert "WSGI0035" in process.log("WSGI0035")


def test_hooks_and_requests_share_a_connection(start, script):
    path = script("""
        import threading
        def check_password(environ, user, password):
            return threading.current_thread().ident == environ.setdefault("ident", 0) or True
        def application(environ, start_response):
            start_response("200 OK", [])
            return [environ["wsgi.input"].read()]
    """)
    process = start()
    with process.connect() as connection:
        for _ in range(3):
            assert connection.ask(PASSWORD, path, b"user", b"password").answer == YES
            response = connection.request(path, b"body")
            assert (response.status, response.body) == (200, b"body")


def test_hooks_run_at_the_same_time(start, script):
    path = script("""
        import threading
        barrier = threading.Barrier(2)
        def allow_access(environ, host):
            barrier.wait(20)
            return True
    """)
    process = start()
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(process.ask(ACCESS, path, b"h").answer))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(protocol.DEADLINE)
    assert answers == [YES, YES]


@pytest.mark.daemon_only
def test_hooks_are_marked_and_not_counted(start, script, hello):
    path = script("def allow_access(environ, host): return True")
    process = start(maximum_requests=2)
    for mark in (1, 2, 3):
        assert process.ask(ACCESS, path, b"host", slot=1, mark=mark).answer == YES
        assert process.region.mark(1) == mark
    assert process.ask(ACCESS, script("x = 1"), b"host", slot=1, mark=9).answer == FAILED
    assert process.region.mark(1) == 3
    assert process.request(hello).status == 200
    process.control.setblocking(False)
    with pytest.raises(BlockingIOError):
        process.told()
    process.control.settimeout(protocol.DEADLINE)
    assert process.request(hello).status == 200
    assert process.told()[0] == protocol.REPLACE


@pytest.mark.daemon_only
def test_a_child_that_does_not_answer_a_lookup(start, script):
    path = script("""
        def allow_access(environ, host):
            try:
                environ["mod_ssl.is_https"]()
            except OSError as error:
                print(error)
            return True
    """)
    process = start()
    with process.connect() as connection:
        connection.send_request(path, protocol.struct.pack("<HI", 1, 1) + b"h", hook=ACCESS)
        while connection.frame()[0] != protocol.LOOKUP:
            pass
    assert "can not be had: the connection to httpd broke" in process.log("broke")
    assert process.ask(ACCESS, path, b"host").answer == YES


def test_the_request_record_of_an_application(start, script, mode):
    path = script("""
        def application(environ, start_response):
            start_response("200 OK", [])
            return [type(environ.get("apache.request_rec")).__name__.encode()]
    """)
    process = start()
    kind = b"PyCapsule" if mode is protocol.Embedded else b"NoneType"
    assert process.request(path, pass_request=True).body == kind
    assert process.request(path).body == b"NoneType"


def test_the_resource_of_a_handler_script(start, script):
    path = script("""
        asked = []
        def reload_required(path):
            asked.append(path)
        def handle_request(environ, start_response):
            start_response("200 OK", [])
            return [repr(asked).encode()]
    """)
    process = start()
    options = {"callable_object": "handle_request", "mtime": -1}
    assert process.request(path, resource="/srv/page.html", **options).body == b"[]"
    response = process.request(path, resource="/srv/page.html", **options)
    assert response.body == b"['/srv/page.html']"
    assert process.request(path, **options).body == f"['/srv/page.html', '{path}']".encode()


def test_mod_ssl_behind_start_response(start, script, mode):
    path = script("""
        def application(environ, start_response):
            adapter = start_response.__self__
            values = adapter.ssl_is_https(), adapter.ssl_var_lookup("SSL_CIPHER")
            start_response("200 OK", [])
            return [repr(values).encode()]
    """)
    with start().connect() as connection:
        connection.send_request(path)
        response = connection.response(variables={b"": b"", b"SSL_CIPHER": b"AES"})
    # An application in a daemon process has no connection to look at.
    assert response.body == (b"(1, 'AES')" if mode is protocol.Embedded else b"(0, None)")
