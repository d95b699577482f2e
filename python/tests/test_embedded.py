# SPDX-License-Identifier: Apache-2.0
"""What only embedded mode has: threads of the host, reload in place, and the end of a child."""

import os
import subprocess
import threading

import daemon as protocol
import pytest

pytestmark = pytest.mark.embedded_only


def test_the_interpreter_is_the_one_that_was_named(start, script, python):
    path = script("""
        import sys
        def application(environ, start_response):
            assert sys.argv == ["mod_wsgi"] and "" not in sys.path
            start_response("200 OK", [])
            return ["|".join([sys.prefix, *sys.path]).encode()]
    """)
    child = start()
    code = "import sys; print('|'.join([sys.prefix, *sys.path[1:]]))"
    outside = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    for group in ("", "other"):
        response = child.request(path, group=group)
        assert response.body.decode() == outside.stdout.strip(), response.log()


def test_application_groups_have_interpreters(start, script):
    path = script("""
        import sys, mod_wsgi
        sys.mine = getattr(sys, "mine", 0) + 1
        def application(environ, start_response):
            assert mod_wsgi.process_group == ""
            assert environ["mod_wsgi.daemon_start"] == 0.0
            start_response("200 OK", [])
            return [f"{sys.mine} {mod_wsgi.application_group}".encode()]
    """)
    child = start()
    with child.connect() as one, child.connect() as two:
        for connection in (one, two, one):
            for group in ("", "a", "b"):
                response = connection.request(path, group=group)
                assert response.body == f"1 {group}".encode(), response.log()


def test_a_changed_script_is_loaded_again_in_place(start, script):
    child = start()
    path = script("def application(e, s): s('200 OK', []); return [b'old']")
    assert child.request(path).body == b"old"
    path.write_text("def application(e, s): s('200 OK', []); return [b'new']")
    os.utime(path, ns=(1, 1_000_000_000))
    response = child.request(path)
    assert response.body == b"new" and "Reloading" in response.log()
    assert "Reloading" not in child.request(path).log()


def test_a_callable_that_is_not_there_is_404(start, hello):
    response = start().request(hello, callable_object="other")
    assert response.error == 404 and "WSGI0089" in response.log()


def test_requests_run_at_the_same_time(start, script):
    path = script("""
        import threading
        barrier = threading.Barrier(3)
        def application(environ, start_response):
            barrier.wait(20)
            start_response("200 OK", [])
            return [b"together"]
    """)
    child = start()
    connections = [child.connect() for _ in range(3)]
    for connection in connections:
        connection.send_request(path)
    assert [connection.response().body for connection in connections] == [b"together"] * 3
    for connection in connections:
        connection.close()


def test_exit_functions_run_in_every_interpreter(start, script):
    path = script("""
        import atexit, threading, time, mod_wsgi
        name = mod_wsgi.application_group
        atexit.register(print, "at exit", name)
        mod_wsgi.subscribe_shutdown(lambda event, **payload: print(event, name))
        def application(environ, start_response):
            work = lambda: time.sleep(0.2) or print("joined", name)
            threading.Thread(target=work, daemon=False).start()
            start_response("200 OK", [])
            return []
    """)
    child = start()
    for group in ("", "sub"):
        assert child.request(path, group=group).complete
    child.stop()
    log = child.log()
    assert child.wait() == 0
    for group in ("", "sub"):
        stopping, joined, at_exit = (
            log.index(f"{what} {group}\n") for what in ("process_stopping", "joined", "at exit")
        )
        assert max(stopping, joined) < at_exit, log


def test_preload(start, script):
    path = os.fsencode(script("import mod_wsgi; print('in', mod_wsgi.application_group)"))
    child = start(preload=((path, b""), (path, b"sub")))
    assert "\x013in \n" in child.text and "\x013in sub\n" in child.text


def test_a_thread_that_ends_is_replaced_by_another(start, hello):
    child = start()
    results = []
    for _ in range(20):
        thread = threading.Thread(target=lambda: results.append(child.request(hello).status))
        thread.start()
        thread.join(protocol.DEADLINE)
    assert results == [200] * 20
