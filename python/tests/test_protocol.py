# SPDX-License-Identifier: Apache-2.0
"""What a daemon process does with connections, frames, and the messages of its supervisor."""

import os
import signal
import struct
import subprocess
import sys
import time

import daemon as protocol
import pytest
from daemon import DRAIN, END, HEAD, LEAVING, READY, REPLACE, REQUEST, STOP, wait_for

SLOW = """
    import time, os
    def application(environ, start_response):
        open(environ["QUERY_STRING"] + ".started", "w").close()
        while not os.path.exists(environ["QUERY_STRING"]):
            time.sleep(0.01)
        start_response("200 OK", [])
        return [b"slow"]
"""


class Slow:
    """A request that runs until it is released."""

    def __init__(self, daemon, script, gate):
        self.gate = gate
        self.connection = daemon.connect()
        self.connection.send_request(script, environ={"QUERY_STRING": str(gate)})
        wait_for(lambda: os.path.exists(f"{gate}.started"))

    def finish(self):
        self.gate.touch()
        response = self.connection.response()
        self.connection.close()
        return response


def test_a_connection_carries_one_request_after_another(start, hello):
    daemon = start()
    with daemon.connect() as connection:
        for _ in range(5):
            response = connection.request(hello)
            assert (response.status, response.body, response.complete) == (200, b"hello", True)
            assert response.frames[-1] == HEAD


def test_the_started_mark_is_written_and_only_its_own(start, hello):
    daemon = start()
    daemon.request(hello, slot=3, mark=77)
    assert [daemon.region.mark(slot) for slot in range(8)] == [0, 0, 0, 77, 0, 0, 0, 0]
    assert daemon.request(hello, slot=8, mark=5).status == 200


def test_a_request_that_has_waited_for_too_long_is_not_run(start, hello, script):
    daemon = start(queue_timeout=600)
    with daemon.connect() as connection:
        # It began in 2023.
        response = connection.request(hello, slot=1, mark=9)
        assert response.error == 504 and "WSGI0084" in response.log()
        assert daemon.region.mark(1) == 0
        now = time.time_ns() // 1000
        assert connection.request(hello, request_start=now).status == 200
        # What a hook has to say is wanted whenever.
        path = script("def allow_access(environ, host): return True")
        assert connection.ask(protocol.ACCESS, path, b"host").answer == protocol.YES
    assert start(queue_timeout=0).request(hello).status == 200


def test_a_script_that_does_not_load_has_not_started(start, script):
    daemon = start()
    assert daemon.request(script("1 +"), slot=1, mark=9).error == 500
    assert daemon.region.mark(1) == 0


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 8,
        b"\0" * 8,
        struct.pack("<IBBH", 17 << 20, REQUEST, 0, 0),
        struct.pack("<IBBH", 0, REQUEST, 0, 1),
        struct.pack("<IBBH", 0, REQUEST, 0, 0),
        struct.pack("<IBBH", 4, REQUEST, 0, 0) + b"abcd",
        struct.pack("<IBBH", 0, END, 0, 0),
        struct.pack("<IBBH", 0, protocol.BODY, 0, 0),
        struct.pack("<IBBH", 40, REQUEST, 0, 0) + b"\0" * 40,
        struct.pack("<IBBH", 40, REQUEST, 0, 0) + b"\xff" * 40,
    ],
)
def test_a_frame_without_meaning_costs_only_its_connection(start, hello, data):
    daemon = start()
    with daemon.connect() as connection:
        connection.socket.sendall(data)
        assert connection.at_end()
    assert daemon.request(hello).status == 200
    assert "WSGI0080" in daemon.log("WSGI0080")


def test_every_truncation_of_a_request_is_refused(start, hello):
    daemon = start()
    payload = protocol.encode_request(hello)
    for length in [*range(0, 60, 7), len(payload) - 30]:
        with daemon.connect() as connection:
            connection.send_frame(REQUEST, payload[:length])
            assert connection.at_end(), length
    assert daemon.request(hello).status == 200


def test_two_requests_at_once_on_one_connection_are_refused(start, hello):
    daemon = start()
    payload = protocol.encode_request(hello)
    frame = struct.pack("<IBBH", len(payload), REQUEST, 0, 0) + payload
    with daemon.connect() as connection:
        connection.socket.sendall(frame + frame)
        assert connection.at_end()
    assert daemon.request(hello).status == 200


def test_a_frame_may_come_in_pieces(start, hello):
    daemon = start()
    payload = protocol.encode_request(hello, environ={"HTTP_X": "y" * 100_000})
    frame = struct.pack("<IBBH", len(payload), REQUEST, 0, 0) + payload
    with daemon.connect() as connection:
        for at in range(0, len(frame), 30_000):
            connection.socket.sendall(frame[at : at + 30_000])
        assert connection.response().body == b"hello"


