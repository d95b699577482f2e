# SPDX-License-Identifier: Apache-2.0
"""The WSGI protocol as an application sees it, over the frames of a daemon process."""

import os
import signal

import pytest
from daemon import BODY, DATA, ERROR, FILE, HEAD, LOG, PULL, wait_for

LARGE = 300_000

pytestmark = pytest.mark.both_modes


def application(body: str, before: str = "") -> str:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return f"{before}\ndef application(environ, start_response):\n{lines}"


@pytest.fixture
def run(start, script):
    """Runs one request for an application with this body."""

    def run(body, before="", settings=None, data=b"", **options):
        daemon = start(**(settings or {}))
        return daemon.request(script(application(body, before)), data, **options)

    return run


OK = "start_response('200 OK', [])\n"


# Output


@pytest.mark.parametrize(
    "returned, length, body",
    [
        ("[b'abc']", "3", b"abc"),
        ("(b'a', b'', b'bc')", "3", b"abc"),
        ("[]", "0", b""),
        ("[b'']", "0", b""),
    ],
)
def test_a_list_is_one_frame_with_its_length(run, returned, length, body):
    response = run(OK + f"return {returned}")
    assert response.body == body and response.complete
    assert response.header("Content-Length") == length
    assert [kind for kind in response.frames if kind != LOG] == [HEAD]


def test_a_length_that_was_given_is_kept(run):
    response = run("start_response('200 OK', [('content-length', '3')])\nreturn [b'abcdef']")
    assert response.headers == [("content-length", "3")]
    assert response.body == b"abc" and response.complete


def test_a_body_that_is_too_short_is_incomplete(run):
    for returned in ("[b'abc']", "iter([b'abc'])", "[]", "iter([])"):
        given = "start_response('200 OK', [('Content-Length', '5')])\n"
        response = run(given + f"return {returned}")
        assert response.status == 200 and not response.complete, returned


def test_a_head_request_may_have_a_length_without_body(run):
    response = run(
        "start_response('200 OK', [('Content-Length', '5')])\nreturn []",
        environ={"REQUEST_METHOD": "HEAD"},
    )
    assert response.complete


def test_no_length_is_made_up_for_head(run):
    response = run(OK + "return []", environ={"REQUEST_METHOD": "HEAD"})
    assert response.header("Content-Length") is None


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_status_without_body_gets_no_length(run, status):
    response = run(f"start_response({status!r}, [])\nreturn []")
    assert response.header("Content-Length") is None and response.complete


def test_a_large_body_is_divided_into_frames(run):
    for returned in (f"[b'x' * {LARGE}, b'y']", f"iter([b'x' * {LARGE}, b'y'])"):
        response = run(OK + f"return {returned}")
        assert response.body == b"x" * LARGE + b"y" and response.complete
        assert DATA in response.frames


def test_blocks_of_a_generator_go_as_they_come(start, script):
    daemon = start()
    path = script("""
        import os, time
        def application(environ, start_response):
            gate = environ["QUERY_STRING"]
            start_response("200 OK", [])
            yield b"one"
            while not os.path.exists(gate):
                time.sleep(0.01)
            yield b""
            yield b"two"
    """)
    gate = path.with_suffix(".gate")
    with daemon.connect() as connection:
        connection.send_request(path, environ={"QUERY_STRING": str(gate)})
        while (frame := connection.frame())[0] == LOG:
            pass
        assert frame[0] == HEAD and frame[2].endswith(b"one")
        gate.touch()
        assert connection.frame() == (DATA, 0, b"two")
        assert connection.response().complete


def test_write_and_iterable_are_both_sent(run):
    response = run("write = start_response('200 OK', [])\nwrite(b'a')\nwrite(b'b')\nreturn [b'c']")
    assert response.body == b"abc" and response.complete


def test_an_empty_write_commits_the_head(run):
    body = "w = start_response('200 OK', [])\nw(b'')\nstart_response('201 C', [])\nreturn []"
    response = run(body)
    assert "RuntimeError" in response.log()
    assert response.status == 200 and not response.complete


def test_start_response_may_be_replaced_until_output(run):
    response = run(OK + "start_response('404 No', [('X', 'y')])\nreturn [b'n']")
    assert (response.status, response.header("X")) == (404, "y")


def test_exc_info_after_output_raises_it_again(run):
    response = run(
        """
w = start_response('200 OK', [])
w(b'x')
try:
    raise KeyError('mine')
except KeyError:
    import sys
    start_response('500 Oops', [], sys.exc_info())
"""
    )
    assert "KeyError: 'mine'" in response.log()
    assert not response.complete


def test_a_generator_may_start_the_response_late(run):
    response = run("start_response('200 OK', [('X', '1')])\nyield b''\nyield b'late'")
    assert response.body == b"late" and response.complete


