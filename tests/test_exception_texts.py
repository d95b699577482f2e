# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - a row is a line
"""What the objects of a request raise: classes and texts, which operators and test suites look for.

A row is what is called (the last of several calls is the one that raises), then the exception. What
of it reaches the client is in the tests of each subject.
"""

import pytest

from harness.plugin import differs

HEADERS = "[('A', 'b')]"
COMMITTED = "start_response('200 OK', []); write(b'');"


def raised(site, calls: str) -> str | None:
    """Class and text of what the last of the calls raises."""
    results = site.post("/bad-calls", repr(calls.split("; ")).encode()).json
    assert results[:-1] == [None] * (len(results) - 1)
    return ": ".join(results[-1]) if results[-1] else None


def rows(text: str) -> list[tuple[str, ...]]:
    """Each line: calls and exceptions, with `=>` between them."""
    return [tuple(line.split(" => ")) for line in text.strip().splitlines()]


SAME = rows(
    r"""
start_response() => TypeError: start_response() takes at least 2 arguments (0 given)
start_response('200 OK') => TypeError: start_response() takes at least 2 arguments (1 given)
start_response('200 OK', [], None, 1) => TypeError: start_response() takes at most 3 arguments (4 given)
start_response('200 OK', None) => TypeError: start_response() argument 2 must be list, not None
start_response('200 OK', ()) => TypeError: start_response() argument 2 must be list, not tuple
start_response('200 OK', {'A': 'b'}) => TypeError: start_response() argument 2 must be list, not dict
start_response('200 OK', iter([])) => TypeError: start_response() argument 2 must be list, not list_iterator
start_response(b'200 OK', None) => TypeError: start_response() argument 2 must be list, not None
start_response(None, None, 1) => TypeError: start_response() argument 2 must be list, not None
start_response('200 OK', [], 5) => RuntimeError: start_response() argument 'exc_info' must be a 3-tuple or None
start_response('', [], []) => RuntimeError: start_response() argument 'exc_info' must be a 3-tuple or None
start_response('200 OK', [], False) => RuntimeError: start_response() argument 'exc_info' must be a 3-tuple or None
start_response('', []) => ValueError: status code must be a 3 digit integer: b''
start_response('20', []) => ValueError: status code must be a 3 digit integer: b'20'
start_response('2000 OK', []) => ValueError: status code must be a 3 digit integer: b'2000 OK'
start_response('20x OK', []) => ValueError: status code must be a 3 digit integer: b'20x OK'
start_response(' 200 OK', []) => ValueError: status code must be a 3 digit integer: b' 200 OK'
start_response("It's", []) => ValueError: status code must be a 3 digit integer: b"It's"
start_response('OK \\ "\'\t\xe9', []) => ValueError: status code must be a 3 digit integer: b'OK \\ "\'\t\xe9'
start_response('200-OK', []) => ValueError: no space following status code: b'200-OK'
start_response('200\tOK', []) => ValueError: no space following status code: b'200\tOK'
start_response('200 O\nK', []) => ValueError: control character in status reason phrase: b'200 O\nK'
start_response('200 OK\r\n', []) => ValueError: control character in status reason phrase: b'200 OK\r\n'
start_response('200 O\x7fK', []) => ValueError: control character in status reason phrase: b'200 O\x7fK'
start_response('200 \u20ac', []) => UnicodeEncodeError: 'latin-1' codec can't encode character '\u20ac' in position 4: ordinal not in range(256)
start_response('\u0662\u0660\u0660', []) => UnicodeEncodeError: 'latin-1' codec can't encode characters in position 0-2: ordinal not in range(256)
start_response('200 \ud800', []) => UnicodeEncodeError: 'latin-1' codec can't encode character '\ud800' in position 4: ordinal not in range(256)
start_response('200 OK', [['A', 'b']]) => TypeError: each header must be a 2-tuple, not list
start_response('200 OK', ['A: b']) => TypeError: each header must be a 2-tuple, not str
start_response('200 OK', [None]) => TypeError: each header must be a 2-tuple, not NoneType
start_response('200 OK', [('A', 'b'), b'A']) => TypeError: each header must be a 2-tuple, not bytes
start_response('200 OK', [()]) => ValueError: each header must be a 2-tuple, got length 0
start_response('200 OK', [('A',)]) => ValueError: each header must be a 2-tuple, got length 1
start_response('200 OK', [('A', 'b', 'c')]) => ValueError: each header must be a 2-tuple, got length 3
start_response('200 OK', [('', 1)]) => ValueError: header name is empty
start_response('200 OK', [('A b', 1)]) => ValueError: space character in header name: b'A b'
start_response('200 OK', [('A \n', 'b')]) => ValueError: space character in header name: b'A \n'
start_response('200 OK', [('A\n ', 'b')]) => ValueError: control character in header name: b'A\n '
start_response('200 OK', [('A\t', 'b')]) => ValueError: control character in header name: b'A\t'
start_response('200 OK', [('A\x7f', 'b')]) => ValueError: control character in header name: b'A\x7f'
start_response('200 OK', [('A', 'b\nc')]) => ValueError: carriage return/line feed character in header value: b'b\nc'
start_response('200 OK', [('A', 'b\r\n c')]) => ValueError: carriage return/line feed character in header value: b'b\r\n c'
start_response('200 OK', [('\u20ac', 'b')]) => UnicodeEncodeError: 'latin-1' codec can't encode character '\u20ac' in position 0: ordinal not in range(256)
start_response('200 OK', [('A', 'x\u20ac')]) => UnicodeEncodeError: 'latin-1' codec can't encode character '\u20ac' in position 1: ordinal not in range(256)
write() => TypeError: write() takes exactly 1 argument (0 given)
write(b'a', b'b') => TypeError: write() takes exactly 1 argument (2 given)
write('') => TypeError: write() argument must be bytes, not str
write(bytearray(b'a')) => TypeError: write() argument must be bytes, not bytearray
write(memoryview(b'a')) => TypeError: write() argument must be bytes, not memoryview
write(5) => TypeError: write() argument must be bytes, not int
write(None) => TypeError: write() argument must be bytes, not NoneType
write(b'early') => RuntimeError: start_response() must be called before response content is produced
write(b'') => RuntimeError: start_response() must be called before response content is produced
start_response('200 OK', [('Content-Length', '-1')]); write(b'a') => ValueError: invalid Content-Length header value: '-1'
start_response('200 OK', [('Content-Length', ' ')]); write(b'a') => ValueError: invalid Content-Length header value: ' '
start_response('200 OK', [('Content-Length', '1 2')]); write(b'') => ValueError: invalid Content-Length header value: '1 2'
start_response('200 OK', [('Content-Length', '+')]); write(b'a') => ValueError: invalid Content-Length header value: '+'
start_response('200 OK', [('Content-Length', '99999999999999999999')]); write(b'a') => ValueError: invalid Content-Length header value: '99999999999999999999'
COMMITTED start_response('', []) => RuntimeError: start_response() called more than once without exc_info
COMMITTED start_response('200 OK', [], None) => RuntimeError: start_response() called more than once without exc_info
COMMITTED start_response(None, None) => TypeError: start_response() argument 2 must be list, not None
COMMITTED start_response('200 OK', [], 5) => RuntimeError: start_response() argument 'exc_info' must be a 3-tuple or None
COMMITTED start_response('', [], (ValueError, ValueError('told'), None)) => ValueError: told
COMMITTED start_response('200 OK', [], (ValueError, 'told', 5)) => ValueError: told
COMMITTED write('a') => TypeError: write() argument must be bytes, not str
input.read(1, 2) => TypeError: read() takes at most 1 argument (2 given)
input.read(size=1) => TypeError: Input.read() takes no keyword arguments
input.read('1') => TypeError: 'str' object cannot be interpreted as an integer
input.read(1.5) => TypeError: 'float' object cannot be interpreted as an integer
input.read(2**70) => OverflowError: Python int too large to convert to C ssize_t
input.read(-2**70) => OverflowError: Python int too large to convert to C ssize_t
input.readline(1, 2) => TypeError: readline() takes at most 1 argument (2 given)
input.readline(size=1) => TypeError: Input.readline() takes no keyword arguments
input.readline(b'1') => TypeError: 'bytes' object cannot be interpreted as an integer
input.readline(2**70) => OverflowError: Python int too large to convert to C ssize_t
input.readlines(1, 2) => TypeError: readlines() takes at most 1 argument (2 given)
input.readlines(hint=1) => TypeError: Input.readlines() takes no keyword arguments
input.readlines('1') => TypeError: 'str' object cannot be interpreted as an integer
input.readlines(2**70) => OverflowError: Python int too large to convert to C ssize_t
input.close(1) => TypeError: Input.close() takes no arguments (1 given)
input.seek(0) => AttributeError: 'mod_wsgi.Input' object has no attribute 'seek'
input.fileno() => AttributeError: 'mod_wsgi.Input' object has no attribute 'fileno'
input.closed => AttributeError: 'mod_wsgi.Input' object has no attribute 'closed'
len(input) => TypeError: object of type 'mod_wsgi.Input' has no len()
FileWrapper(io.BytesIO(), '1') => TypeError: 'str' object cannot be interpreted as an integer
FileWrapper(io.BytesIO(), blksize=1.5) => TypeError: 'float' object cannot be interpreted as an integer
FileWrapper(io.BytesIO(), None) => TypeError: 'NoneType' object cannot be interpreted as an integer
FileWrapper(io.BytesIO(), -1) => ValueError: blksize must not be negative
FileWrapper(io.BytesIO(), 2**70) => OverflowError: Python int too large to convert to C ssize_t
next(FileWrapper(None)) => AttributeError: 'NoneType' object has no attribute 'read'
next(FileWrapper(Gives('text'))) => TypeError: file wrapper read() must return bytes, not str
next(FileWrapper(Gives(None))) => TypeError: file wrapper read() must return bytes, not NoneType
next(FileWrapper(Gives(bytearray()))) => TypeError: file wrapper read() must return bytes, not bytearray
closed(FileWrapper).filelike => ValueError: I/O operation on closed file
next(closed(FileWrapper)) => ValueError: I/O operation on closed file
adapter.ssl_is_https(1) => TypeError: ssl_is_https() takes exactly 0 arguments (1 given)
adapter.ssl_var_lookup() => TypeError: ssl_var_lookup() takes exactly 1 argument (0 given)
adapter.ssl_var_lookup('A', 'b') => TypeError: ssl_var_lookup() takes exactly 1 argument (2 given)
adapter.ssl_var_lookup(None) => TypeError: ssl_var_lookup() argument must be bytes, not NoneType
adapter.ssl_var_lookup('\u20ac') => TypeError: ssl_var_lookup() argument must be bytes or a latin-1 str
adapter.ssl_var_lookup(name='A') => TypeError: Adapter.ssl_var_lookup() takes no keyword arguments
adapter.no_such => AttributeError: 'mod_wsgi.Adapter' object has no attribute 'no_such'
errors.write(b'a') => TypeError: write() argument must be str, not bytes
errors.write(None) => TypeError: write() argument must be str, not None
errors.writelines(5) => TypeError: 'int' object is not iterable
errors.read() => UnsupportedOperation: not readable
errors.fileno() => OSError: wsgi.errors log object has no file descriptor
errors.buffer.write() => TypeError: write() takes exactly 1 argument (0 given)
errors.buffer.write(5) => TypeError: a bytes-like object is required, not 'int'
over.start_response() => RuntimeError: start_response() called after request completed
over.start_response('200 OK', []) => RuntimeError: start_response() called after request completed
over.write() => RuntimeError: write() called after request completed
over.write(b'a') => RuntimeError: write() called after request completed
over.input.read('1') => RuntimeError: read() called on wsgi.input after request completed
over.input.readline() => RuntimeError: readline() called on wsgi.input after request completed
over.input.readlines() => RuntimeError: readlines() called on wsgi.input after request completed
over.input.close() => RuntimeError: close() called on wsgi.input after request completed
over.input.close(1) => TypeError: Input.close() takes no arguments (1 given)
next(over.input) => RuntimeError: iteration of wsgi.input attempted after request completed
iter(over.input) => RuntimeError: iteration of wsgi.input attempted after request completed
over.errors.write('a') => RuntimeError: write() called on wsgi.errors after request completed
over.adapter.ssl_is_https() => RuntimeError: ssl_is_https() called after request completed
over.adapter.ssl_var_lookup(1) => RuntimeError: ssl_var_lookup() called after request completed
""".replace("COMMITTED", COMMITTED)
)