def test_the_rest_of_a_frame_must_come_in_time(start, hello):
    daemon = start(socket_timeout=1, threads=1)
    with daemon.connect() as connection:
        connection.socket.sendall(b"\x10\0\0\0\1")
        assert connection.at_end()
    assert daemon.request(hello).status == 200


def test_a_connection_that_ends_within_a_frame_costs_nothing_else(start, hello):
    daemon = start(threads=1)
    with daemon.connect() as connection:
        connection.socket.sendall(b"\x10\0\0\0\1\0\0\0abc")
    assert daemon.request(hello).status == 200


def test_an_idle_connection_is_not_timed_out(start, hello):
    daemon = start(socket_timeout=1)
    with daemon.connect() as connection:
        assert connection.request(hello).status == 200
        connection.socket.settimeout(2.5)
        with pytest.raises(TimeoutError):
            connection.socket.recv(1)
        connection.socket.settimeout(protocol.DEADLINE)
        assert connection.request(hello).status == 200


def test_a_process_that_is_no_child_is_refused(start, hello):
    daemon = start()
    daemon.region.own(0, 1)
    with daemon.connect() as connection:
        assert connection.at_end()
    assert "no httpd child" in daemon.log("no httpd child")
    daemon.region.own(1, os.getpid())
    assert daemon.request(hello).status == 200


def test_another_process_is_refused(start):
    daemon = start()
    stranger = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "sys.exit(len(s.recv(1)))"
    )
    assert subprocess.run([sys.executable, "-c", stranger, daemon.path]).returncode == 0
    assert "no httpd child" in daemon.log("no httpd child")


def test_another_user_is_refused(start):
    daemon = start(peer_uid=os.getuid() + 1)
    with daemon.connect() as connection:
        assert connection.at_end()
    assert "user id" in daemon.log("user id")


def test_another_build_is_refused(start):
    daemon = start(build_id=b"0.0.1-0123456789abcdef", wait=False)
    assert daemon.wait() == 1
    assert "do not belong together" in daemon.log()


def test_settings_without_meaning_are_refused(start):
    daemon = start(geometry=(2, 1000, 1000, 1000), wait=False)
    daemon.region.memory.resize(4096)
    assert daemon.wait() == 1


def test_drain_lets_running_requests_finish_and_takes_no_more(start, script, hello, tmp_path):
    daemon = start(threads=3)
    slow = Slow(daemon, script(SLOW), tmp_path / "gate")
    with daemon.connect() as idle:
        assert idle.request(hello).status == 200
        daemon.tell(DRAIN, 20)
        assert idle.at_end()
    with pytest.raises((ConnectionError, EOFError)):
        daemon.request(hello)
    assert slow.finish().body == b"slow"
    assert daemon.wait() == 0


def test_an_idle_process_leaves_at_once(start):
    for message in (DRAIN, STOP):
        daemon = start()
        daemon.tell(message, 0)
        assert daemon.wait() == 0


@pytest.mark.no_python
def test_drain_does_not_wait_longer_than_it_says(start, script, tmp_path):
    daemon = start()
    slow = Slow(daemon, script(SLOW), tmp_path / "gate")
    daemon.tell(DRAIN, 1)
    assert daemon.wait() == 1
    with pytest.raises(EOFError):
        slow.connection.response()
    assert "time is up" in daemon.log()


def test_stop_after_drain_is_what_counts(start, script, tmp_path):
    daemon = start()
    Slow(daemon, script(SLOW), tmp_path / "gate")
    daemon.tell(DRAIN, 0)
    daemon.tell(STOP, 1)
    assert daemon.wait() == 1


def test_a_process_without_supervisor_leaves(start):
    daemon = start()
    daemon.control.shutdown(protocol.socket.SHUT_RDWR)
    assert daemon.wait() == 0
    assert "supervisor is gone" in daemon.log()


def test_a_process_without_supervisor_finishes_what_runs(start, script, tmp_path):
    daemon = start(shutdown_timeout=20)
    slow = Slow(daemon, script(SLOW), tmp_path / "gate")
    daemon.control.shutdown(protocol.socket.SHUT_RDWR)
    daemon.log("supervisor is gone")
    assert slow.finish().body == b"slow"
    assert daemon.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process(start, number):
    daemon = start()
    daemon.signal(number)
    assert daemon.told() == (LEAVING, 1)
    assert daemon.wait() == 0


def test_sigterm_lets_running_requests_finish(start, script, tmp_path):
    daemon = start(shutdown_timeout=20)
    slow = Slow(daemon, script(SLOW), tmp_path / "gate")
    daemon.signal(signal.SIGTERM)
    assert daemon.told() == (LEAVING, 1)
    assert slow.finish().body == b"slow"
    assert daemon.wait() == 0