@pytest.mark.parametrize(
    "body, exception",
    [
        ("return [b'x']", "RuntimeError"),
        ("return iter([b'x'])", "RuntimeError"),
        ("return []", "RuntimeError"),
        ("return iter([])", "RuntimeError"),
        (OK + "return None", "TypeError"),
        (OK + "return 'text'", "TypeError"),
        (OK + "return b'bytes'", "TypeError"),
        (OK + "return ['text']", "TypeError"),
        (OK + "return [bytearray(b'x')]", "TypeError"),
        (OK + "return iter([1])", "TypeError"),
        ("start_response(b'200 OK', [])", "TypeError"),
        ("start_response('200 OK', ())", "TypeError"),
        ("start_response('200 OK', [['a', 'b']])", "TypeError"),
        ("start_response('200 OK', [('a', 'b', 'c')])", "ValueError"),
        ("start_response('200 OK', [('a', 1)])", "TypeError"),
        ("start_response('200 OK', [(b'a', 'b')])", "TypeError"),
        ("start_response('200 OK', [('a', '\\u20ac')])", "UnicodeEncodeError"),
        ("start_response('200 OK', [('a', '\\ud800')])", "UnicodeEncodeError"),
        ("start_response('200 OK', [('a:b', 'x')])", "ValueError"),
        ("start_response('200 OK', [('a', 'x\\r\\ny: z')])", "ValueError"),
        ("start_response('200 OK', [('a', 'x\\0')])", "ValueError"),
        ("start_response('2OO OK', [])", "ValueError"),
        ("start_response('200 O\\nK', [])", "ValueError"),
        ("start_response('200 OK')", "TypeError"),
        ("start_response(status='200 OK', headers=[])", "TypeError"),
        ("start_response('200 OK', [], 'exc')", "RuntimeError"),
        ("start_response('200 OK', [])('text')", "TypeError"),
        ("start_response('200 OK', [('Content-Length', '-1')])\nreturn [b'x']", "ValueError"),
        ("raise KeyboardInterrupt()", "KeyboardInterrupt"),
        ("class Mine(BaseException): pass\nraise Mine()", "Mine"),
        ("return 1 / 0", "ZeroDivisionError"),
    ],
)
def test_what_fails_before_output_is_an_error_document(run, body, exception):
    response = run(body)
    assert response.error == 500 and response.frames[-1] == ERROR
    assert "WSGI0174" in response.log() and exception in response.log()
    assert ("Traceback" in response.log()) == (body.count("return") == 0 or "/" in body)


def test_sys_exit_is_logged_and_the_process_goes_on(start, script):
    daemon = start()
    path = script(application("import sys\nsys.exit(3)"))
    for _ in range(2):
        response = daemon.request(path)
        assert response.error == 500 and "WSGI0175" in response.log()


def test_what_fails_after_output_is_incomplete(run):
    response = run(OK + "yield b'part'\nraise ValueError('late')")
    assert response.body == b"part" and not response.complete
    assert "ValueError: late" in response.log()


def test_a_list_that_fails_late_sends_what_stands_before(run):
    response = run(OK + "return [b'part', 'text']")
    assert response.body == b"part" and not response.complete


def test_request_timeout_is_504_and_no_traceback(run):
    response = run("import mod_wsgi\nraise mod_wsgi.RequestTimeout()")
    assert (response.status, response.body, response.complete) == (504, b"", True)
    assert "Traceback" not in response.log()


CLOSING = """
class Closing:
    def __init__(self, blocks, log, fail=False):
        self.blocks, self.log, self.fail = blocks, log, fail
    def __iter__(self):
        for block in self.blocks:
            if isinstance(block, Exception):
                raise block
            yield block
    def close(self):
        print("closed", file=self.log)
        if self.fail:
            raise OSError("in close")
"""


@pytest.mark.parametrize("blocks", ["[b'a']", "[]", "[b'a', ValueError()]", "[ValueError()]"])
def test_close_is_called_in_every_case(run, blocks):
    body = OK + f"return Closing({blocks}, environ['wsgi.errors'])"
    assert "closed" in run(body, CLOSING).log()


def test_close_that_fails_does_not_change_the_response(run):
    body = OK + "return Closing([b'a'], environ['wsgi.errors'], True)"
    response = run(body, CLOSING)
    assert response.body == b"a" and response.complete
    assert "OSError: in close" in response.log()


def test_a_client_that_is_gone_ends_the_iteration(start, script):
    daemon = start(threads=1)
    path = script("""
        import sys
        class Endless:
            def __init__(self, path): self.path = path
            def __iter__(self): return self
            def __next__(self): return b"x" * 10_000
            def close(self): open(self.path, "w").close()
        def application(environ, start_response):
            start_response("200 OK", [])
            return Endless(environ["QUERY_STRING"])
    """)
    closed = path.with_suffix(".closed")
    with daemon.connect() as connection:
        connection.send_request(path, environ={"QUERY_STRING": str(closed)})
        connection.frame()
    assert daemon.request(script(application(OK + "return []"))).complete
    wait_for(closed.exists)