@pytest.mark.parametrize(("calls", "exception"), SAME, ids=[row[0] for row in SAME])
def test_texts(site, calls, exception):
    if "over" in calls:
        site.post("/bad-calls", b"[]")
    assert raised(site, calls) == exception


WORDED_BY_CPYTHON = rows(r"""
start_response('200 OK', headers=[]) => start_response() takes no keyword arguments => Adapter.start_response() takes no keyword arguments
write(data=b'a') => write() takes no keyword arguments => Adapter.write() takes no keyword arguments
FileWrapper() => FileWrapper() missing required argument 'filelike' (pos 1) => FileWrapper.__init__() missing 1 required positional argument: 'filelike'
FileWrapper(io.BytesIO(), 1, 2) => FileWrapper() takes at most 2 arguments (3 given) => FileWrapper.__init__() takes from 2 to 3 positional arguments but 4 were given
FileWrapper(io.BytesIO(), size=1) => 'size' is an invalid keyword argument for FileWrapper() => FileWrapper.__init__() got an unexpected keyword argument 'size'
FileWrapper(io.BytesIO()).close(1) => FileWrapper.close() takes no arguments (1 given) => FileWrapper.close() takes 1 positional argument but 2 were given
FileWrapper(io.BytesIO())[0] => 'mod_wsgi.FileWrapper' object is not subscriptable => 'FileWrapper' object is not subscriptable
""")


