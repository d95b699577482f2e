# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F821 - some names are put into the namespace before this runs
"""Functions that the Rust code calls when an interpreter is set up or a script is first used.

Runs in a namespace of its own, with `functions` (of the Rust code), `settings` (a dict),
`application_group`, `is_main`, `owns_gil`, and `streams` in it: for `stdin` and `stdout` the stream
that is used freely and the one that refuses. Nothing here runs for a request.
"""

import os
import sys


def module_name(path):
    """Name of the module of the WSGI script at `path` (bytes)."""
    import hashlib

    if not settings["case_sensitivity"]:
        path = path.lower()
    return "_mod_wsgi_" + hashlib.md5(path, usedforsecurity=False).hexdigest()


def locate_module(names, path):
    """Says in the namespace of a script's module where it comes from, as the import system does for
    any module of a file: `importlib.resources`, `pkgutil` and Flask look at it."""
    from importlib.machinery import SourceFileLoader
    from importlib.util import spec_from_file_location

    name = names["__name__"]
    loader = SourceFileLoader(name, path)
    spec = spec_from_file_location(name, path, loader=loader)
    names.update(__spec__=spec, __loader__=loader, __file__=path, __cached__=None)


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
    names["build_date"] = settings["apache_build_date"]
    # The MPM's, also in a daemon process: those of a process group are in mod_wsgi.
    names["mpm_name"] = settings["apache_mpm"]
    names["maximum_processes"] = settings["apache_processes"]
    names["threads_per_process"] = settings["apache_threads"]


def set_up_interpreter(group):
    """Makes the interpreter what the configuration says; `group` is its application group, or None
    where the first request decides."""
    # Imported first on the main thread, it takes that for its main thread, and not a worker.
    import threading  # noqa: F401

    # As the bootstrap does it for the main interpreter.
    sys.argv = ["mod_wsgi"]
    if sys.path and sys.path[0] == "":
        del sys.path[0]
    if any(option["restrict_stdout"] for option in (settings, *settings["layers"])):
        import atexit

        atexit.register(release_stdout)
    eggs = settings["python_eggs"]
    if eggs is not None and os.environ.get("PYTHON_EGG_CACHE") != eggs:
        os.environ["PYTHON_EGG_CACHE"] = eggs
    if settings["hide_hash_seed"]:
        os.environ.pop("PYTHONHASHSEED", None)
    if owns_gil and not is_main and sys.version_info < (3, 13):
        guard_extensions()
    replace_last_resort()
    apply_options(group)


def replace_last_resort():
    """Records of `logging` that no handler takes get their level in httpd's log, instead of all
    being errors because they are written to sys.stderr."""
    import logging

    import mod_wsgi

    logging.lastResort = mod_wsgi.LogHandler(logging.WARNING)


def adopt_group(group):
    """The application group of the process is known: what is said for it alone begins to hold."""
    if any(layer["application_group"] == group for layer in settings["layers"]):
        apply_options(group)


def apply_options(group):
    """Applies the settings, and over them the layers that hold for `group`, the most specific last;
    with None those that hold for every group."""
    names = ("restrict_stdin", "restrict_stdout", "restrict_signal", "switch_interval")
    options = {name: settings[name] for name in names}
    is_scoped = False
    paths = [settings["python_path"]]
    for layer in settings["layers"]:
        if layer["application_group"] not in (None, group):
            paths.append(None)
            continue
        paths.append(layer["python_path"])
        options.update((name, layer[name]) for name in names if layer[name] is not None)
        if layer["switch_interval"] is not None:
            is_scoped = layer["application_group"] is not None
    restrict_stream("stdin", options["restrict_stdin"])
    restrict_stream("stdout", options["restrict_stdout"])
    restrict_signal(options["restrict_signal"])
    set_switch_interval(options["switch_interval"], is_scoped)
    extend_path(paths)


def guard_extensions():
    """Keeps Python 3.12 from running the set-up of an extension module that can not be in an
    interpreter with a GIL of its own.

    It refuses such a module only afterwards, when what the set-up has made in this interpreter is
    referred to from the module's static variables: the next interpreter that asks for the module
    (`_datetime`, for instance) crashes. A module that another interpreter has loaded is refused
    before. So the main interpreter makes each first, as Python 3.13 does it itself.
    """
    from importlib.machinery import BuiltinImporter, ExtensionFileLoader

    create_dynamic = ExtensionFileLoader.create_module
    create_builtin = BuiltinImporter.create_module

    def create_module(self, spec):
        functions.create_in_main(spec.name, os.fsencode(spec.origin))
        return create_dynamic(self, spec)

    def create_builtin_module(spec):
        functions.create_in_main(spec.name, b"")
        return create_builtin(spec)

    ExtensionFileLoader.create_module = create_module
    BuiltinImporter.create_module = staticmethod(create_builtin_module)