def test_write_to_a_client_that_is_gone_raises(start, script):
    daemon = start(threads=1)
    path = script("""
        def application(environ, start_response):
            write = start_response("200 OK", [])
            try:
                while True:
                    write(b"x" * 10_000)
            except OSError as error:
                print("write failed:", error)
                raise
    """)
    with daemon.connect() as connection:
        connection.send_request(path)
        connection.frame()
    assert "write failed" in daemon.log("write failed")
    assert "WSGI0174" in daemon.log("WSGI0174")


def test_objects_of_a_request_raise_after_it(start, script):
    daemon = start(threads=1)
    path = script("""
        kept = []
        def attempt(function, *arguments):
            try:
                function(*arguments)
            except RuntimeError:
                return "RuntimeError"
            return "nothing"
        def application(environ, start_response):
            results = []
            if kept:
                last, last_start, last_write = kept
                results = [
                    attempt(last["wsgi.input"].read),
                    attempt(last["wsgi.input"].close),
                    attempt(last["wsgi.errors"].write, "late\\n"),
                    attempt(last_start, "200 OK", []),
                    attempt(last_write, b"late"),
                ]
            write = start_response("200 OK", [])
            kept[:] = environ, start_response, write
            return [repr(results).encode()]
    """)
    daemon.request(path)
    response = daemon.request(path)
    assert response.body == repr(["RuntimeError"] * 5).encode()
    assert "late" not in response.log()


# Input

READ = OK + "return [environ['wsgi.input'].read()]"


def test_a_body_that_is_whole_is_never_asked_for(run):
    response = run(READ, data=b"all")
    assert response.body == b"all" and PULL not in response.frames


def test_a_body_is_asked_for_when_it_is_read(run):
    response = run(READ, data=b"one", rest=[b"two", b"three"])
    assert response.body == b"onetwothree" and len(response.pulls) == 2


def test_a_body_that_is_not_read_is_not_asked_for(run):
    response = run(OK + "return [b'x']", data=b"one", rest=[b"two"])
    assert response.body == b"x" and not response.pulls


def test_short_reads_ask_for_more_at_once(run):
    body = (
        OK + "i = environ['wsgi.input']\nreturn [repr([i.read(2), i.read(5), i.read(9)]).encode()]"
    )
    response = run(body, data=b"abc", rest=[b"defghijk"])
    assert response.body == b"[b'ab', b'cdefg', b'hijk']"
    assert response.pulls == [64 << 10]


def test_a_large_body(run):
    data = os.urandom(3 << 20)
    body = "import hashlib\nd = environ['wsgi.input'].read()\n" + OK
    response = run(body + "return [hashlib.sha1(d).hexdigest().encode()]", rest=[data])
    import hashlib

    assert response.body == hashlib.sha1(data).hexdigest().encode()


@pytest.mark.parametrize("rest", [(), (b"o\nthr", b"ee\nfour")])
def test_lines(run, rest):
    data = b"one\ntw" + (b"o\nthree\nfour" if not rest else b"")
    for expression, expected in [
        ("list(i)", [b"one\n", b"two\n", b"three\n", b"four"]),
        ("i.readlines()", [b"one\n", b"two\n", b"three\n", b"four"]),
        ("i.readlines(5)", [b"one\n", b"two\n"]),
        (
            "[i.readline(2), i.readline(), i.readline(0), i.read()]",
            [b"on", b"e\n", b"", b"two\nthree\nfour"],
        ),
        (
            "[i.readline(-1), i.read(0), i.read(-1), i.read(), i.readline()]",
            [b"one\n", b"", b"two\nthree\nfour", b"", b""],
        ),
    ]:
        body = OK + f"i = environ['wsgi.input']\nreturn [repr({expression}).encode()]"
        response = run(body, data=data, rest=rest)
        assert response.body == repr(expected).encode(), expression


def test_the_first_read_of_nothing_asks_for_the_body_to_begin(run):
    body = "i = environ['wsgi.input']\ni.read(0)\ni.read(0)\n" + OK + "return [i.read()]"
    response = run(body, rest=[b"late"])
    assert response.pulls[0] == 0 and response.pulls.count(0) == 1
    assert response.body == b"late"


def test_a_body_that_can_not_be_read_is_an_os_error_that_stays(run):
    body = """
i = environ['wsgi.input']
errors = []
for _ in range(2):
    try:
        i.read()
    except OSError as error:
        errors.append(str(error))
start_response('200 OK', [])
return ['|'.join(errors).encode()]
"""
    response = run(body, rest=[b"part", 1])
    first, second = response.body.decode().split("|")
    assert first == second and first.startswith("mod_wsgi request data read error:")