def test_sigusr1_asks_for_a_replacement_once_and_serves_on(start, hello):
    daemon = start()
    daemon.signal(signal.SIGUSR1)
    assert daemon.told() == (REPLACE, 2)
    daemon.signal(signal.SIGUSR1)
    assert daemon.request(hello).status == 200
    daemon.tell(DRAIN, 5)
    assert daemon.told() is None
    assert daemon.wait() == 0


def test_a_request_without_interpreter_counts_for_maximum_requests(start, hello):
    daemon = start(maximum_requests=2, interpreters=True, application_groups=1)
    assert daemon.request(hello, group="one").body == b"hello"
    assert daemon.request(hello, group="two").error == 503
    assert daemon.told() == (REPLACE, 3)


def test_a_subscriber_is_a_part_of_the_application(start, script):
    app = script("""
        import os
        import mod_wsgi

        @mod_wsgi.subscribe_events
        def event(name, **payload):
            if name == "request_started":
                os._exit(3)

        def application(environ, start_response):
            pass
    """)
    daemon = start()
    with daemon.connect() as connection:
        connection.send_request(app, slot=0, mark=1)
        assert daemon.wait() == 3
    assert daemon.region.mark(0) == 1


def test_maximum_requests_asks_for_a_replacement_and_serves_on(start, hello):
    daemon = start(maximum_requests=2)
    for _ in range(3):
        assert daemon.request(hello).status == 200
    assert daemon.told() == (REPLACE, 3)
    daemon.tell(DRAIN, 5)
    assert daemon.told() is None


def test_run_once_takes_one_request(start, hello):
    daemon = start(maximum_requests=1, threads=1, run_once=True)
    assert daemon.request(hello).status == 200
    assert daemon.request(hello).rejected == 1


def test_a_changed_script_is_rejected_and_others_are_served(start, script, hello):
    daemon = start()
    changing = script("def application(e, s): s('200 OK', []); return [b'old']")
    assert daemon.request(changing).body == b"old"
    os.utime(changing, ns=(1, 1_000_000_000))
    for _ in range(2):
        assert daemon.request(changing, slot=0, mark=5).rejected == 2
    assert daemon.region.mark(0) == 0
    assert daemon.request(hello).status == 200
    assert daemon.request(changing, reloading=False).body == b"old"
    assert daemon.told() == (REPLACE, 4)
    daemon.tell(STOP, 5)
    assert daemon.told() is None


def test_without_a_time_from_httpd_the_file_is_looked_at(start, script):
    daemon = start()
    changing = script("def application(e, s): s('200 OK', []); return [b'old']")
    assert daemon.request(changing, mtime=-1).body == b"old"
    assert daemon.request(changing, mtime=-1).body == b"old"
    os.utime(changing, ns=(1, 1_000_000_000))
    assert daemon.request(changing, mtime=-1).rejected == 2


def test_a_script_can_say_itself_that_it_is_stale(start, script):
    daemon = start()
    path = script("""
        stale = False
        def reload_required(path):
            assert path == __file__
            return stale
        def application(environ, start_response):
            global stale
            stale = True
            start_response("200 OK", [])
            return [b"once"]
    """)
    assert daemon.request(path).body == b"once"
    assert daemon.request(path).rejected == 2


def test_ready_comes_after_preload(start, script):
    path = script("import sys; print('preloaded', __name__); application = None")
    daemon = start(preload=((os.fsencode(path), b""),), wait=False)
    assert daemon.told() == (READY, 5)
    assert "preloaded _mod_wsgi_" in daemon.log("preloaded _mod_wsgi_")


def test_a_preload_that_fails_is_logged_and_the_process_serves(start, script, hello):
    path = script("raise ValueError('at start')")
    daemon = start(preload=((os.fsencode(path), b""), (b"/does/not/exist", b"")))
    log = daemon.log("WSGI0106")
    assert "WSGI0110" in log and "ValueError: at start" in log and "WSGI0174" in log
    assert daemon.request(hello).status == 200


def test_many_connections_at_once(start, hello):
    daemon = start(threads=4)
    connections = [daemon.connect() for _ in range(40)]
    for round_ in range(3):
        for connection in connections:
            connection.send_request(hello)
        for connection in connections:
            assert connection.response().body == b"hello", round_
    for connection in connections:
        connection.close()


@pytest.mark.parametrize(
    "options", [{}, {"skip_finalisation": True}, {"interpreters": True}], ids=lambda o: "".join(o)
)
def test_what_c_code_has_printed_is_not_lost_at_the_end(start, script, options):
    app = script("""
        import ctypes

        ctypes.CDLL(None).puts(b"printed by C")

        def application(environ, start_response):
            start_response("200 OK", [])
            return [b"whole"]
    """)
    daemon = start({"PYTHONUNBUFFERED": ""}, **options)
    assert daemon.request(app, group="a").body == b"whole"
    daemon.tell(STOP, 5)
    assert daemon.wait() == 0
    assert "printed by C" in daemon.log()
