# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F821 - some names are put into the namespace before this runs
"""Functions that the Rust code calls when an interpreter is set up or a script is first used.

Runs in a namespace of its own, with `functions` (of the Rust code), `settings` (a dict) and
`application_group` in it. Nothing here runs for a request.
"""

import os
import sys


def module_name(path):
    """Name of the module of the WSGI script at `path` (bytes)."""
    import hashlib

    if not settings["case_sensitivity"]:
        path = path.lower()
    return "_mod_wsgi_" + hashlib.md5(path, usedforsecurity=False).hexdigest()


def path_of_installed_package():
    """`__path__` of the mod_wsgi package from PyPI, whose submodules stay importable."""
    import importlib.machinery

    spec = importlib.machinery.PathFinder.find_spec("mod_wsgi")
    if spec is None or spec.submodule_search_locations is None:
        return None
    return list(spec.submodule_search_locations)


def fill_apache(names):
    names["version"] = settings["apache_version"]
    names["description"] = settings["apache_description"]
    names["maximum_processes"] = settings["processes"]
    names["threads_per_process"] = settings["threads"]


def set_up_interpreter():
    # Imported first on the main thread, it takes that for its main thread, and not a worker.
    import threading  # noqa: F401

    # As the bootstrap does it for the main interpreter.
    sys.argv = ["mod_wsgi"]
    if sys.path and sys.path[0] == "":
        del sys.path[0]
    if settings["restrict_stdout"]:
        import atexit

        # Python flushes it after the last exit function, and this is the last.
        atexit.register(setattr, sys, "stdout", None)
    if settings["restrict_signal"]:
        intercept_signals()
    extend_path()


def extend_path():
    """Puts the configured directories, and what their .pth files add, in front of sys.path."""
    import site

    before = list(sys.path)
    for directory in (settings["python_path"] or "").split(os.pathsep):
        if not directory:
            continue
        if not os.path.isdir(directory):
            functions.log(3, f"WSGI0095: directory '{directory}' of the Python path does not exist")
        site.addsitedir(directory)
    added = [entry for entry in sys.path if entry not in before]
    if added:
        sys.path[:] = added + [entry for entry in sys.path if entry in before]
    if settings["is_daemon"] and settings["home"]:
        sys.path.insert(0, settings["home"])


def intercept_signals():
    """Registrations of signal handlers are ignored: httpd and mod_wsgi need the signals."""
    import signal
    import traceback

    register = signal.signal
    owner = os.getpid()

    def intercept(signalnum, handler):
        if os.getpid() != owner:
            return register(signalnum, handler)
        signal_name = signal.Signals(signalnum).name
        functions.log(
            6, f"registration of a handler for {signal_name} was ignored (WSGIRestrictSignal)"
        )
        for line in "".join(traceback.format_stack()).splitlines():
            functions.log(6, line)
        return handler

    intercept.__name__ = intercept.__qualname__ = "signal"
    intercept.__doc__ = register.__doc__
    signal.signal = intercept


def publish(callbacks, name, payload):
    """Calls each subscriber; a dict that one returns is merged into what later ones see."""
    for callback in tuple(callbacks):
        try:
            result = callback(name, **payload)
        except Exception:
            import traceback

            functions.log(3, f"WSGI0112: callback for event '{name}' failed")
            for line in traceback.format_exc().splitlines():
                functions.log(3, line)
        else:
            if type(result) is dict:
                payload.update(result)
    return payload


def run_exit_functions():
    """What the interpreter runs at exit, without ending it."""
    import atexit
    import contextlib
    import threading

    # Before 3.13, _shutdown() waits for ever for the thread that imported `threading`, when it is
    # called on another one.
    main = threading.main_thread()
    lock = getattr(main, "_tstate_lock", None)
    if lock is not None and main.ident != threading.get_ident():
        threading._shutdown_locks.discard(lock)
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()


def describe():
    """Version, prefix and GIL, for the line at the start."""
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    version = ".".join(map(str, sys.version_info[:3]))
    return f"Python {version} in {sys.prefix} ({'GIL' if gil else 'free-threaded'})"


def wake_on_signals(descriptor):
    """Has Python's own signal handlers write to `descriptor`, so that the main thread, which waits
    in C, comes and runs what applications have registered."""
    import signal

    signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)


def enable_faulthandler():
    import faulthandler

    faulthandler.enable(2)
