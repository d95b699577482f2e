# SPDX-License-Identifier: Apache-2.0
"""script-user= and script-group=: whose scripts a process group serves, and what others may do to
them. Whatever does not fit is a 403, and the log says what it is.
"""

import grp
import os
import pwd
from pathlib import Path

import pytest

from harness.configuration import server_group, server_user
from harness.plugin import differs
from harness.server import Server

pytestmark = pytest.mark.root_only("files have to belong to others")

OWNER, GROUP = "bin", "games"
UNKNOWN = 4_123_456_789
"""A number that is nobody's."""
CONFIG = f"""
WSGIDaemonProcess by-user script-user={OWNER}
WSGIDaemonProcess by-user-number script-user=#{pwd.getpwnam(OWNER).pw_uid}
WSGIDaemonProcess by-group-number script-group=#{grp.getgrnam(GROUP).gr_gid}
WSGIDaemonProcess by-group script-group={GROUP}
WSGIDaemonProcess any
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias /user ${{ROOT}}/owned/app.wsgi process-group=by-user
WSGIScriptAlias /user-number ${{ROOT}}/owned/app.wsgi process-group=by-user-number
WSGIScriptAlias /group-number ${{ROOT}}/owned/app.wsgi process-group=by-group-number
WSGIScriptAlias /group ${{ROOT}}/owned/app.wsgi process-group=by-group
WSGIScriptAlias /any ${{ROOT}}/owned/app.wsgi process-group=any
WSGIScriptAlias /embedded ${{ROOT}}/owned/app.wsgi process-group=%{{GLOBAL}}
WSGIScriptAlias /folder ${{ROOT}}/owned process-group=by-user
WSGIHandlerScript handled ${{APPS}}/deployed/app.wsgi process-group=by-user
Alias /handled ${{ROOT}}/owned
<Directory ${{ROOT}}/owned>
    Require all granted
    <Files *.page>
        SetHandler handled
    </Files>
</Directory>
"""


@pytest.fixture(scope="module")
def server(module_server_factory) -> Server:
    server = module_server_factory(CONFIG, start=False)
    script = (server.apps / "hello/app.wsgi").read_text()
    server.write("owned/app.wsgi", script)
    server.write("owned/x.page", "a resource\n")
    return server.start()


@pytest.fixture
def script(server) -> Path:
    """The script, which together with its folder is what both policies ask for."""
    script = server.root / "owned/app.wsgi"
    for path, mode in ((script, 0o644), (script.parent, 0o755), (script.parent / "x.page", 0o644)):
        os.chown(path, *account(OWNER, GROUP))
        path.chmod(mode)
    return script


def account(user: str | int, group: str | int) -> tuple[int, int]:
    return (
        pwd.getpwnam(user).pw_uid if isinstance(user, str) else user,
        grp.getgrnam(group).gr_gid if isinstance(group, str) else group,
    )


def assert_refused(server: Server, path: str, number: str) -> None:
    assert server.get(path).status == 403
    record = server.wait_log(number)
    assert "127.0.0.1:" in record.message
    server.expect_log(number, count=1)
    # Nobody else is asked for it.
    assert server.get("/any").status == server.get("/embedded").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/user",
        "/user-number",
        "/group",
        "/group-number",
        "/any",
        "/embedded",
        "/folder/app.wsgi",
    ],
)
def test_script_that_fits(server, script, path):
    assert server.get(path).text == "Hello World!\n"


@pytest.mark.parametrize(
    ("what", "user", "number"),
    [
        ("script", UNKNOWN, "WSGI0163"),
        ("script", "root", "WSGI0164"),
        ("script", server_user(), "WSGI0164"),
        ("folder", UNKNOWN, "WSGI0170"),
        ("folder", "root", "WSGI0171"),
        ("folder", server_user(), "WSGI0171"),
    ],
)
def test_script_of_another_user(server, script, what, user, number):
    os.chown(script if what == "script" else script.parent, *account(user, GROUP))
    assert_refused(server, "/user", number)


