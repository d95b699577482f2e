"""Answers with what the process knows about itself, as JSON."""

import grp
import json
import locale
import os
import pwd
import sys
import threading


def application(environ, start_response):
    umask = os.umask(0o022)
    os.umask(umask)
    described = {
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "user": pwd.getpwuid(os.geteuid()).pw_name,
        "group": grp.getgrgid(os.getegid()).gr_name,
        "groups": os.getgroups(),
        "real ids": [os.getuid(), os.getgid()],
        "cwd": os.getcwd(),
        "umask": umask,
        "argv": sys.argv,
        "path": sys.path,
        "executable": sys.executable,
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "version": list(sys.version_info[:2]),
        "environ": dict(os.environ),
        "locale": locale.setlocale(locale.LC_CTYPE),
        "encoding": sys.getfilesystemencoding(),
        "thread": threading.get_ident(),
        "process_group": environ["mod_wsgi.process_group"],
        "application_group": environ["mod_wsgi.application_group"],
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(described).encode()]