@pytest.mark.daemon_only
def test_a_child_that_goes_during_the_body_is_an_os_error(start, script):
    daemon = start(threads=1)
    path = script(
        application("try:\n    environ['wsgi.input'].read()\nfinally:\n    print('over')")
    )
    with daemon.connect() as connection:
        connection.send_request(path, pulled=True)
        while connection.frame()[0] != PULL:
            pass
    log = daemon.log("request data read error")
    assert "over" in log
    assert daemon.request(script(application(OK + "return []"))).complete


@pytest.mark.daemon_only
def test_a_frame_that_is_no_answer_breaks_the_body(start, script):
    daemon = start(threads=1)
    path = script(application(READ))
    with daemon.connect() as connection:
        connection.send_request(path, pulled=True)
        while connection.frame()[0] != PULL:
            pass
        connection.send_frame(17, b"")
        assert connection.at_end()
    assert daemon.request(path, b"x").body == b"x"


def test_output_before_the_body_was_read(start, script):
    daemon = start()
    path = script(application(OK + "yield b'early'\nyield environ['wsgi.input'].read()"))
    with daemon.connect() as connection:
        response = connection.request(path, rest=[b"late"])
    assert response.body == b"earlylate" and response.frames.index(HEAD) < response.frames.index(
        PULL
    )
    assert BODY not in response.frames


# File wrapper


def wrapped(headers="[]", prepare="", block=""):
    return f"""
f = open(environ['QUERY_STRING'], 'rb')
{prepare}
start_response('200 OK', {headers})
return environ['wsgi.file_wrapper'](f{block})
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    return path


def test_a_file_is_handed_over(run, file):
    response = run(wrapped(block=", 4096"), environ={"QUERY_STRING": str(file)})
    assert response.body == b"0123456789" and response.files == [(0, 10)] and response.complete
    assert response.header("Content-Length") == "10"


def test_a_file_is_sent_from_its_position(run, file):
    response = run(wrapped(prepare="f.read(3)"), environ={"QUERY_STRING": str(file)})
    assert response.body == b"3456789" and response.files == [(3, 7)]


def test_a_part_of_a_file(run, file):
    headers = "[('Content-Length', '4')]"
    response = run(wrapped(headers, "f.seek(2)"), environ={"QUERY_STRING": str(file)})
    assert response.body == b"2345" and response.complete


def test_a_file_that_is_too_short_is_never_read_past_its_end(run, file):
    headers = "[('Content-Length', '40')]"
    response = run(wrapped(headers), environ={"QUERY_STRING": str(file)})
    assert response.body == b"0123456789" and not response.complete


def test_an_empty_file(run, file):
    file.write_bytes(b"")
    response = run(wrapped(), environ={"QUERY_STRING": str(file)})
    assert response.body == b"" and response.complete and not response.files


def test_a_file_past_its_end(run, file):
    response = run(wrapped(prepare="f.seek(100)"), environ={"QUERY_STRING": str(file)})
    assert response.body == b"" and response.complete and not response.files


@pytest.mark.parametrize(
    "wrapped",
    [
        "io.BytesIO(b'abc')",
        "os.fdopen(pipe(b'abc'), 'rb')",
        "type('Reader', (), {'read': io.BytesIO(b'abc').read})()",
    ],
)
def test_what_is_no_regular_file_is_read(run, wrapped):
    before = """
import io, os
def pipe(data):
    r, w = os.pipe()
    os.write(w, data)
    os.close(w)
    return r
"""
    response = run(OK + f"return environ['wsgi.file_wrapper']({wrapped}, 2)", before)
    assert response.body == b"abc" and FILE not in response.frames and response.complete


def test_a_wrapper_behind_other_output_is_read(run, file):
    body = "w = start_response('200 OK', [])\nw(b'>')\n"
    response = run(body + "return environ['wsgi.file_wrapper'](open(__file__, 'rb'))")
    assert response.body.startswith(b">") and FILE not in response.frames


def test_the_wrapper_as_an_object(run):
    body = """
import io, mod_wsgi
assert environ['wsgi.file_wrapper'] is mod_wsgi.FileWrapper
wrapper = mod_wsgi.FileWrapper(filelike=io.BytesIO(b'abc'), blksize=2)
assert wrapper.blksize == 2
assert list(wrapper) == [b'ab', b'c']
inner = wrapper.filelike
wrapper.close()
wrapper.close()
assert inner.closed
for attempt in (lambda: wrapper.filelike, lambda: mod_wsgi.FileWrapper(inner, -1)):
    try:
        attempt()
    except ValueError:
        pass
    else:
        raise AssertionError
