# SPDX-License-Identifier: Apache-2.0
"""How lines of applications reach httpd's log: whole, once, with client and script, at their level.

What is printed in the ordinary way, and tracebacks, are in test_errors.py.
"""

import re

import pytest

from harness.log import ErrorLog
from harness.plugin import differs
from harness.under_test import UPSTREAM
from harness.waiting import wait_until

SCRIPT = r"\[script [^]]*/apps/run-code/app\.wsgi\] "


def run(where, code: str, path: str = "/run-code", **options) -> None:
    response = where.request(path, method="POST", body=code.encode(), **options)
    assert response.status == 200, response.text


def lines(site, last: str) -> list[str]:
    """What was logged with a script, up to the line that ends with `last`; all are declared."""
    site.expect_log(SCRIPT)
    site.wait_log(SCRIPT + f".*{last}$")
    found = [re.split(SCRIPT, record.message)[1] for record in site.find_log(SCRIPT)]
    return [line for line in found if not line.startswith(("Loading ", "Reloading "))]


@pytest.mark.difference("print() of a text with several lines adds no empty one")
def test_each_line_of_a_text_is_a_record_with_client_and_script(site):
    run(site, "print('LOG-APP one\\n\\n  LOG-APP two\\nLOG-APP three'); print('LOG-APP end')")
    found = lines(site, "end")
    added = differs(upstream=[""], ours=[])
    assert found == ["LOG-APP one", "", "  LOG-APP two", "LOG-APP three", *added, "LOG-APP end"]
    for record in site.find_log("LOG-APP"):
        assert re.search(r"\b127\.0\.0\.1:\d+\] " + SCRIPT, record.message)
        assert (record.module, record.level) == ("wsgi", "error")


def test_empty_lines_are_records(site):
    run(site, "print()\nprint('   ')\nprint('LOG-APP end')")
    assert lines(site, "end") == ["", "   ", "LOG-APP end"]


def test_line_without_end_ends_with_its_request(server_factory, mode):
    """The first line of the next request on the thread is one of its own, also an empty one."""
    server = server_factory("""
WSGIDaemonProcess main threads=1
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /embedded ${APPS}/run-code/app.wsgi
WSGIScriptAlias /daemon ${APPS}/run-code/app.wsgi process-group=main
""")
    with server.connection() as connection:
        for _ in range(10):
            run(connection, "print('LOG-APP rest', end='')", f"/{mode}")
            run(connection, "print(); print('LOG-APP next')", f"/{mode}")
        run(connection, "print('LOG-APP end')", f"/{mode}")
    assert lines(server, "end") == [*["LOG-APP rest", "", "LOG-APP next"] * 10, "LOG-APP end"]


@pytest.mark.difference("NUL does not end the line")
def test_nul_in_a_line(site):
    run(site, "print('LOG-APP be\\0tween'); print('end')")
    line = differs(upstream="LOG-APP be", ours=r"LOG-APP be\\x00tween")
    assert lines(site, "end") == [line, "end"]


def test_bytes_that_are_no_text(site):
    run(site, "import sys; sys.stderr.buffer.write(b'LOG-APP \\xff\\xfe \\x1b[0m end\\n')")
    assert lines(site, "end") == [r"LOG-APP \xff\xfe \x1b[0m end"]


def test_encoding_can_be_changed(site):
    code = """
errors = environ["wsgi.errors"]
errors.reconfigure(encoding="latin-1", line_buffering=False)
errors.write("LOG-APP gr\\u00fcn ")
errors.write("end\\n")
"""
    run(site, code)
    assert lines(site, "end") == [r"LOG-APP gr\xfcn end"]


@pytest.mark.parametrize(
    "setting", ["encoding='latin-1'", "line_buffering=False", "errors='strict'"]
)
def test_what_was_changed_holds_for_one_request(site, setting):
    run(site, f"environ['wsgi.errors'].reconfigure({setting})")
    code = """
errors = environ["wsgi.errors"]
print("LOG-APP", errors.encoding, errors.errors, errors.line_buffering, "end", file=errors)
"""
    for _ in range(10):
        run(site, code)
    site.expect_log(SCRIPT)
    site.expect_log("LOG-APP utf-8 replace True end", count=10)


