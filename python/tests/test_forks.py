# SPDX-License-Identifier: Apache-2.0
"""Processes that an application forks: what mod_wsgi does is the business of their parent."""

import os

import pytest
from daemon import DRAIN, LEAVING, STOP

SERVICE_ENDED = 13
RETURNED = "a process that the application forked returned into mod_wsgi"


@pytest.fixture
def silent(script):
    """Returns in a forked process from where mod_wsgi has called it."""

    def silent(where: str):
        return script(f"""
            import os
            import signal

            import mod_wsgi

            def fork(*args, **payload):
                child = os.fork()
                if child:
                    print("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
                else:
                    print("child")

            {where}

            def application(environ, start_response):
                start_response("200 OK", [])
                return [b"whole"]
        """)

    return silent


@pytest.mark.both_modes
def test_a_forked_process_does_not_ask_for_the_body(start, script):
    app = script("""
        import os

        def application(environ, start_response):
            read, write = os.pipe()
            input = environ["wsgi.input"]
            child = os.fork()
            if not child:
                text = repr(input.read(3))
                try:
                    input.read()
                except OSError as error:
                    text += str(error)
                os.write(write, text.encode())
                os._exit(0)
            os.waitpid(child, 0)
            text = os.read(read, 1000)
            start_response("200 OK", [])
            return [text, b"; parent: ", input.read()]
    """)
    process = start()
    response = process.request(app, b"abcd", rest=[b"efgh"])
    child, _, parent = response.body.partition(b"; parent: ")
    assert parent == b"abcdefgh"
    assert b"a forked process reads only what its parent had received" in child, child


@pytest.mark.parametrize("preload", [True, False])
def test_a_process_forked_by_a_script_does_not_serve(start, silent, preload):
    app = silent("fork()")
    group = {"application_group": b"", "preload": ((os.fsencode(app), b""),)} if preload else {}
    daemon = start(**group)
    response = daemon.request(app)
    assert response.body == b"whole"
    daemon.tell(STOP, 5)
    assert daemon.told() is None
    assert daemon.wait() == 0
    log = daemon.log() + response.log()
    assert "status 255" in log and RETURNED in log


def test_a_process_forked_by_a_script_is_no_template(start, silent):
    app = silent("fork()")
    daemon = start(
        is_template=True, application_group=b"", preload=((os.fsencode(app), b""),), wait=False
    )
    # The one that was forked does not say that it is ready.
    assert daemon.told()[0] == 1
    daemon.tell(DRAIN, 1)
    assert daemon.told() is None
    assert daemon.wait() == 0
    assert RETURNED in daemon.log()


@pytest.mark.parametrize("interpreters", [False, True])
@pytest.mark.parametrize("kind", ["signals", "shutdown"])
def test_a_process_forked_by_a_subscriber_ends(start, silent, kind, interpreters):
    app = silent(f"mod_wsgi.subscribe_{kind}(fork)")
    daemon = start(interpreters=interpreters)
    assert daemon.request(app, group="sub" if interpreters else "").body == b"whole"
    if kind == "signals":
        daemon.signal(1)
        daemon.log("status")
    daemon.tell(STOP, 5)
    assert daemon.wait() == 0
    log = daemon.log()
    # CPython ends the child of a sub-interpreter itself where it does not like it.
    assert log.count("status") == 1 and "status 0" not in log, log


def test_a_process_forked_by_a_signal_handler_ends(start, silent):
    app = silent("signal.signal(signal.SIGALRM, fork)")
    daemon = start(restrict_signal=False, application_group=b"", preload=((os.fsencode(app), b""),))
    daemon.signal(14)
    daemon.log("status 255")
    assert daemon.request(app).body == b"whole"
    daemon.tell(STOP, 5)
    assert daemon.wait() == 0


def test_the_end_of_a_process_forked_by_a_service_is_not_its_own(start, script):
    service = script("""
        import os
        import sys
        import threading

        child = os.fork()
        if not child:
            sys.exit()
        print("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        threading.Event().wait()
    """)
    daemon = start(
        threads=0, deadlock_timeout=5, preload=((os.fsencode(service), b""),), application_group=b""
    )
    daemon.log("status 0")
    daemon.control.settimeout(0.2)
    with pytest.raises(TimeoutError):
        daemon.told()
    daemon.control.settimeout(30)
    daemon.tell(STOP, 5)
    assert daemon.told() == (LEAVING, SERVICE_ENDED)
    assert daemon.wait() == 0