def create_extension(name, path):
    """Creates the extension module at `path` (bytes; empty for one that is built in), and forgets
    it: the interpreter knows of what kind it is."""
    import _imp
    from importlib._bootstrap import _ModuleLockManager
    from importlib.machinery import ModuleSpec

    # Another thread of this interpreter may be importing it.
    with _ModuleLockManager(name):
        if name not in sys.modules:
            spec = ModuleSpec(name, None, origin=os.fsdecode(path) if path else "built-in")
            (_imp.create_dynamic if path else _imp.create_builtin)(spec)
            sys.modules.pop(name, None)


def restrict_stream(name, is_restricted):
    free, refusing = streams[name]
    current, wanted = (free, refusing) if is_restricted else (refusing, free)
    if getattr(sys, name) is current:
        setattr(sys, name, wanted)


def release_stdout():
    # Python flushes it after the last exit function, and this is the last.
    if sys.stdout is streams["stdout"][1]:
        sys.stdout = None


switch_interval = None


def set_switch_interval(seconds, is_scoped):
    global switch_interval
    if seconds is None or seconds == switch_interval:
        return
    if not owns_gil:
        # Unscoped, it was set in the main interpreter, and the GIL is the same.
        if is_scoped:
            functions.log(
                4,
                f"WSGI0199: the switch interval {seconds:g} of application group "
                f"'{application_group}' is not used: its interpreter shares the GIL with others "
                "(see WSGIPerInterpreterGIL)",
            )
        return
    try:
        sys.setswitchinterval(seconds)
    except (OverflowError, ValueError) as error:
        functions.log(4, f"the switch interval can not be set to {seconds:g} s: {error}")
        return
    switch_interval = seconds
    functions.log(6, f"the switch interval is {seconds:g} s")


# Entries of sys.path that each of the lists of directories has added.
path_entries = {}


def extend_path(paths):
    """Puts the configured directories, and what their .pth files add, in front of sys.path, those
    of later lists first. A list that is None does not hold (yet)."""
    home = settings["home"] if settings["is_daemon"] else None
    if home and sys.path[:1] == [home]:
        del sys.path[0]
    for number, directories in enumerate(paths):
        if directories is None:
            continue
        if number not in path_entries:
            path_entries[number] = add_directories(directories.split(os.pathsep))
        added = [entry for entry in path_entries[number] if entry in sys.path]
        if added:
            sys.path[:] = added + [entry for entry in sys.path if entry not in added]
    if home:
        sys.path.insert(0, home)


def add_directories(directories):
    """Adds directories to sys.path; the entries that are new."""
    import site

    before = list(sys.path)
    for directory in directories:
        if not directory:
            continue
        if not os.path.isdir(directory):
            functions.log(4, f"WSGI0095: directory '{directory}' of the Python path does not exist")
        try:
            site.addsitedir(directory)
        except BaseException:
            # Of a .pth file: Exception is told by site itself, and SystemExit comes through.
            import traceback

            functions.log(
                3,
                f"WSGI0091: directory '{directory}' of the Python path cannot be added as a whole\n"
                f"{traceback.format_exc().rstrip()}",
            )
    return [entry for entry in sys.path if entry not in before]


# `signal.signal` as it was, and what stands in its place; empty before it was replaced.
signal_functions = ()

# The process whose registrations of handlers are ignored: not one that the application has forked.
signal_owner = os.getpid()


def restrict_signal(is_restricted):
    global signal_functions
    if is_restricted and not signal_functions:
        intercept_signals()
    elif not is_restricted and signal_functions:
        import signal

        register, intercept = signal_functions
        if signal.signal is intercept:
            signal.signal = register
        signal_functions = ()


