# SPDX-License-Identifier: Apache-2.0
"""What a client, the author of an .htaccess or a process of a group must not be able to do through
hooks, handler scripts and headers."""

import os
import pwd
from base64 import b64encode

import pytest

from harness.plugin import differs

GROUP_HOOKS = "hooks of mod_wsgi run in httpd's children only"

HOOKS = '''"""Says who is banned, or fails as the query says."""

import os


def check_password(environ, user, password):
    return password == "secret"


def groups_for_user(environ, user):
    if environ["QUERY_STRING"] == "die":
        os._exit(3)
    return ["banned"] if user == "bob" else ["staff"]


def allow_access(environ, host):
    look_up = environ["mod_ssl.var_lookup"]
    secrets = [look_up(name) for name in ("HTTP:Authorization", "ENV:PATH")]
    print("KNOWS", secrets, look_up("REQUEST_METHOD"), host, file=environ["wsgi.errors"])
    return True
'''


def basic(user: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{user}:secret".encode()).decode()}


@pytest.mark.ours_only(GROUP_HOOKS)
def test_group_script_that_dies_does_not_let_anyone_in(server_factory):
    """`Require not` turns a denial round, and must not turn this one round."""
    server = server_factory(
        """
WSGIDaemonProcess hooks threads=2
<Location />
    AuthType Basic
    AuthName x
    AuthBasicProvider wsgi
    WSGIAuthUserScript ${ROOT}/hook.py process-group=hooks
    WSGIAuthGroupScript ${ROOT}/hook.py process-group=hooks
    <RequireAll>
        Require valid-user
        Require not wsgi-group banned
    </RequireAll>
</Location>
""",
        modules=("auth_basic", "authn_core", "authz_user"),
        start=False,
    )
    server.write("hook.py", HOOKS)
    server.write("htdocs/x.txt", "x")
    server.start()
    assert server.get("/x.txt", headers=basic("ann")).status == 200
    assert server.get("/x.txt", headers=basic("bob")).status == 401
    assert server.get("/x.txt?die", headers=basic("bob")).status == 500
    server.expect_log("WSGI0146", count=1)
    server.expect_log("WSGI0303", count=1)
    # bob is in a group, but in none of those that ann needs.
    server.tolerate_log("WSGI0060|AH01630|AH01631|AH01668")


@pytest.mark.ours_only(GROUP_HOOKS)
def test_hook_in_a_group_learns_no_secrets_from_mod_ssl(server_factory):
    server = server_factory(
        """
WSGIDaemonProcess hooks threads=2
<Location />
    WSGIAccessScript ${ROOT}/hook.py process-group=hooks
</Location>
""",
        modules=("ssl", "socache_shmcb"),
        start=False,
    )
    server.write("hook.py", HOOKS)
    server.write("htdocs/x.txt", "x")
    server.tolerate_log("AH01882|AH01873")
    server.start()
    assert server.get("/x.txt", headers=basic("ann")).status == 200
    server.expect_log(r"KNOWS \[(None|''), (None|'')\] GET 127.0.0.1", count=1)


@pytest.mark.root_only("a group runs as another user")
@pytest.mark.ours_only(GROUP_HOOKS)
def test_htaccess_reaches_a_group_only_where_it_is_allowed(server_factory):
    """Its author would run code as the user of the group, and start sets of processes in it."""
    server = server_factory(
        """
WSGIDaemonProcess victim threads=2
WSGIProcessGroup victim
<Directory ${ROOT}/htdocs>
    AllowOverride AuthConfig
</Directory>
<Directory ${ROOT}/htdocs/allowed>
    WSGIRestrictProcess victim
</Directory>
""",
        start=False,
    )
    server.write("hook.py", "def allow_access(environ, host):\n    return True\n")
    for name in ("refused", "allowed"):
        server.write(f"htdocs/{name}/x.txt", "x")
        line = f"WSGIAccessScript {server.root}/hook.py process-group=victim\n"
        server.write(f"htdocs/{name}/.htaccess", line)
    server.start()
    assert server.get("/allowed/x.txt").status == 200
    assert server.get("/refused/x.txt").status == 403
    server.expect_log("WSGI0149.*htaccess", count=1)
    server.expect_log("WSGI0057", count=1)


@pytest.mark.root_only("a file has another owner")
@pytest.mark.ours_only(GROUP_HOOKS)
def test_owner_of_a_hook_is_checked(server_factory):
    """script-user= holds for whatever the group's processes run."""
    server = server_factory(
        """
WSGIDaemonProcess guarded threads=1 script-user=daemon
<Location /other>
    WSGIAccessScript ${ROOT}/other/hook.py process-group=guarded
</Location>
<Location /own>
    WSGIAccessScript ${ROOT}/own/hook.py process-group=guarded
</Location>
""",
        start=False,
    )
    owner = pwd.getpwnam("daemon")
    for name in ("other", "own"):
        server.write(f"{name}/hook.py", "def allow_access(environ, host):\n    return True\n")
        server.write(f"htdocs/{name}/x.txt", "x")
    for path in (server.root / "own", server.root / "own/hook.py"):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    server.start()
    assert server.get("/own/x.txt").status == 200
    assert server.get("/other/x.txt").status == 403
    server.expect_log("WSGI0164", count=1)
    server.expect_log("WSGI0057", count=1)


@pytest.mark.ours_only("mod_wsgi looks at the whole response only")
@pytest.mark.parametrize(("path", "status"), [("/error", 403), ("/redirect", 502)])
def test_status_of_a_response_whose_process_died(server_factory, path, status):
    """What was thrown away because something else is to answer is no success."""
    server = server_factory(
        """
WSGIDaemonProcess main threads=2
WSGIErrorOverride On
WSGIScriptAlias / ${ROOT}/dies.wsgi process-group=main application-group=%{GLOBAL}
<Directory ${ROOT}>
    Require all granted
</Directory>
""",
        start=False,
    )
    server.write(
        "dies.wsgi",
        """import os

def application(environ, start_response):
    if environ["PATH_INFO"] == "/error":
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
    else:
        start_response("200 OK", [("Location", "/x")])

    def body():
        yield b"x"
        os._exit(1)
    return body()
""",
    )
    server.start()
    assert server.get(path).status == status
    server.expect_log("WSGI0119", count=1)
    server.expect_log("WSGI0303", count=1)


@pytest.mark.ours_only("mod_wsgi makes as many sub-interpreters as there are URLs")
def test_urls_of_missing_files_are_no_application_groups(server_factory):
    server = server_factory(
        """
WSGIDaemonProcess main threads=1 application-groups=2
WSGIHandlerScript h ${ROOT}/h.py process-group=main
<Location />
    SetHandler h
</Location>
""",
        start=False,
    )
    server.write(
        "h.py",
        "def handle_request(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [environ['mod_wsgi.application_group'].encode()]\n",
    )
    server.start()
    answers = {server.get(f"/{name}").text for name in ("one", "two/x", "three", "four")}
    assert answers == {f"localhost:{server.port}|{server.root}/h.py"}


@pytest.mark.difference("a request that does not fit is refused, not cut")
def test_more_headers_than_fit(server_factory, mode):
    server = server_factory(
        """
LimitRequestFields 0
WSGIDaemonProcess main threads=2
WSGIScriptAlias /embedded ${APPS}/hello/app.wsgi application-group=%{GLOBAL}
WSGIScriptAlias /daemon ${APPS}/hello/app.wsgi process-group=main application-group=%{GLOBAL}
"""
    )
    lines = "".join(f"X{number}: 1\r\n" for number in range(65600))
    request = f"GET /{mode} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n"
    with server.raw() as raw:
        raw.send(request.encode())
        assert raw.receive_all().split()[1] == differs(upstream=b"200", ours=b"500")
    if differs(upstream=False, ours=True):
        server.expect_log("WSGI0125", count=1)


def test_configtest_does_not_wait_for_files_of_users(server_factory):
    server = server_factory(start=False)
    home = server.root / "env"
    (home / "bin").mkdir(parents=True)
    (home / "bin/python").symlink_to("/usr/bin/python3")
    os.mkfifo(home / "pyvenv.cfg")
    result = server.configtest(
        f"WSGIDaemonProcess main python-path=/x/lib/python2.7/y python-home={home}\n"
        "WSGIProcessGroup main\n"
    )
    assert result.accepted, result.output
