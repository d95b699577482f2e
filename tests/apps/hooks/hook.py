"""Hooks that give what the request asks for: headers named after them hold Python expressions."""

import hashlib
import json
import os
import sys

import mod_wsgi

calls = 0


def fail(exception):
    raise exception


def partly(*items):
    yield from items
    raise ValueError("no more")


def answer(environ, name, default, **names):
    global calls
    calls += 1
    tell = environ.get("HTTP_X_TELL")
    if tell == name:
        print(
            repr({key: kept(value) for key, value in environ.items()}), file=environ["wsgi.errors"]
        )
    expression = environ.get(f"HTTP_X_{name}")
    return (
        default
        if expression is None
        else eval(expression, globals(), {"environ": environ, **names})
    )


def kept(value):
    return [type(value).__name__, value if isinstance(value, (str, int, tuple)) else None]


def about():
    """What process this is, as a user's name."""
    names = (mod_wsgi.process_group, mod_wsgi.application_group)
    return json.dumps([os.getpid(), sys.executable, *names, calls])


def allow_access(environ, host):
    return answer(environ, "ACCESS", True, host=host)


def check_password(environ, user, password):
    return answer(environ, "PASSWORD", password == "secret", user=user, password=password)


def get_realm_hash(environ, user, realm):
    wanted = hashlib.md5(f"{user}:{realm}:secret".encode("latin-1")).hexdigest()
    return answer(environ, "REALM_HASH", wanted, user=user, realm=realm, wanted=wanted)


def groups_for_user(environ, user):
    return answer(environ, "GROUPS", ["everyone"], user=user)