def intercept_signals():
    """Registrations of signal handlers are ignored: httpd and mod_wsgi need the signals."""
    global signal_functions
    import operator
    import signal
    import traceback

    register = signal.signal

    def intercept(signalnum, handler, /):
        if os.getpid() != signal_owner:
            return register(signalnum, handler)
        number = operator.index(signalnum)
        try:
            signal_name = signal.Signals(number).name
        except ValueError:
            # Real-time signals have no names but the first and the last.
            signal_name = f"signal {number}"
        functions.log(
            6, f"registration of a handler for {signal_name} was ignored (WSGIRestrictSignal)"
        )
        for line in "".join(traceback.format_stack()).splitlines():
            functions.log(6, line)
        return handler

    intercept.__name__ = intercept.__qualname__ = "signal"
    intercept.__doc__ = register.__doc__
    signal.signal = intercept
    signal_functions = (register, intercept)


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
    import threading

    # Before 3.13, _shutdown() waits for ever for the thread that imported `threading`, when it is
    # called on another one.
    main = threading.main_thread()
    lock = getattr(main, "_tstate_lock", None)
    if lock is not None and main.ident != threading.get_ident():
        threading._shutdown_locks.discard(lock)
    threading._shutdown()
    atexit._run_exitfuncs()
    flush_streams()


def flush_streams():
    """What was printed without a line end is logged."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
            stream.buffer.flush_all()
        except (AttributeError, OSError, ValueError):
            # The application has put something else there, or it refuses.
            pass


def prepare_fork():
    """Everything that there is stays out of later collections, which would write to memory that
    forked processes share. Names of the threads that these will not have."""
    import gc
    import threading

    flush_streams()
    gc.collect()
    gc.freeze()
    threads = threading.enumerate()
    return ", ".join(thread.name for thread in threads if thread is not threading.main_thread())


def after_fork():
    """This process was forked by mod_wsgi, and is what its parent was."""
    global signal_owner
    signal_owner = os.getpid()


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


def handle_signals_of_service():
    """A service script ends as a program does that is told to, unless it says otherwise."""
    import signal

    def leave(signalnum, frame):
        raise SystemExit(0)

    def ignore(signalnum, frame):
        pass

    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGXCPU):
        signal.signal(number, leave)
    for number in (signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, ignore)


def wait_for_threads():
    import threading

    threading._shutdown()


def enable_faulthandler():
    import faulthandler

    faulthandler.enable(2)


def path_files():
    """Names and times of the files that put further folders on `sys.path` at the start."""
    found = []
    for folder in sys.path:
        try:
            with os.scandir(folder) as entries:
                found += [
                    (entry.path, entry.stat().st_mtime_ns)
                    for entry in entries
                    if entry.name.endswith(".pth")
                ]
        except OSError:
            continue
    return repr(sorted(found))


#: Modification times of the files of modules, by path, when they were first seen.
module_times = {}

#: Those that were found to be other ones, and how often such were given up.
changed_times = {}
given_up = 0


def is_of_application(path):
    folder = os.path.dirname(os.__file__) + os.sep
    return not (path.startswith(folder) or "/site-packages/" in path or "/dist-packages/" in path)


def modules_changed(kept):
    """Whether the file of a module of the application is another one than when the module was first
    seen. When `kept` is another number than before, the code of such files did not load, and only
    further changes count."""
    global given_up

    if kept != given_up:
        given_up = kept
        module_times.update(changed_times)
        changed_times.clear()
    for name, module in list(sys.modules.items()):
        try:
            # Not by getattr(), which imports what is behind the lazy modules of some packages.
            path = object.__getattribute__(module, "__dict__").get("__file__")
            if not isinstance(path, str) or name.startswith("_mod_wsgi_"):
                continue
            known = module_times.get(path)
            if known is None and not is_of_application(path):
                module_times[path] = known = False
            if known is False:
                continue
            current = os.stat(path).st_mtime_ns
        except (AttributeError, OSError, ValueError):
            continue
        if known is None:
            module_times[path] = current
        elif current != known:
            changed_times[path] = current
    return bool(changed_times)


def stack_of(thread):
    """Where the thread with this number is, as text; it is one of this interpreter."""
    import traceback

    frame = sys._current_frames().get(thread)
    if frame is None:
        return "  (it runs no Python code)"
    return "".join(traceback.format_stack(frame)).rstrip()


def dump_on_signal(number, descriptor):
    """Has faulthandler write the stacks of all threads of this interpreter to `descriptor` when the
    signal comes: it needs no GIL for that."""
    import faulthandler

    faulthandler.register(number, descriptor, all_threads=True, chain=False)
