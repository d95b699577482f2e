# SPDX-License-Identifier: Apache-2.0
"""All applications of apps/ wrapped in wsgiref.validate, which checks both sides of the protocol
(PEP 3333), but for those that are left out for the reason that is given here."""

from pathlib import Path
from urllib.parse import quote

import pytest

from harness.waiting import wait_until

APPS = {path.name for path in (Path(__file__).parent / "apps").iterdir() if path.is_dir()}
HEADERS = [("Content-Type", "text/plain"), ("X-One", "1"), ("Set-Cookie", "a=1")]


def literal(value) -> str:
    return quote(repr(value))


# Application, query string, body. {folder} is one in which the server's user may write.
VALID = [
    ("close", "", b""),
    ("counter", "", b""),
    ("descriptors", "", b""),
    ("ends", "", b""),
    ("environ", "a=b&c=d", b""),
    ("environ", "", b"a body"),
    ("errors", "errors", b""),
    ("errors", "stdout", b""),
    ("evaluate", "1,2", b""),
    ("file-by-name", "/etc/passwd", b""),
    ("file-wrapper", "case=regular", b""),
    ("file-wrapper", "case=offset", b""),
    ("file-wrapper", "case=bytesio", b""),
    ("file-wrapper-facts", "", b""),
    ("grow", "0", b""),
    ("hello", "", b""),
    ("hold", "started={folder}/started&go=/etc/passwd", b""),
    ("includes", "/hello", b""),
    ("input-calls", literal([("read", 3), ("readline",), ("list",)]), b"first\nsecond\nthird"),
    ("input-digest", "blocks", b"x" * 100_000),
    ("input-digest", "lines", b"line\n" * 1000),
    ("input-echo", "", b"x" * 100_000),
    ("input-start", "", b"x" * 100_000),
    ("input-unread", "", b"x" * 100_000),
    ("interpreter", "", b""),
    ("large-blocks", "", b"[10, 100000, 3]"),
    ("limits", "", b""),
    ("long-line", "", b""),
    ("output-fd", "", b""),
    ("pid", "", b""),
    ("process", "", b""),
    ("rendezvous", "", b"12345"),
    ("respond", literal(("200 OK", HEADERS, [b"one", b"", b"two"])), b""),
    ("respond", literal(("404 Not Found", HEADERS, [b"none"])), b""),
    ("respond", literal(("204 No Content", [("X-One", "1")], [])), b""),
    ("respond", literal(("304 Not Modified", [("ETag", '"t"')], [])), b""),
    ("returns", "tuple", b""),
    ("returns", "map", b""),
    ("returns", "empty-list", b""),
    ("run-code", "", b"assert environ['REQUEST_METHOD'] == 'POST'"),
    ("sized", "blocks=200000", b""),
    ("stream", "/etc/passwd", b""),
    ("subprocess", "", b""),
    ("terminate", "", b""),
    ("timed", "0", b""),
    ("twenty-milliseconds", "", b""),
    ("write", literal([b"one", b"two"]), b""),
]

NO_APPLICATION = "it has no application, or none that can be loaded"
RAISES = "it raises, which is all that it does"
ENDS = "it ends or stops its process"
INVALID = "it breaks the protocol, to see what comes of it"
NEVER_ENDS = "it does not end by itself"

LEFT_OUT = {
    "adapter": "it uses the object behind start_response, which the validator hides",
    "bad-calls": INVALID,
    "deployed": "it looks for what a configuration of its own has set",
    "die": ENDS,
    "die-at-first": ENDS,
    "die-soon": ENDS,
    "dispatch": NO_APPLICATION,
    "endless": NEVER_ENDS,
    "endless-write": NEVER_ENDS,
    "errors-facts": "it looks at more of wsgi.errors than PEP 3333 has",
    "exit-at-import": NO_APPLICATION,
    "forks": NEVER_ENDS,
    "forks-without-end": "it leaves a process behind",
    "handle-request": NO_APPLICATION,
    "hooks": NO_APPLICATION,
    "import-error": NO_APPLICATION,
    "input-error": "it calls read() without a size, which is what it is to do",
    "kept": "it uses the objects of a request that is over",
    "late-start-response": "it yields an empty block before it calls start_response",
    "leaves-process": "it leaves a process behind",
    "leaves-writer": "it leaves a process behind",
    "loads-in-steps": "it takes half a minute to load",
    "long-header": "the client of these tests reads no line as long",
    "no-callable": NO_APPLICATION,
    "no-start-response": INVALID,
    "not-callable": NO_APPLICATION,
    "odd-close": INVALID,
    "overwrite-shared-memory": "it destroys the memory that its process shares with httpd",
    "raises": RAISES,
    "raises-deep": RAISES,
    "recursion": RAISES,
    "service": NO_APPLICATION,
    "signals": "it changes handlers of signals, as far as the configuration lets it",
    "silent-exception": RAISES,
    "slow-to-load": "it takes a minute to load",
    "start-response-object": INVALID,
    "start-response-raises": INVALID,
    "start-response-twice": INVALID,
    "stops": ENDS,
    "subscribes": "it hears of signals for as long as its process lives, which others use",
    "syntax-error": NO_APPLICATION,
    "system-exit": RAISES,
    "takes-time": "it hears of the end of its process, which others use",
    "validated": "it is the validator",
    "write-raises": INVALID,
    "wrong-arity": INVALID,
}

OF_THE_PROCESS = {"counter", "descriptors", "grow", "hold", "pid", "process", "twenty-milliseconds"}
OF_THE_REQUEST = {"environ", "input-start", "timed"}
# The last line of those that write to the log.
LOGGED = {
    "close": "CLOSE-APP input",
    "errors": "ERRORS-APP the rest",
    "long-line": "LONG-LINE-APP end",
    "output-fd": "OUTPUT-FD-APP two",
}


def test_every_application_is_validated_or_left_out_for_a_reason():
    validated = {app for app, _, _ in VALID}
    assert not validated & set(LEFT_OUT)
    assert validated | set(LEFT_OUT) == APPS


@pytest.mark.parametrize(("app", "query", "body"), VALID)
def test_valid_application(site, tmp_path_for_server, app, query, body):
    """The validator raises when one of the two breaks a rule: that would be a 500."""
    query = query.replace("{folder}", str(tmp_path_for_server))
    method = "POST" if body else "GET"
    plain, validated = (
        site.request(f"{path}?{query}", method=method, body=body or None)
        for path in (f"/{app}", f"/validated/{app}")
    )
    assert validated.status == plain.status
    assert validated.status != 500
    if app not in OF_THE_PROCESS | OF_THE_REQUEST:
        assert validated.body == plain.body
    assert validated.complete
    if app in LOGGED:
        wait_until(lambda: len(site.find_log(LOGGED[app])) == 2, "the lines of both")
        site.expect_log(LOGGED[app].split()[0])


def test_the_validator_is_there(site):
    """What is not valid is refused: the test above can fail."""
    query = literal(("200 OK", [("X-One", "1")], [b"x"]))
    assert site.get(f"/respond?{query}").status == 200
    assert site.get(f"/validated/respond?{query}").status == 500
    site.expect_traceback("AssertionError: No Content-Type header found", count=1)