@pytest.mark.parametrize(
    ("what", "group", "number"),
    [
        ("script", UNKNOWN, "WSGI0154"),
        ("script", "root", "WSGI0155"),
        ("script", server_group(), "WSGI0155"),
        ("folder", UNKNOWN, "WSGI0159"),
        ("folder", "root", "WSGI0160"),
        ("folder", server_group(), "WSGI0160"),
    ],
)
def test_script_of_another_group(server, script, what, group, number):
    os.chown(script if what == "script" else script.parent, *account(OWNER, group))
    assert_refused(server, "/group", number)
    assert server.get("/user").status == 200


@pytest.mark.difference("mod_wsgi lets every owner pass when the one wanted is given as a number")
@pytest.mark.parametrize("path", ["/user-number", "/group-number"])
@pytest.mark.parametrize("what", ["script", "folder"])
def test_owner_given_as_a_number(server, script, path, what):
    os.chown(script if what == "script" else script.parent, *account("root", "root"))
    status = server.get(path).status
    assert status == differs(upstream=200, ours=403)
    if status == 403:
        server.expect_log("WSGI0155|WSGI0160|WSGI0164|WSGI0171", count=1)


def test_user_of_a_script_is_nothing_to_a_group(server, script):
    os.chown(script, *account("root", GROUP))
    os.chown(script.parent, *account(UNKNOWN, GROUP))
    assert server.get("/group").status == 200


@pytest.mark.parametrize(
    ("path", "what", "mode", "number"),
    [
        ("/user", "script", 0o664, "WSGI0166"),
        ("/user", "script", 0o666, "WSGI0166"),
        ("/user", "script", 0o646, "WSGI0168"),
        ("/user", "folder", 0o757, "WSGI0172"),
        ("/user", "folder", 0o777, "WSGI0172"),
        ("/user", "folder", 0o1777, "WSGI0172"),
        ("/user", "folder", 0o775, "WSGI0173"),
        ("/group", "script", 0o646, "WSGI0157"),
        ("/group", "script", 0o666, "WSGI0157"),
        ("/group", "folder", 0o757, "WSGI0161"),
        ("/group", "folder", 0o777, "WSGI0161"),
        ("/group", "folder", 0o1777, "WSGI0161"),
    ],
)
def test_script_that_others_may_change(server, script, path, what, mode, number):
    (script if what == "script" else script.parent).chmod(mode)
    assert_refused(server, path, number)


@pytest.mark.parametrize(("what", "mode"), [("script", 0o664), ("folder", 0o775)])
def test_script_that_its_group_may_change(server, script, what, mode):
    """That is what the group is for."""
    (script if what == "script" else script.parent).chmod(mode)
    assert server.get("/group").status == 200


def test_first_reason_is_the_one_that_is_told(server, script):
    os.chown(script, *account("root", "root"))
    os.chown(script.parent, *account("root", "root"))
    script.chmod(0o666)
    script.parent.chmod(0o777)
    assert_refused(server, "/user", "WSGI0164")
    assert_refused(server, "/group", "WSGI0155")


def test_script_chosen_by_the_url(server, script):
    os.chown(script, *account("root", GROUP))
    assert_refused(server, "/folder/app.wsgi", "WSGI0164")


def test_handler_script_serves_resources_of_its_user(server, script):
    """The file that was asked for is looked at, not the handler's script."""
    response = server.get("/handled/x.page")
    assert response.status == 200
    assert response.json["callable"] == "handle_request"
    os.chown(script.parent / "x.page", *account("root", GROUP))
    assert_refused(server, "/handled/x.page", "WSGI0164")


def test_link_to_a_script(server, script):
    """The script is what the link leads to; the folder is the one with the link."""
    elsewhere = server.write("elsewhere.wsgi", script.read_text())
    link = script.parent / "link.wsgi"
    link.symlink_to(elsewhere)
    try:
        os.chown(link, *account(OWNER, GROUP), follow_symlinks=False)
        assert_refused(server, "/folder/link.wsgi", "WSGI0164")
        os.chown(elsewhere, *account(OWNER, GROUP))
        assert server.get("/folder/link.wsgi").status == 200
    finally:
        link.unlink()