def test_raw_stream_takes_lines_of_another_wrapper(site):
    code = """
import io
wrapper = io.TextIOWrapper(environ["wsgi.errors"].buffer, encoding="utf-8", line_buffering=True)
print("LOG-APP wrapped end", file=wrapper)
wrapper.detach()
"""
    run(site, code)
    assert lines(site, "end") == ["LOG-APP wrapped end"]


def test_streams_of_a_request_share_a_line(site):
    code = """
import sys
sys.stdout.write("LOG-APP be")
sys.stderr.write("gin ")
environ["wsgi.errors"].write("end\\n")
"""
    run(site, code)
    assert lines(site, "end") == ["LOG-APP begin end"]


def test_rest_after_a_line_end_is_a_line(site):
    """The text wrapper flushes after a text with a line end in it."""
    code = """
import sys
sys.stdout.write("LOG-APP first\\nLOG-APP rest")
sys.stdout.write(" goes on\\n")
sys.stdout.write("LOG-APP end")
"""
    run(site, code)
    assert lines(site, "end") == ["LOG-APP first", "LOG-APP rest", " goes on", "LOG-APP end"]


def test_flush_ends_the_line(site):
    code = """
import sys
print("LOG-APP a part", end="", flush=True)
print(" of a line", end="")
sys.stdout.flush()
print("LOG-APP end")
"""
    run(site, code)
    assert lines(site, "end") == ["LOG-APP a part", " of a line", "LOG-APP end"]


def test_carriage_return_lets_the_rest_go(site):
    """The text wrapper flushes then, as it does after a line end."""
    code = """
environ["wsgi.errors"].write("LOG-APP 10 %\\r")
environ["wsgi.errors"].write("LOG-APP 20 %\\r")
environ["wsgi.errors"].write("LOG-APP end\\n")
"""
    run(site, code)
    assert lines(site, "end") == [r"LOG-APP 10 %\r", r"LOG-APP 20 %\r", "LOG-APP end"]


def test_raw_stream_takes_bytes_of_any_kind(site):
    code = """
raw = environ["wsgi.errors"].buffer
for data in (b"LOG-APP bytes\\n", bytearray(b"LOG-APP array\\n"), memoryview(b"LOG-APP view\\n")):
    raw.write(data)
raw.write(b"LOG-APP end\\n")
"""
    run(site, code)
    assert lines(site, "end") == ["LOG-APP bytes", "LOG-APP array", "LOG-APP view", "LOG-APP end"]


@pytest.mark.parametrize("how", ["at once", "in pieces"])
def test_long_line_is_one_record(site, how):
    """httpd takes about 8 KB of it, and the lines after it are whole."""
    code = f"""
pieces = ["y" * 1000] * 5000
for piece in ["".join(pieces)] if {how == "at once"} else pieces:
    environ["wsgi.errors"].write(piece)
environ["wsgi.errors"].write("\\nLOG-APP end\\n")
"""
    run(site, code)
    long, end = lines(site, "end")
    assert end == "LOG-APP end"
    assert re.fullmatch("y{7000,8192}", long)


FLOOD = "for number in range(20_000): print('LOG-APP flood', number, 'z' * 1000, file={file})"
PIECES = "for number in range(20_000): {file}.write('LOG-APP flood ' + 'z' * 1000)"


