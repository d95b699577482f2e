"""Answers with everything that a configuration decides about its process and request, as JSON."""

import json
import locale
import os
import pwd
import signal
import sys

from mod_wsgi import version

loads = []
"""What happened to this module before the first request; hooks add to it."""


def probe(stream):
    try:
        stream.fileno
    except OSError:
        return "restricted"
    return "usable"


def probe_signal():
    def handler(*_):
        pass

    try:
        return "restricted" if signal.signal(signal.SIGURG, handler) is handler else "usable"
    except ValueError:  # Not the main thread: the function is Python's own.
        return "usable"


def describe(name, environ):
    umask = os.umask(0o022)
    os.umask(umask)
    described = {
        "callable": name,
        "script": __file__,
        "process_group": environ["mod_wsgi.process_group"],
        "application_group": environ["mod_wsgi.application_group"],
        "mount": environ["SCRIPT_NAME"],
        "path_info": environ["PATH_INFO"],
        "multithread": environ["wsgi.multithread"],
        "multiprocess": environ["wsgi.multiprocess"],
        "scheme": environ["wsgi.url_scheme"],
        "handler": environ["mod_wsgi.request_handler"],
        "version": version == environ["mod_wsgi.version"],
        "pid": os.getpid(),
        "user": pwd.getpwuid(os.geteuid()).pw_name,
        "cwd": os.getcwd(),
        "umask": umask,
        "prefix": sys.prefix,
        "path": sys.path,
        "optimize": sys.flags.optimize,
        "dont_write_bytecode": sys.dont_write_bytecode,
        "warnings": sys.warnoptions,
        "switch_interval": sys.getswitchinterval(),
        "locale": locale.setlocale(locale.LC_CTYPE),
        "stdout": probe(sys.stdout),
        "stdin": probe(sys.stdin),
        "signal": probe_signal(),
        "loads": loads,
        "os_environ": dict(os.environ),
        "environ": {key: value for key, value in environ.items() if isinstance(value, str)},
    }
    if environ["REQUEST_METHOD"] == "POST":
        described["body"] = environ["wsgi.input"].read().decode("latin-1")
    return json.dumps(described).encode()


def answer(name, environ, start_response):
    status = environ["QUERY_STRING"].replace("+", " ") or "200 OK"
    start_response(status, [("Content-Type", "application/json")])
    return [describe(name, environ)]


def application(environ, start_response):
    return answer("application", environ, start_response)


def app(environ, start_response):
    return answer("app", environ, start_response)


def handle_request(environ, start_response):
    return answer("handle_request", environ, start_response)