start_response('200 OK', [])
return [b'done']
"""
    assert run(body).body == b"done"


# Streams


def test_what_is_printed_belongs_to_the_request(run):
    body = (
        """
import sys
print('to stdout')
print('to stderr', file=sys.stderr)
print('to errors', file=environ['wsgi.errors'])
environ['wsgi.errors'].write('no line end')
"""
        + OK
        + "return []"
    )
    response = run(body)
    logs = [(level, text) for level, text in response.logs if level == 3]
    assert logs == [(3, "to stdout"), (3, "to stderr"), (3, "to errors"), (3, "no line end")]


def test_what_threads_of_the_application_print_belongs_to_the_process(start, script):
    daemon = start()
    body = "import threading\nt = threading.Thread(target=print, args=('aside',))\n"
    body += "t.start()\nt.join()\n"
    response = daemon.request(script(application(body + OK + "return []")))
    assert "aside" not in response.log()
    assert "\x013aside\n" in daemon.log("aside\n")


def test_errors_is_a_text_wrapper(run):
    body = """
import io
errors = environ['wsgi.errors']
assert type(errors) is io.TextIOWrapper
assert (errors.encoding, errors.errors, errors.name) == ('utf-8', 'replace', '<wsgi.errors>')
assert not errors.isatty() and errors.writable() and not errors.readable() and not errors.closed
try:
    errors.fileno()
except OSError:
    pass
else:
    raise AssertionError
errors.writelines(['a\\n', 'b\\n'])
errors.buffer.write(b'raw\\n')
errors.flush()
errors.close()
start_response('200 OK', [])
return [b'done']
"""
    response = run(body)
    assert response.body == b"done", response.log()
    assert "a\nb\nraw" in response.log()


def test_errors_is_not_broken_by_an_earlier_request(start, script):
    daemon = start(threads=1)
    spoil = script(application("environ['wsgi.errors'].detach()\n" + OK + "return []"))
    closing = script(application("environ['wsgi.errors'].close()\n" + OK + "return []"))
    use = script(application("print('fine', file=environ['wsgi.errors'])\n" + OK + "return []"))
    for path in (spoil, use, closing, use, use):
        response = daemon.request(path)
        assert response.complete
        assert ("fine" in response.log()) == (path == use)


@pytest.mark.parametrize("name", ["stdin", "stdout"])
def test_restricted_streams(run, name):
    body = f"import sys\nsys.{name}.fileno()"
    response = run(body, settings={f"restrict_{name}": True})
    assert f"OSError: access to sys.{name} is restricted" in response.log()


@pytest.mark.daemon_only
def test_restricted_stdout_does_not_disturb_the_end(start):
    daemon = start(restrict_stdout=True, restrict_stdin=True)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert "OSError" not in daemon.log()


# Scripts


def test_the_module_of_a_script(start, script):
    import hashlib

    daemon = start()
    path = script(
        """
        import sys
        count = 0
        def application(environ, start_response):
            global count
            count += 1
            start_response("200 OK", [])
            assert sys.modules[__name__].__dict__ is globals()
            return [("%s %s %s %s" % (__name__, __file__, __mtime__, count)).encode()]
        """
    )
    name = "_mod_wsgi_" + hashlib.md5(os.fsencode(path)).hexdigest()
    mtime = os.stat(path).st_mtime_ns // 1000
    for count in (1, 2):
        assert daemon.request(path).body.decode() == f"{name} {path} {mtime} {count}"


@pytest.mark.parametrize(
    "source, number",
    [
        ("1 +", "WSGI0105"),
        ("# coding: utf-8\nx = '\xff'", "WSGI0105"),
        ("raise ValueError('import')", "WSGI0109"),
        ("import sys; sys.exit(1)", "WSGI0107"),
    ],
)
def test_a_script_that_does_not_load(start, tmp_path, source, number):
    daemon = start()
    path = tmp_path / "broken.wsgi"
    path.write_bytes(source.encode("latin-1"))
    for _ in range(2):
        response = daemon.request(path)
        assert response.error == 500
        assert number in response.log() and (
            "WSGI0174" in response.log() or "WSGI0175" in response.log()
        )
    path.write_text(application(OK + "return [b'mended']"))
    assert daemon.request(path).body == b"mended"


def test_a_script_that_is_not_there(start, tmp_path):
    response = start().request(tmp_path / "nothing.wsgi")
    assert response.error == 500 and "WSGI0105" in response.log()


@pytest.mark.daemon_only
def test_a_callable_that_is_not_there(start, hello):
    response = start().request(hello, callable_object="other")
    assert response.error == 500 and "WSGI0089" in response.log()


def test_a_callable_of_another_name(start, script):
    path = script("def other(environ, s): s('200 OK', []); return [b'other']")
    assert start().request(path, callable_object="other").body == b"other"


def test_one_slow_import_does_not_stop_other_scripts(start, script, hello):
    daemon = start(threads=3)
    slow = script("""
        import os, time
        while not os.path.exists(__file__ + ".gate"):
            time.sleep(0.01)
        count = 0
        def application(environ, start_response):
            start_response("200 OK", [])
            return [b"slow"]
    """)
    connections = [daemon.connect() for _ in range(2)]
    for connection in connections:
        connection.send_request(slow)
    assert daemon.request(hello).body == b"hello"
    open(f"{slow}.gate", "w").close()
    responses = [connection.response() for connection in connections]
    assert [response.body for response in responses] == [b"slow"] * 2
    assert sum("Loading" in response.log() for response in responses) == 1


def test_tracebacks_have_their_frames(run):
    response = run("def inner():\n    raise ValueError('deep')\ninner()")
    log = response.log()
    assert "in application" in log and "in inner" in log and "ValueError: deep" in log


# Environ


@pytest.mark.daemon_only
def test_the_environ(run):
    body = """
