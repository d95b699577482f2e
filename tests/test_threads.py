# SPDX-License-Identifier: Apache-2.0
"""Threads that run applications, as frameworks rely on them; the module that a script becomes."""

import hashlib
import json

import pytest

from harness.background import Background

COUNT = """
import sys, threading
from builtins import vars
store = sys.modules.setdefault("thread_app", type(sys)("thread_app"))
local = vars(store).setdefault("local", threading.local())
local.count = getattr(local, "count", 0) + 1
threads = vars(store).setdefault("threads", {})
here = threading.current_thread()
ids = [threading.get_ident(), threading.get_native_id()]
threads.setdefault(str(ids), []).append(local.count)
vars(store)["is_main"] = vars(store).get("is_main", False) or here is threading.main_thread()
"""
TELL = """
import json, sys
store = sys.modules["thread_app"]
environ["wsgi.errors"].write("THREADS " + json.dumps([store.threads, store.is_main]) + "\\n")
"""
TWO_MODES = """
WSGIDaemonProcess main threads=3
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /embedded ${APPS}/run-code/app.wsgi
WSGIScriptAlias /daemon ${APPS}/run-code/app.wsgi process-group=main
"""


def test_thread_locals_stay_with_their_threads(server_factory, mode, mpm):
    """Connections to databases are kept so. Each thread counts its requests."""
    if mpm == "prefork" and mode == "embedded":
        pytest.skip("requests go to several processes")
    server = server_factory(TWO_MODES)

    def ask() -> None:
        for _ in range(15):
            assert server.post(f"/{mode}", COUNT.encode()).status == 200

    clients = [Background(ask) for _ in range(4)]
    for client in clients:
        client.result()
    server.expect_log("THREADS", count=1)
    assert server.post(f"/{mode}", TELL.encode()).status == 200
    threads, is_main = json.loads(server.wait_log("THREADS").message.split("THREADS ")[1])
    assert sum(len(counts) for counts in threads.values()) == 60
    assert all(counts == list(range(1, len(counts) + 1)) for counts in threads.values())
    assert not is_main
    if mode == "daemon":
        assert len(threads) <= 3


def test_module_of_a_script(site):
    code = """
import os, sys
path = environ["SCRIPT_FILENAME"]
module = sys.modules[__name__]
modified = os.stat(path).st_mtime
facts = [__name__, module.__file__ == path, abs(module.__mtime__ / 1e6 - modified) < 1e-3]
environ["wsgi.errors"].write(f"MODULE {facts} {callable(module.application)}\\n")
"""
    site.expect_log("MODULE", count=1)
    assert site.post("/run-code", code.encode()).status == 200
    path = f"{site.server.apps}/run-code/app.wsgi"
    name = "_mod_wsgi_" + hashlib.md5(path.encode()).hexdigest()
    assert site.wait_log("MODULE").message.endswith(f"MODULE ['{name}', True, True] True")