@pytest.mark.parametrize("code", [FLOOD, PIECES], ids=["lines", "one line"])
@pytest.mark.parametrize("where", ["request", "thread"])
def test_flood_takes_no_memory(server_factory, mode, where, code):
    """20 MB of it; in a request, and outside, where lines of daemon processes go by a pipe."""
    if UPSTREAM and where == "thread" and code == PIECES:
        pytest.skip("mod_wsgi keeps all of a line that has no end")
    server = server_factory(TWO_MODES)
    server.tolerate_log("LOG-APP")

    def flood(times: int) -> None:
        text = code.format(file="sys.stderr").replace("20_000", str(times))
        text = f"import sys, threading\n{text}"
        if where == "thread":
            text = f"import threading\nt = threading.Thread(target=exec, args=({text!r}, {{}}))\n"
            text += "t.start(); t.join()"
        run(server, text, f"/{mode}")

    flood(100)
    before = {process.pid: process.private_memory for process in server.tree.processes()}
    flood(20_000)
    for process in server.tree.processes():
        if process.pid in before:
            assert process.private_memory - before[process.pid] < 8 << 20


TWO_MODES = """
WSGIDaemonProcess main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /embedded ${APPS}/run-code/app.wsgi
WSGIScriptAlias /daemon ${APPS}/run-code/app.wsgi process-group=main
"""


# Outside of requests, or of their threads


def test_thread_of_the_application_belongs_to_no_request(site):
    code = """
import threading
thread = threading.Thread(target=print, args=("LOG-APP in a thread",))
thread.start()
thread.join()
"""
    run(site, code)
    site.expect_log("LOG-APP in a thread", count=1)
    record = site.wait_log("LOG-APP in a thread")
    assert (record.module, record.level, record.message) == (
        "wsgi",
        "error",
        "LOG-APP in a thread",
    )


def test_thread_that_is_given_the_stream_of_a_request(site):
    code = """
import threading
thread = threading.Thread(target=environ["wsgi.errors"].write, args=("LOG-APP end\\n",))
thread.start()
thread.join()
"""
    run(site, code)
    assert lines(site, "end") == ["LOG-APP end"]


@pytest.mark.ours_only("mod_wsgi mixes the lines of threads that print at the same time")
def test_lines_of_threads_are_not_mixed(site):
    code = """
import sys, threading
barrier = threading.Barrier(4)
def work(name):
    for number in range(50):
        if number % 5 == 0:
            barrier.wait()
        sys.stdout.write("LOG-APP ")
        sys.stdout.write(name * 20)
        sys.stdout.write("\\n")
threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    run(site, code)
    site.expect_log("LOG-APP", count=200)
    wait_until(lambda: len(site.find_log("LOG-APP")) >= 200, "200 lines")
    found = [record.message for record in site.find_log("LOG-APP")]
    assert sorted(found) == sorted(f"LOG-APP {name * 20}" for name in "abcd" for _ in range(50))


def test_exception_of_a_thread(site):
    code = """
import threading
thread = threading.Thread(target=int, args=("LOG-APP",))
thread.start()
thread.join()
"""
    run(site, code)
    last = "ValueError: invalid literal for int() with base 10: 'LOG-APP'"
    record = site.wait_log(re.escape(last))
    assert (record.level, record.message) == ("error", last)
    site.expect_log("Exception in thread", count=1)
    site.expect_log(r"wsgi:error\] \[pid \S+ \S+ (Traceback \(|  |ValueError: )")


def test_forked_child(site):
    code = """