assert type(environ) is dict
assert environ['wsgi.version'] == (1, 0)
assert environ['wsgi.url_scheme'] == 'https'
assert environ['wsgi.multithread'] is True and environ['wsgi.multiprocess'] is True
assert environ['wsgi.run_once'] is False and environ['wsgi.input_terminated'] is True
assert environ['mod_wsgi.version'] == (6, 1, 1) and environ['apache.version'] == (2, 4, 66)
assert environ['PATH_INFO'] == b'/\\xc3\\xa4'.decode('latin-1')
assert environ['DOCUMENT_ROOT'] == '/\\u00e4'
assert environ['HTTP_X_MINE'] == 'yes'
assert not {'HTTPS', 'PATH', 'mod_wsgi.x-secret'} & set(environ), sorted(environ)
assert environ['mod_wsgi.request_start'] == 1_700_000_000.0
assert environ['mod_wsgi.queue_start'] == 1_700_000_000.1
assert environ['mod_wsgi.daemon_start'] <= environ['mod_wsgi.application_start']
assert environ['mod_wsgi.script_start'].isdigit()
assert int(environ['mod_wsgi.script_start']) == round(environ['mod_wsgi.application_start'] * 1e6)
assert environ['mod_wsgi.thread_id'] in (1, 2)
environ['new'] = environ.pop('PATH_INFO')
start_response('200 OK', [])
return [b'done']
"""
    environ = {
        "HTTPS": "on",
        "PATH": "/bin",
        "mod_wsgi.x-secret": "1",
        "PATH_INFO": "/\u00e4",
        "DOCUMENT_ROOT": "/\u00e4",
        "HTTP_X_MINE": "yes",
        "wsgi.version": "mine",
    }
    for _ in range(2):
        response = run(body, environ=environ, settings={"multiprocess": True})
        assert response.body == b"done", response.log()


# The process


@pytest.mark.daemon_only
def test_the_process_is_a_plain_interpreter(start, script, python):
    path = script("""
        import multiprocessing, os, signal, subprocess, sys
        def double(x): return 2 * x
        def application(environ, start_response):
            code = "import sys; print(sys.prefix)"
            prefix = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
            assert prefix.stdout.strip() == sys.prefix
            assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
            assert os.listdir("/proc/self/fd")
            start_response("200 OK", [])
            return [sys.executable.encode()]
    """)
    body = start().request(path)
    assert os.path.realpath(body.body) == os.path.realpath(python).encode(), body.log()


@pytest.mark.daemon_only
def test_programs_of_the_application_inherit_no_descriptors(start, script):
    path = script("""
        import os, subprocess
        def application(environ, start_response):
            command = ["sh", "-c", "ls -l /proc/self/fd"]
            listing = subprocess.run(command, close_fds=False, capture_output=True)
            start_response("200 OK", [])
            return [listing.stdout]
    """)
    listing = start().request(path).body.decode()
    assert "socket" not in listing and "memfd" not in listing and "eventpoll" not in listing


@pytest.mark.daemon_only
def test_a_forked_child_dies_of_a_signal_without_ending_the_daemon(start, script, hello):
    path = script("""
        import os, signal, time
        def application(environ, start_response):
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
                os._exit(1)
            os.kill(pid, signal.SIGTERM)
            _, status = os.waitpid(pid, 0)
            start_response("200 OK", [])
            return [str(os.WTERMSIG(status)).encode()]
    """)
    daemon = start()
    assert daemon.request(path).body == b"15"
    assert daemon.request(hello).status == 200


def test_a_forked_child_that_returns_does_not_answer(start, script, hello):
    path = script("""
        import os
        def application(environ, start_response):
            pid = os.fork()
            if pid == 0:
                print("in the child")
                start_response("200 OK", [])
                return [b"child"] if environ["QUERY_STRING"] else iter([b"child"])
            _, status = os.waitpid(pid, 0)
            start_response("200 OK", [])
            return [b"parent %d" % os.WEXITSTATUS(status)]
    """)
    process = start()
    for query in ("", "list"):
        response = process.request(path, environ={"QUERY_STRING": query})
        assert response.body == b"parent 255" and "in the child" not in response.log()
    assert "returned into mod_wsgi" in process.log("returned into mod_wsgi")
    assert "in the child" in process.log("in the child")
    assert process.request(hello).status == 200


def test_prints_of_a_forked_child_do_not_disturb_the_response(start, script):
    path = script("""
        import os
        def application(environ, start_response):
            pid = os.fork()
            if pid == 0:
                print("from the child", file=environ["wsgi.errors"])
                os._exit(0)
            os.waitpid(pid, 0)
            start_response("200 OK", [])
            return [b"parent"]
    """)
    process = start()
    response = process.request(path)
    assert response.body == b"parent" and "from the child" not in response.log()
    assert "from the child" in process.log("from the child")


@pytest.mark.daemon_only
def test_registering_a_signal_handler_is_ignored(start, script, hello):
    path = script(
        application(
            "import signal\nr = signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            + OK
            + "return [repr(r is signal.SIG_IGN).encode()]"
        )
    )
    daemon = start()
    response = daemon.request(path)
    assert response.body == b"True" and "WSGIRestrictSignal" in response.log()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0


@pytest.mark.daemon_only
def test_signal_handlers_work_where_they_are_allowed(start, script):
    path = script("""
        import signal
        signal.signal(signal.SIGUSR2, lambda number, frame: print("handled", number))
        application = None
    """)
    daemon = start(restrict_signal=False, preload=((os.fsencode(path), b""),))
    daemon.signal(signal.SIGUSR2)
    assert "handled 12" in daemon.log("handled 12")


@pytest.mark.daemon_only
def test_sighup_and_sigusr2_are_told_to_subscribers(start, script, hello):
    path = script("""
        import mod_wsgi
        @mod_wsgi.subscribe_signals
        def signalled(name, signame, signum):
            print(name, signame, signum)
        application = None
    """)
    daemon = start(preload=((os.fsencode(path), b""),))
    daemon.signal(signal.SIGHUP)
    daemon.log("process_signal SIGHUP 1")
    daemon.signal(signal.SIGUSR2)
    daemon.log("process_signal SIGUSR2 12")
    assert daemon.request(hello).status == 200


@pytest.mark.daemon_only
def test_exit_functions_run(start, script):
    path = script("""
        import atexit, threading, mod_wsgi
        atexit.register(print, "at exit")
        mod_wsgi.subscribe_shutdown(lambda name, **payload: print(name, payload["shutdown_reason"]))
        threading.Thread(target=lambda: threading.main_thread().join() or print("joined")).start()
        application = None
    """)
    daemon = start(preload=((os.fsencode(path), b""),))
    daemon.signal(signal.SIGTERM)
    log = daemon.log()
    assert daemon.wait() == 0
    assert (
        log.index("process_stopping shutdown_signal") < log.index("joined") < log.index("at exit")
    )


@pytest.mark.daemon_only
def test_an_exit_function_that_hangs_is_ended(start, script):
    path = script("import atexit, time\natexit.register(time.sleep, 100)\napplication = None")
    daemon = start(preload=((os.fsencode(path), b""),), shutdown_timeout=1)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 1
    assert "exit functions" in daemon.log()


@pytest.mark.daemon_only
def test_thread_locals_survive(start, script):
    path = script("""
        import threading
        local = threading.local()
        def application(environ, start_response):
            local.count = getattr(local, "count", 0) + 1
            start_response("200 OK", [])
            return [str(local.count).encode()]
    """)
    daemon = start(threads=1)
    assert [daemon.request(path).body for _ in range(3)] == [b"1", b"2", b"3"]


@pytest.mark.daemon_only
def test_the_title_of_the_process(start):
    daemon = start(display_name=b"(wsgi:test)")
    with open(f"/proc/{daemon.process.pid}/cmdline") as command:
        assert command.read().rstrip("\0 ") == "(wsgi:test)"
    with open(f"/proc/{daemon.process.pid}/comm") as name:
        assert name.read().strip() == "(wsgi:test)"


@pytest.mark.daemon_only
def test_an_unknown_locale_is_a_warning(start):
    daemon = start(locale=b"xx_XX.UTF-9")
    assert "WSGI0079" in daemon.log("WSGI0079")


@pytest.mark.daemon_only
def test_the_python_path(start, script, tmp_path):
    for name in ("one", "two", "extra", "home"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "more.pth").write_text(str(tmp_path / "extra") + "\n")
    path = script(application("import sys\n" + OK + "return ['|'.join(sys.path).encode()]"))
    daemon = start(
        python_path=os.fsencode(f"{tmp_path}/one:{tmp_path}/two"),
        home=os.fsencode(tmp_path / "home"),
    )
    entries = daemon.request(path).body.decode().split("|")
    assert entries[:4] == [str(tmp_path / name) for name in ("home", "one", "extra", "two")]
    assert "" not in entries


@pytest.mark.daemon_only
def test_the_main_thread_is_the_main_thread(run):
    body = "import threading\nmain = threading.main_thread()\n"
    body += "assert threading.current_thread() is not main\n"
    response = run(body + OK + "return [main.name.encode()]")
    assert response.body == b"MainThread"


@pytest.mark.daemon_only
def test_a_crash_leaves_the_stack(start, script):
    daemon = start()
    path = script(application("import ctypes\nctypes.string_at(0)"))
    with daemon.connect() as connection:
        connection.send_request(path)
        assert daemon.wait() == -signal.SIGSEGV
    assert "in application" in daemon.log()


@pytest.mark.daemon_only
def test_sub_interpreters(start, script):
    path = script("""
        import sys, mod_wsgi
        sys.mine = getattr(sys, "mine", 0) + 1
        def application(environ, start_response):
            print("in", mod_wsgi.application_group)
            start_response("200 OK", [])
            return [b"%d" % sys.mine]
    """)
    daemon = start(interpreters=True, threads=2)
    for _ in range(4):
        for group in ("", "one", "two"):
            response = daemon.request(path, group=group)
            assert response.body == b"1", response.log()
            assert f"in {group}".strip() in response.log()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0


@pytest.mark.daemon_only
def test_preload_in_sub_interpreters(start, script):
    path = os.fsencode(script("import mod_wsgi; print('in', mod_wsgi.application_group, '.')"))
    daemon = start(interpreters=True, preload=((path, b""), (path, b"sub")))
    assert "in  ." in daemon.log("in sub .")


@pytest.mark.daemon_only
def test_the_application_group_is_that_of_the_first_request(start, script):
    path = script("""
        import mod_wsgi
        group = mod_wsgi.application_group
        def application(environ, start_response):
            assert environ["mod_wsgi.application_group"] == group
            start_response("200 OK", [])
            return [f"{group} {mod_wsgi.application_group}".encode()]
    """)
    for known in (None, b"host|/app"):
        daemon = start(application_group=known)
        assert daemon.request(path, group="host|/app").body == b"host|/app host|/app"


@pytest.mark.daemon_only
def test_the_module(run):
    body = """