@pytest.mark.difference("CPython's words: our methods are of a class, and FileWrapper is Python")
@pytest.mark.parametrize(
    ("calls", "upstream", "ours"), WORDED_BY_CPYTHON, ids=[row[0] for row in WORDED_BY_CPYTHON]
)
def test_texts_that_cpython_words(site, calls, upstream, ours):
    assert raised(site, calls) == "TypeError: " + differs(upstream=upstream, ours=ours)


NAMED = rows(r"""
start_response(b'200 OK', []) => status => bytes
start_response(200, []) => status => int
start_response(None, [], (None, None, None)) => status => NoneType
start_response('200 OK', [(b'A', b'b')]) => header name => bytes
start_response('200 OK', [(1, 2)]) => header name => int
start_response('200 OK', [('A', b'b')]) => header value => bytes
start_response('200 OK', [('A', None)]) => header value => NoneType
""")


@pytest.mark.difference("the text says what must be str")
@pytest.mark.parametrize(("calls", "what", "found"), NAMED, ids=[row[0] for row in NAMED])
def test_texts_for_what_must_be_str(site, calls, what, found):
    name = differs(upstream="", ours=f"{what} ")
    assert raised(site, calls) == f"TypeError: {name}must be str, not {found}"


REFUSED = rows(r"""
start_response('200 O\0K', []) => ValueError: control character in status reason phrase: b'200 O\x00K'
start_response('200 OK', [('A\0', 'b')]) => ValueError: control character in header name: b'A\x00'
start_response('200 OK', [('A', 'b\0c')]) => ValueError: null character in header value: b'b\x00c'
start_response('200 OK', [('A:', 'b')]) => ValueError: character that is not allowed in header name: b'A:'
start_response('200 OK', [('\xe9', 'b')]) => ValueError: character that is not allowed in header name: b'\xe9'
type(input)() => TypeError: cannot create 'mod_wsgi.Input' instances
type(adapter)() => TypeError: cannot create 'mod_wsgi.Adapter' instances
""")