import os
child = os.fork()
if child == 0:
    print("LOG-APP in a child", flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""
    run(site, code)
    site.expect_log("LOG-APP in a child", count=1)
    record = site.wait_log("LOG-APP in a child")
    assert (record.module, record.level) == ("wsgi", "error")


@pytest.mark.difference("what a daemon process writes to its standard error is a record")
def test_output_of_c_code(site):
    run(site, "import os; os.write(2, b'LOG-APP written\\n')")
    site.expect_log("LOG-APP written", count=1)
    record = site.wait_log("LOG-APP written")
    assert record.message == "LOG-APP written"
    ours = "error" if site.mode == "daemon" else "raw"
    assert record.level == differs(upstream="raw", ours=ours)


# Levels

USE_HANDLER = """
import logging, mod_wsgi
logger = logging.getLogger("log-app")
logger.setLevel(1)
logger.propagate = False
logger.addHandler(mod_wsgi.LogHandler())
"""
LEVELS = {
    5: "debug",
    10: "debug",
    19: "debug",
    20: "info",
    29: "info",
    30: "warn",
    40: "error",
    50: "crit",
    90: "crit",
}


def test_log_handler_maps_levels(site):
    code = f"""{USE_HANDLER}
for level in {list(LEVELS)}: logger.log(level, "LOG-APP at %d\\nLOG-APP again", level)
logger.handlers.clear()
print("LOG-APP end")
"""
    run(site, code)
    lines(site, "end")
    records = site.find_log("LOG-APP (at|again)")
    assert [record.level for record in records] == [
        level for level in LEVELS.values() for _ in range(2)
    ]
    for record in records:
        # As httpd shows the places in its own source.
        place = r"<request>\(8\): " if record.level == "debug" else ""
        assert re.match(rf"{place}\[\w+ 127.0.0.1:\d+\] {SCRIPT}LOG-APP", record.message)


def test_log_handler_outside_of_requests(site):
    code = f"""{USE_HANDLER}
import threading
def work():
    logger.debug("LOG-APP debug")
    logger.warning("LOG-APP warn\\nLOG-APP warn again")
thread = threading.Thread(target=work)
thread.start()
thread.join()
logger.handlers.clear()
"""
    run(site, code)
    site.expect_log("LOG-APP", count=3)
    site.wait_log("LOG-APP warn again")
    records = site.find_log("LOG-APP")
    assert [record.level for record in records] == ["debug", "warn", "warn"]
    places = [re.sub("LOG-APP.*", "", record.message) for record in records]
    assert places == ["<request>(10): ", "", ""]


def test_log_handler_with_a_formatter_and_an_exception(site):
    code = f"""{USE_HANDLER}
logger.handlers[0].setFormatter(logging.Formatter("LOG-APP %(levelname)s: %(message)s"))
try:
    int("nothing")
except ValueError:
    logger.exception("gr\\u00fc\\u00df")
logger.handlers.clear()
print("LOG-APP end")
"""
    run(site, code)
    found = lines(site, "end")
    assert found[:2] == [
        r"LOG-APP ERROR: gr\xc3\xbc\xc3\x9f",
        "Traceback (most recent call last):",
    ]
    assert found[-2] == "ValueError: invalid literal for int() with base 10: 'nothing'"


@pytest.mark.ours_only("mod_wsgi says nothing")
def test_record_that_cannot_be_formatted(site):
    run(
        site, f"{USE_HANDLER}logger.error('LOG-APP %d', 'x')\nlogger.handlers.clear()\nprint('end')"
    )
    found = lines(site, "end")
    assert found[0] == "--- Logging error ---"
    assert "TypeError: %d format: a real number is required, not str" in found


@pytest.mark.difference("records that no handler takes keep their level")
def test_records_without_a_handler(site):
    code = """
import logging
logger = logging.getLogger("log-app.nobody")
for level in (10, 20, 30, 40, 50): logger.log(level, "LOG-APP at %d", level)
logging.getLogger("log-app.other").setLevel(10)
logging.getLogger("log-app.other").info("LOG-APP never")
print("LOG-APP end")
"""
    run(site, code)
    found = lines(site, "end")
    assert found == ["LOG-APP at 30", "LOG-APP at 40", "LOG-APP at 50", "LOG-APP end"]
    levels = [record.level for record in site.find_log("LOG-APP at")]
    assert levels == differs(upstream=["error"] * 3, ours=["warn", "error", "crit"])


def test_handlers_of_the_application_come_first(site):
    code = """
import logging, sys
handler = logging.StreamHandler(sys.stderr)
handler.setFormatter(logging.Formatter("LOG-APP <%(message)s>"))
logging.getLogger("log-app.own").addHandler(handler)
logging.getLogger("log-app.own").warning("mine")
logging.getLogger("log-app.own").handlers.clear()
print("LOG-APP end")
"""
    run(site, code)
    assert lines(site, "end") == ["LOG-APP <mine>", "LOG-APP end"]
    assert site.find_log("LOG-APP <mine>")[0].level == "error"


def test_warnings(site):
    code = "import warnings\nwarnings.warn('LOG-APP careful', stacklevel=1)\nprint('LOG-APP end')"
    run(site, code)
    assert lines(site, "end") == ["<request>:2: UserWarning: LOG-APP careful", "LOG-APP end"]
    assert site.find_log("careful")[0].level == "error"


def test_captured_warnings(site):
    code = """
import logging, mod_wsgi, warnings
logger = logging.getLogger("py.warnings")
logger.addHandler(mod_wsgi.LogHandler())
logging.captureWarnings(True)
warnings.warn("LOG-APP careful")
logging.captureWarnings(False)
logger.handlers.clear()
print("LOG-APP end")
"""
    run(site, code)
    found = lines(site, "end")
    assert found[0] == "<request>:6: UserWarning: LOG-APP careful"
    assert site.find_log("careful")[0].level == "warn"


QUIET = """
WSGIDaemonProcess main
WSGIApplicationGroup %{GLOBAL}
LogLevel wsgi:LEVEL
WSGIScriptAlias /embedded ${APPS}/run-code/app.wsgi
WSGIScriptAlias /daemon ${APPS}/run-code/app.wsgi process-group=main
"""
COUNT = f"""{USE_HANDLER}
formatted = []
class Count:
    def __str__(self):
        formatted.append(1)
        return "LOG-APP counted"
def log():
    logger.info(Count())
    logger.warning(Count())
    logger.error("LOG-APP end")
"""


@pytest.mark.difference("a warning that is not logged is not formatted, either")
@pytest.mark.parametrize(("level", "count"), [("info", 2), ("warn", 1), ("error", 0)])
def test_log_handler_formats_only_what_is_logged(server_factory, mode, level, count):
    server = server_factory(QUIET.replace("LEVEL", level))
    expected = differs(upstream=max(count, 1), ours=count)
    run(server, f"{COUNT}\nlog()\nassert len(formatted) == {expected}, formatted", f"/{mode}")
    server.expect_log("LOG-APP")
    server.wait_log("LOG-APP end")
    assert len(server.find_log("LOG-APP counted")) == count
    # The place in the source is shown at level debug only.
    assert not server.find_log(r"<request>\(")


@pytest.mark.ours_only("mod_wsgi formats what is then not logged")
@pytest.mark.parametrize(("level", "count"), [("info", 2), ("error", 0)])
def test_log_handler_formats_only_what_is_logged_in_threads(server_factory, mode, level, count):
    server = server_factory(QUIET.replace("LEVEL", level))
    code = f"{COUNT}\nimport threading\nt = threading.Thread(target=log); t.start(); t.join()"
    run(server, f"{code}\nassert len(formatted) == {count}, formatted", f"/{mode}")
    server.expect_log("LOG-APP")
    server.wait_log("LOG-APP end")
    assert len(server.find_log("LOG-APP counted")) == count


@pytest.mark.difference("LogLevel of a directory holds in daemon mode, too")
def test_log_level_of_a_directory(server_factory, mode):
    server = server_factory(
        QUIET.replace("LEVEL", "error")
        + """
WSGIScriptAlias /verbose-embedded ${APPS}/run-code/app.wsgi
WSGIScriptAlias /verbose-daemon ${APPS}/run-code/app.wsgi process-group=main
<LocationMatch ^/verbose-.*>
    LogLevel wsgi:debug
</LocationMatch>
"""
    )
    for path in (f"/verbose-{mode}", f"/{mode}"):
        run(server, f"{COUNT}\nlog()\nlogger.handlers.clear()", path)
    server.expect_log("LOG-APP")
    wait_until(lambda: len(server.find_log("LOG-APP end")) == 2, "both requests")
    expected = 2 if mode == "embedded" else differs(upstream=0, ours=2)
    assert len(server.find_log("LOG-APP counted")) == expected


def test_log_level_above_error_hides_what_is_printed(server_factory, mode):
    server = server_factory(QUIET.replace("LEVEL", "crit"))
    run(server, f"print('LOG-APP hidden'){USE_HANDLER}logger.critical('LOG-APP end')", f"/{mode}")
    server.expect_log("LOG-APP end", count=1)
    server.wait_log("LOG-APP end")
    assert not server.find_log("LOG-APP hidden")


# Where lines go

SIBLINGS = """
WSGIApplicationGroup %{GLOBAL}
<VirtualHost 127.0.0.1:${PORT_first}>
    ServerName example.com
    ErrorLog ${ROOT}/logs/first.log
    WSGIDaemonProcess main
    WSGIScriptAlias /embedded ${APPS}/run-code/app.wsgi
    WSGIScriptAlias /daemon ${APPS}/run-code/app.wsgi process-group=main
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_second}>
    ServerName example.com
    ErrorLog ${ROOT}/logs/second.log
    LogLevel wsgi:debug
    WSGIScriptAlias /embedded ${APPS}/run-code/app.wsgi
    WSGIScriptAlias /daemon ${APPS}/run-code/app.wsgi process-group=main
</VirtualHost>
"""


@pytest.mark.difference("lines are not lost when a group is used from another virtual host")
def test_group_of_another_virtual_host(server_factory, mode):
    """As with a site on port 80, where the group is defined, and the same on 443."""
    server = server_factory(SIBLINGS, ports=["first", "second"])
    logs = {name: ErrorLog(server.root / f"logs/{name}.log") for name in ("first", "second")}
    for name in logs:
        code = f"""
import threading
print("LOG-APP printed {name}")
environ["wsgi.errors"].write("LOG-APP errors {name}\\n")
{USE_HANDLER}
logger.info("LOG-APP handler {name}")
logger.handlers.clear()
thread = threading.Thread(target=print, args=("LOG-APP thread {name}",))
thread.start()
thread.join()
"""
        run(server, code, f"/{mode}", port=name)
        response = server.post(f"/{mode}", b"raise ValueError('LOG-APP raised')", port=name)
        assert response.status == 500
    lost = mode == "daemon" and differs(upstream=True, ours=False)
    for name, log in logs.items():
        if lost and name == "second":
            continue
        log.wait("ValueError: LOG-APP raised")
        for what in ("printed", "errors", "handler"):
            assert len(log.find(f"LOG-APP {what} {name}")) == 1
        assert len(log.find("WSGI0174: ")) == 1
    # Lines of threads belong to the process: to the group's host, or to the main server.
    process_log = logs["first"] if mode == "daemon" else server.log
    if mode == "embedded":
        server.expect_log("LOG-APP thread", count=2)
    for name in logs:
        process_log.wait(f"LOG-APP thread {name}")
    assert not server.find_log("LOG-APP (printed|errors|handler|raised)")


IMPORTED = """
import atexit, logging, mod_wsgi, sys
logger = logging.getLogger("log-app")
logger.setLevel(1)
logger.addHandler(mod_wsgi.LogHandler())
logger.info("LOG-APP info")
print("LOG-APP printed")
sys.stdout.write("LOG-APP without end")
atexit.register(print, "LOG-APP at exit", end="", file=sys.stderr)
"""


def test_script_that_is_imported_at_the_start(server_factory, mode):
    """Its lines belong to the process: they go to the host of the group, or the main server."""
    server = server_factory(start=False, ports=["host"])
    script = server.write("site/imported.py", IMPORTED)
    group = "main" if mode == "daemon" else "%{GLOBAL}"
    server.configure(f"""
<VirtualHost 127.0.0.1:${{PORT_host}}>
    ServerName localhost
    ErrorLog ${{ROOT}}/logs/host.log
    LogLevel wsgi:debug
    WSGIDaemonProcess main
    WSGIImportScript {script} process-group={group} application-group=%{{GLOBAL}}
</VirtualHost>
""")
    server.start()
    log = ErrorLog(server.root / "logs/host.log") if mode == "daemon" else server.log
    if mode == "embedded":
        server.expect_log("LOG-APP")
    found = {text: log.wait(f"LOG-APP {text}").level for text in ("info", "printed")}
    assert found == {"info": "info", "printed": "error"}
    server.stop()
    # At the end what has no line end is logged, too.
    for text in ("without end", "at exit"):
        assert log.wait(f"LOG-APP {text}").message == f"LOG-APP {text}"
    assert not log.find(r"\[script ")


@pytest.mark.difference("lines of daemon mode have the connection's id, too")
def test_request_ids_correlate(server_factory, mode):
    server = server_factory(
        TWO_MODES
        + """
ErrorLogFormat "[%{u}t] [%-m:%l] [pid %P] connection=%{c}L request=%L %M"
CustomLog ${ROOT}/logs/ids.log "%{c}L %L"
"""
    )
    run(server, f"print('LOG-APP printed')\n{USE_HANDLER}logger.info('LOG-APP end')", f"/{mode}")
    server.expect_log("LOG-APP")
    server.wait_log("LOG-APP end")
    path = server.root / "logs/ids.log"
    wait_until(lambda: path.read_text().endswith("\n"), "the line of the access log")
    connection, request = path.read_text().split()
    assert request != "-"
    has_connection = mode == "embedded" or differs(upstream=False, ours=True)
    assert (connection != "-") == has_connection
    for record in server.find_log("LOG-APP"):
        assert f"request={request} " in record.message
        if has_connection:
            assert f"connection={connection} " in record.message


# Texts that operators look for


def test_numbers_come_before_the_script_in_lines_about_exceptions(site):
    assert site.get("/raises?when=call&what=ValueError").status == 500
    site.expect_traceback("ValueError: told to raise", count=1)
    record = site.wait_log("WSGI0174")
    assert f"WSGI0174: [script {site.server.apps}/raises/app.wsgi] " in record.message
    assert "ValueError exception raised" in record.message


@pytest.mark.ours_only("these are the words of mod_wsgi 4 and 5")
def test_phrases_of_older_releases(site):
    apps = site.server.apps
    for path, phrases in {
        "/raises?when=call&what=ValueError": [
            f"Exception occurred processing WSGI script '{apps}/raises/app.wsgi'"
        ],
        "/import-error": [
            f"Failed to exec Python script file '{apps}/import-error/app.wsgi'",
            f"Target WSGI script '{apps}/import-error/app.wsgi' cannot be loaded as Python module",
            f"Exception occurred processing WSGI script '{apps}/import-error/app.wsgi'",
        ],
        "/syntax-error": [
            f"Could not read/compile source file '{apps}/syntax-error/app.wsgi'",
            f"Target WSGI script '{apps}/syntax-error/app.wsgi' cannot be loaded as Python module",
        ],
        "/system-exit": [
            f"SystemExit exception raised by WSGI script '{apps}/system-exit/app.wsgi' ignored"
        ],
        "/no-callable": [
            f"Target WSGI script '{apps}/no-callable/app.wsgi' does not contain WSGI application"
        ],
    }.items():
        assert site.get(path).status in (404, 500)
        for phrase in phrases:
            site.wait_log(re.escape(phrase))
    site.expect_log("WSGI0(089|105|109)", count=3)
    site.expect_traceback("ValueError: told to raise", count=1)
    site.expect_traceback("ModuleNotFoundError", count=1)
    site.expect_traceback("SyntaxError: expected", count=1)
    site.expect_traceback("SystemExit: 7", "WSGI0175", count=1)