import logging
import mod_wsgi, apache
assert mod_wsgi.version == (6, 1, 1)
assert (mod_wsgi.process_group, mod_wsgi.application_group) == ('test', '')
assert (mod_wsgi.maximum_processes, mod_wsgi.threads_per_process) == (1, 2)
assert not issubclass(mod_wsgi.RequestTimeout, Exception)
assert apache.version == (2, 4, 66)
data = mod_wsgi.request_data()
data['x'] = 1
assert mod_wsgi.request_data() is data
handler = mod_wsgi.LogHandler()
logging.getLogger().addHandler(handler)
logging.getLogger().warning('two\\nlines')
assert mod_wsgi.process_metrics() is None
start_response('200 OK', [])
return [b'done']
"""
    response = run(body)
    assert response.body == b"done", response.log()
    assert (4, "two\nlines") in response.logs


def test_active_requests(start, script):
    process = start(threads=1)
    path = script("""
        import mod_wsgi
        def application(environ, start_response):
            before = repr(mod_wsgi.active_requests)
            mod_wsgi.request_data()["mine"] = environ["mod_wsgi.request_id"]
            start_response("200 OK", [])
            return [f"{before} {mod_wsgi.active_requests}".encode()]
    """)
    answers = [
        process.request(path, environ={"mod_wsgi.request_id": name}).body.decode()
        for name in ("one", "two")
    ]
    # Requests are registered once somebody has looked.
    assert answers == ["{} {}", "{'two': {}} {'two': {'mine': 'two'}}"]


def test_events(start, script):
    daemon = start()
    path = script("""
        import mod_wsgi
        @mod_wsgi.subscribe_events
        def event(name, **payload):
            print("event", name, payload.get("response_status"), payload.get("status"))
            if name == "request_started":
                return {"application_object": replaced}
        def replaced(environ, start_response):
            start_response("201 Created", [])
            return [b"replaced"]
        def application(environ, start_response):
            raise AssertionError
    """)
    response = daemon.request(path)
    assert response.body == b"replaced"
    assert [text for level, text in response.logs if level == 3] == [
        "event request_started None None",
        "event response_started 201 Created None",
        "event request_finished None 201",
    ]