@pytest.mark.difference("refused at once: it would be cut off, or fail later")
@pytest.mark.parametrize(("calls", "exception"), REFUSED, ids=[ascii(row[0]) for row in REFUSED])
def test_texts_for_what_only_ours_refuses(site, calls, exception):
    assert raised(site, calls) == differs(upstream=None, ours=exception)


@pytest.mark.difference("-0 is no length (RFC 9110, 8.6)")
def test_text_for_a_length_of_minus_zero(site):
    calls = "start_response('200 OK', [('Content-Length', '-0')]); write(b'')"
    response = site.post("/bad-calls", repr(calls.split("; ")).encode())
    expected = [None, ["ValueError", "invalid Content-Length header value: '-0'"]]
    assert (response.json if response.body else None) == differs(upstream=None, ours=expected)


@pytest.mark.difference("no size, as for other files")
@pytest.mark.parametrize("method", ["read", "readline", "readlines"])
def test_none_as_size(site, method):
    text = "TypeError: 'NoneType' object cannot be interpreted as an integer"
    assert raised(site, f"input.{method}(None)") == differs(upstream=text, ours=None)


@pytest.mark.difference("the text says what exc_info must be, and not what CPython's parser found")
@pytest.mark.parametrize("exc_info", ["()", "(1, 2)", "(1, 2, 3, 4)"])
def test_text_for_an_exc_info_of_another_length(site, exc_info):
    length = len(eval(exc_info))
    text = differs(
        upstream=f"function takes exactly 3 arguments ({length} given)",
        ours="start_response() argument 'exc_info' must be a 3-tuple or None",
    )
    calls = f"{COMMITTED} start_response('200 OK', [], {exc_info})"
    assert raised(site, calls) == f"TypeError: {text}"


@pytest.mark.ours_only("mod_wsgi's process crashes, or answers 500")
@pytest.mark.parametrize("exc_info", ["(None, None, None)", "('a', 'b', 'c')", "(1, 2, 3)"])
def test_text_for_an_exc_info_without_exception(site, exc_info):
    calls = f"{COMMITTED} start_response('200 OK', [], {exc_info})"
    assert raised(site, calls) == "TypeError: exc_info must begin with a class of exceptions"


@pytest.mark.difference("the text of what iter() raises is kept")
def test_text_for_lines_that_are_not_iterable(site):
    text = differs(
        upstream="writelines() argument must be an iterable of bytes-like objects",
        ours="'int' object is not iterable",
    )
    assert raised(site, "errors.buffer.writelines(5)") == f"TypeError: {text}"


# What nobody catches is in the log.


@pytest.mark.parametrize(
    ("app", "exception"),
    [
        ("returns?none", "TypeError: 'NoneType' object is not iterable"),
        ("returns?int", "TypeError: 'int' object is not iterable"),
        ("returns?str", "TypeError: response iterable must yield bytes, not str"),
        ("returns?bytes", "TypeError: response iterable must yield bytes, not int"),
        ("returns?list-of-str", "TypeError: response iterable must yield bytes, not str"),
        ("returns?list-of-bytearray", "TypeError: .* must yield bytes, not bytearray"),
        ("returns?good-then-str", "TypeError: response iterable must yield bytes, not str"),
        ("no-start-response?", "RuntimeError: start_response.* must be called before response"),
        ("no-start-response?empty", "RuntimeError: start_response.* must be called before resp"),
    ],
)
def test_texts_in_the_log(site, app, exception):
    site.get(f"/{app}")
    site.expect_traceback(exception, count=1)


@pytest.mark.difference("what the system says of the connection to httpd is not what happened")
def test_text_for_a_client_that_went_away(site):
    with site.raw() as raw:
        raw.send(b"GET /endless-write HTTP/1.1\r\nHost: x\r\n\r\n")
        raw.receive_until(b"xxxx")
        raw.reset()
    site.expect_log("ENDLESS-WRITE-APP True", count=1)
    reason = differs(upstream="(Broken pipe|Connection reset by peer)", ours="the client is gone")
    site.expect_traceback(f"OSError: mod_wsgi failed to write response data: {reason}$", count=1)
    site.wait_log("OSError: ")
