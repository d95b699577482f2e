# SPDX-License-Identifier: Apache-2.0
"""The configuration as httpd -t sees it: what is accepted where, what is refused in which words.

What the settings do is in the other files; how sections are merged is tested here with requests.
"""

import os

import pytest

from harness.configuration import server_group, server_user
from harness.plugin import differs
from harness.under_test import OURS


@pytest.fixture(scope="module")
def server(module_server_factory):
    """A server that is never started: configtest only."""
    return module_server_factory(start=False)


def section(name: str, argument: str, *lines: str) -> str:
    body = "\n".join(lines)
    return f"<{name} {argument}>\n{body}\n</{name}>"


def assert_refused(result, *needles: str, ours: tuple[str, ...] = ()) -> None:
    """Refused with a message that has the words; ours has more, the remedy among them."""
    assert not result.accepted, result.output
    assert "conf/configtest.conf" in result.output or "line " in result.output, result.output
    for needle in (*needles, *(ours if OURS else ())):
        assert needle in result.output


# Values

BOOLEANS = (
    "WSGIScriptReloading",
    "WSGIPassAuthorization",
    "WSGIRestrictStdout",
    "WSGIVerboseDebugging",
    "WSGIRestrictEmbedded",
)


@pytest.mark.parametrize("value", ["On", "Off", "on", "OFF"])
@pytest.mark.parametrize("directive", BOOLEANS)
def test_boolean_accepts(server, directive, value):
    result = server.configtest(f"{directive} {value}")
    assert result.accepted, result.output


@pytest.mark.parametrize("value", ["yes", "1", "true"])
@pytest.mark.parametrize("directive", BOOLEANS)
def test_boolean_refuses(server, directive, value):
    result = server.configtest(f"{directive} {value}")
    assert_refused(result, directive, "Off", "On", ours=(value,))


ONE_WORD = {
    "WSGIProcessGroup": ("main", "%{GLOBAL}", "%{ENV:GROUP}", "%{SERVER}", '"with blank"'),
    "WSGIApplicationGroup": ("name", "%{GLOBAL}", "%{RESOURCE}", "%{SERVER}", "%{HOST}"),
    "WSGICallableObject": ("main", "%{ENV:CALLABLE}"),
    "WSGIPythonHome": ("/usr", "/no/such/folder"),
    "WSGIPythonPath": ("/srv/one", "/srv/one:/srv/two"),
    "WSGISocketPrefix": ("run/other", "/tmp/absolute"),
}


@pytest.mark.parametrize(
    ("directive", "value"), [(name, value) for name in ONE_WORD for value in ONE_WORD[name]]
)
def test_text_accepts(server, directive, value):
    result = server.configtest(f"{directive} {value}")
    assert result.accepted, result.output


@pytest.mark.parametrize("arguments", ["", "one two"])
@pytest.mark.parametrize("directive", [*ONE_WORD, *BOOLEANS])
def test_one_argument_is_wanted(server, directive, arguments):
    assert_refused(server.configtest(f"{directive} {arguments}"), directive, "one argument")


@pytest.mark.parametrize("directive", ["wsgiprocessgroup main", "WSGIPROCESSGROUP main"])
def test_directive_names_have_no_case(server, directive):
    assert server.configtest(directive).accepted


def test_unknown_directive(server):
    assert_refused(server.configtest("WSGINoSuchDirective On"), "WSGINoSuchDirective")


# WSGIScriptAlias


@pytest.mark.parametrize(
    "arguments",
    [
        "/ ${APPS}/hello/app.wsgi",
        '"/with blank" "${APPS}/hello/app.wsgi"',
        "/ /no/such/script.wsgi",
        "/ relative.wsgi",
        "/ /x process-group=undefined",
        "/ /x process-group=%{GLOBAL}",
        "/ /x process-group='%{ENV:GROUP}' application-group=%{SERVER}",
        "/ /x application-group=name",
        "/ /x callable-object=name",
        "/ /x pass-authorization=On",
        "/ /x pass-authorization=off",
        "/ /x process-group=a process-group=b",
        "/ /x process-group=%{GLOBAL} application-group=%{GLOBAL} callable-object=a"
        " pass-authorization=On",
        "/ /x process-group=main application-group=%{GLOBAL}",
        "/ /x process-group=main application-group=name",
    ],
)
def test_script_alias_accepts(server, arguments):
    result = server.configtest(f"WSGIDaemonProcess main\nWSGIScriptAlias {arguments}")
    assert result.accepted, result.output


@pytest.mark.parametrize(
    ("arguments", "needle", "remedy"),
    [
        ("", "at least two arguments", "script"),
        ("/", "at least two arguments", "script"),
        ('/ ""', "at least two arguments", "script"),
        ("'' /x", "at least two arguments", "script"),
        ("/ /x stray", "nvalid option", "stray"),
        ("/ /x no-such-option=1", "nvalid option", "no-such-option"),
        ("/ /x Process-Group=main", "nvalid option", "process-group"),
        ("/ /x process-group =main", "nvalid option", "process-group"),
        ("/ /x process-group=", "nvalid name for WSGI process group", "process-group="),
        ("/ /x application-group=", "nvalid name for WSGI application group", "%{GLOBAL}"),
        ("/ /x callable-object=", "nvalid name for WSGI callable object", "callable-object="),
        ("/ /x pass-authorization=", "nvalid value for authorization flag", "On or Off"),
        ("/ /x pass-authorization=yes", "nvalid value for authorization flag", "On or Off"),
        ("/ /x process-group=other application-group=x", "not yet configured", "WSGIDaemonProcess"),
        ("/ /x process-group=mains application-group=x", "not yet configured", "mean main"),
    ],
)
def test_script_alias_refuses(server, arguments, needle, remedy):
    result = server.configtest(f"WSGIDaemonProcess main\nWSGIScriptAlias {arguments}")
    assert_refused(result, "WSGIScriptAlias" if OURS else "", needle, ours=(remedy,))


VHOST = "*:${PORT}"
ALIAS = "WSGIScriptAlias / /x process-group=inner application-group=%{GLOBAL}"
GROUP = "WSGIDaemonProcess inner"


@pytest.mark.parametrize(
    ("first", "second", "needle"),
    [
        (("ServerName a", GROUP), ("ServerName a", ALIAS), None),
        (("ServerName a", GROUP), ("ServerName b", ALIAS), "not accessible"),
        (("ServerName a", GROUP), ("ServerName A", ALIAS), "not accessible"),
        (("ServerName a", GROUP), (ALIAS, "ServerName a"), "not matchable"),
        ((GROUP,), (ALIAS,), None),
        (("ServerName a", GROUP, ALIAS), ("ServerName b",), None),
    ],
)
def test_group_of_another_virtual_host(server, first, second, needle):
    """An alias with both groups given is loaded at start, so its group is looked up at once."""
    config = section("VirtualHost", VHOST, *first) + "\n" + section("VirtualHost", VHOST, *second)
    result = server.configtest(config)
    if needle is None:
        assert result.accepted, result.output
    else:
        assert_refused(result, needle, ours=("inner", "ServerName"))


# WSGIDaemonProcess

USER, GROUP_NAME = server_user() or "nobody", server_group() or "root"

DAEMON_ACCEPTS = {
    "user": (USER, "#33" if os.geteuid() == 0 else USER),
    "group": (GROUP_NAME,),
    "supplementary-groups": (GROUP_NAME, f"{GROUP_NAME},{GROUP_NAME}"),
    "home": ("/", "/tmp"),
    "umask": ("0", "0007", "22", "777", "+7", "-0", "' 7'"),
    "lang": ("C.UTF-8", "'en_US.UTF-8'", ""),
    "locale": ("C.UTF-8", "''"),
    "display-name": ("%{GROUP}", "'a name'", ""),
    "processes": ("1", "5", "65536"),
    "threads": ("0", "1", "25", "65533"),
    "python-home": ("/usr", "/no/such"),
    "python-path": ("/a", "/a:/b"),
    "python-eggs": ("/tmp",),
    "switch-interval": ("0.001", "1", "1e-3", "0x1p-3", "inf", "' 5'"),
    "stack-size": ("1048576",),
    "maximum-requests": ("0", "1000"),
    "cpu-time-limit": ("0", "10"),
    "cpu-priority": ("0", "5", "-5"),
    "memory-limit": ("0", "1000000000"),
    "virtual-memory-limit": ("0", "10000000000"),
    "connect-timeout": ("0", "15"),
    "socket-timeout": ("0", "60", "2147483647"),
    "queue-timeout": ("0", "45"),
    "listen-backlog": ("0", "100"),
    "startup-timeout": ("0", "15"),
    "request-timeout": ("0", "60"),
    "interrupt-timeout": ("0", "5"),
    "graceful-timeout": ("0", "15"),
    "eviction-timeout": ("0", "15"),
    "restart-interval": ("0", "3600"),
    "inactivity-timeout": ("0", "300"),
    "deadlock-timeout": ("0", "60"),
    "shutdown-timeout": ("0", "5"),
    "response-socket-timeout": ("0", "60"),
    "send-buffer-size": ("0", "512", "65536"),
    "receive-buffer-size": ("0", "512", "65536"),
    "header-buffer-size": ("0", "8192"),
    "response-buffer-size": ("0", "65536"),
    "response-flush-delay": ("0", "5"),
    "script-user": (USER,),
    "script-group": (GROUP_NAME,),
    "socket-user": (USER,),
    "server-metrics": ("On", "off"),
}


@pytest.mark.parametrize(
    ("option", "value"),
    [(name, value) for name in DAEMON_ACCEPTS for value in DAEMON_ACCEPTS[name]],
)
def test_daemon_process_accepts(server, option, value):
    result = server.configtest(f"WSGIDaemonProcess main {option}={value}")
    assert result.accepted, result.output


_NUMBERS = ("", "-1")
DAEMON_REFUSES = {
    "user": ("", "root", "#0"),
    "group": ("",),
    "home": ("", "relative"),
    "umask": ("", "8", "abc", "-1", "08", "'5 '", "7x"),
    "processes": ("", "0", "-1"),
    "threads": ("", "-1", "65534"),
    "switch-interval": ("", "0", "-1", "abc", "1x", "'5 '"),
    "stack-size": ("", "0", "-1"),
    "maximum-requests": _NUMBERS,
    "cpu-time-limit": _NUMBERS,
    "cpu-priority": ("",),
    "memory-limit": _NUMBERS,
    "virtual-memory-limit": _NUMBERS,
    "connect-timeout": _NUMBERS,
    "socket-timeout": _NUMBERS,
    "queue-timeout": _NUMBERS,
    "listen-backlog": _NUMBERS,
    "startup-timeout": _NUMBERS,
    "request-timeout": _NUMBERS,
    "interrupt-timeout": _NUMBERS,
    "graceful-timeout": _NUMBERS,
    "eviction-timeout": _NUMBERS,
    "restart-interval": _NUMBERS,
    "inactivity-timeout": _NUMBERS,
    "deadlock-timeout": _NUMBERS,
    "shutdown-timeout": _NUMBERS,
    "response-socket-timeout": _NUMBERS,
    "send-buffer-size": ("", "-1", "511"),
    "receive-buffer-size": ("", "-1", "511"),
    "header-buffer-size": ("", "-1", "8191"),
    "response-buffer-size": ("", "-1", "65535"),
    "response-flush-delay": _NUMBERS,
    "script-user": ("",),
    "script-group": ("",),
    "socket-user": ("",),
    "server-metrics": ("", "yes"),
}


@pytest.mark.parametrize(
    ("option", "value"),
    [(name, value) for name in DAEMON_REFUSES for value in DAEMON_REFUSES[name]],
)
def test_daemon_process_refuses(server, option, value):
    result = server.configtest(f"WSGIDaemonProcess main {option}={value}")
    word = value.strip("'")
    assert_refused(result, ours=("WSGIDaemonProcess", f"{option}={word}"))
    if OURS:
        assert any(word in result.output for word in ("must be", "missing", "name another")), (
            f"no remedy: {result.output}"
        )


@pytest.mark.parametrize("option", ["user", "group", "supplementary-groups", "socket-user"])
def test_account_that_does_not_exist(server, option):
    result = server.configtest(f"WSGIDaemonProcess main {option}=no-such-account")
    assert not result.accepted
    assert "no-such-account" in result.output
    if OURS:
        assert f"{option}=" in result.output


@pytest.mark.parametrize(
    ("arguments", "needle", "remedy"),
    [
        ("", "ame of WSGI daemon process not supplied", "NAME"),
        ("main no-such-option=1", "nvalid option", "no-such-option"),
        ("main thread=5", "nvalid option", 'did you mean "threads"'),
        ("main Threads=5", "nvalid option", 'did you mean "threads"'),
        ("main threads = 5", "nvalid option", "without blanks"),
        ("main threads", "nvalid option", "option=value"),
        (f"main script-user={USER} script-group={GROUP_NAME}", "script-group", "only one of"),
    ],
)
def test_daemon_process_syntax(server, arguments, needle, remedy):
    result = server.configtest(f"WSGIDaemonProcess {arguments}")
    if OURS and not arguments:
        needle = "not supplied"
    assert_refused(result, needle, ours=(remedy,))


def test_number_with_junk_behind_is_taken(server):
    """As mod_wsgi has always read it; ours says so."""
    result = server.configtest("WSGIDaemonProcess main threads=5x")
    assert result.accepted, result.output


@pytest.mark.parametrize("option", ["socket-timeout", "listen-backlog", "send-buffer-size"])
def test_number_that_is_too_large_is_taken(server, option):
    """mod_wsgi has it wrap around to 0; here it is the largest that there can be."""
    result = server.configtest(f"WSGIDaemonProcess main {option}=4294967296")
    assert result.accepted, result.output
    assert ("WSGI0315" in result.output) is OURS


@pytest.mark.difference("a number is what is written, and does not wrap around")
@pytest.mark.parametrize(
    ("value", "upstream", "ours"),
    [("-2147483649", True, False), ("4294967295", False, True)],
)
def test_sign_of_a_large_number(server, value, upstream, ours):
    result = server.configtest(f"WSGIDaemonProcess main request-timeout={value}")
    assert result.accepted is differs(upstream=upstream, ours=ours)


@pytest.mark.difference("what is no number behind # is nobody, and not root")
@pytest.mark.parametrize("option", ["group", "script-user", "script-group", "socket-user"])
def test_account_that_is_no_number(server, option):
    result = server.configtest(f"WSGIDaemonProcess main {option}=#x")
    assert result.accepted is differs(upstream=True, ours=False)


@pytest.mark.difference("NaN is no length of time")
@pytest.mark.parametrize("line", ["WSGISwitchInterval", "WSGIDaemonProcess main switch-interval="])
def test_interval_that_is_no_number(server, line):
    separator = "" if line.endswith("=") else " "
    result = server.configtest(f"{line}{separator}nan")
    assert result.accepted is differs(upstream=True, ours=False)


def test_duplicate_name(server):
    result = server.configtest("WSGIDaemonProcess main\nWSGIDaemonProcess main threads=2")
    assert_refused(result, "duplicates previous", ours=("WSGIDaemonProcess main",))


@pytest.mark.difference("a virtual host copied with its group, as certbot does, is no error")
def test_same_group_again_in_a_copied_virtual_host(server):
    host = section("VirtualHost", VHOST, "ServerName a", "WSGIDaemonProcess main threads=2")
    assert server.configtest(f"{host}\n{host}").accepted is differs(upstream=False, ours=True)


def test_long_option_list(server):
    result = server.configtest(
        "WSGIDaemonProcess webware threads=20 python-home=/usr display-name='%{GROUP}' "
        "lang='en_US.UTF-8' locale='en_US.UTF-8' queue-timeout=45 socket-timeout=60 "
        "connect-timeout=15 request-timeout=60 inactivity-timeout=0 startup-timeout=15 "
        "deadlock-timeout=60 graceful-timeout=15 eviction-timeout=0 restart-interval=0 "
        "shutdown-timeout=5 maximum-requests=0"
    )
    assert result.accepted, result.output


@pytest.mark.ours_only("isolation= and application-groups= are new")
@pytest.mark.parametrize(
    "option",
    ["isolation=process", "isolation=interpreter", "application-groups=1", "application-groups=64"],
)
def test_options_of_ours_accept(server, option):
    result = server.configtest(f"WSGIDaemonProcess main {option}")
    assert result.accepted, result.output


@pytest.mark.ours_only("isolation= and application-groups= are new")
@pytest.mark.parametrize("option", ["isolation=thread", "isolation=", "application-groups=0"])
def test_options_of_ours_refuse(server, option):
    result = server.configtest(f"WSGIDaemonProcess main {option}")
    assert_refused(result, "WSGIDaemonProcess", option, "must be")


# Contexts

GLOBAL = ("WSGIPythonHome /usr", "WSGIPythonPath /a", "WSGIRestrictStdout On",
          "WSGIVerboseDebugging On", "WSGISocketPrefix run/x",
          "WSGIRestrictEmbedded On")  # fmt: skip
SERVER = ("WSGIScriptAlias / /x", "WSGIDaemonProcess main")
DIRECTORY = ("WSGIProcessGroup main", "WSGIApplicationGroup x")
FILE_INFO = ("WSGICallableObject x", "WSGIPassAuthorization On", "WSGIScriptReloading On")


@pytest.mark.parametrize("line", [*GLOBAL, *SERVER, *DIRECTORY, *FILE_INFO])
def test_main_server_may_have(server, line):
    assert server.configtest(line).accepted


@pytest.mark.parametrize("line", [*SERVER, *DIRECTORY, *FILE_INFO])
def test_virtual_host_may_have(server, line):
    assert server.configtest(section("VirtualHost", VHOST, line)).accepted


@pytest.mark.parametrize("line", GLOBAL)
def test_virtual_host_may_not_have(server, line):
    result = server.configtest(section("VirtualHost", VHOST, line))
    assert_refused(result, line.split()[0], "cannot occur within <VirtualHost> section")


@pytest.mark.parametrize(
    "where",
    [("Directory", "/srv"), ("Location", "/x"), ("Files", "x"), ("If", '"true"')],
    ids=lambda where: where[0],
)
@pytest.mark.parametrize("line", [*DIRECTORY, *FILE_INFO])
def test_directory_sections_may_have(server, where, line):
    result = server.configtest(section(*where, line))
    assert result.accepted, result.output


@pytest.mark.parametrize(
    "where", [("Directory", "/srv"), ("Location", "/x")], ids=lambda where: where[0]
)
@pytest.mark.parametrize("line", [*GLOBAL, *SERVER])
def test_directory_sections_may_not_have(server, where, line):
    assert_refused(server.configtest(section(*where, line)), line.split()[0], "not allowed")


def test_name_of_the_module(server):
    assert not server.configtest("<IfModule mod_wsgi.c>\nNoSuchDirective\n</IfModule>").accepted
    assert not server.configtest("<IfModule wsgi_module>\nNoSuchDirective\n</IfModule>").accepted


# .htaccess


@pytest.fixture(scope="module")
def htaccess(module_server_factory):
    return module_server_factory("""
WSGIDaemonProcess main
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /environ ${APPS}/environ/app.wsgi
WSGIScriptAlias /no-callable ${APPS}/no-callable/app.wsgi
<Directory ${APPS}>
    AllowOverride FileInfo
</Directory>
""")


@pytest.fixture
def write_htaccess(htaccess):
    """Writes the .htaccess of the applications; removed after the test."""
    path = htaccess.apps / ".htaccess"
    yield lambda text: htaccess.write("apps/.htaccess", text)
    path.unlink()


@pytest.mark.parametrize("line", FILE_INFO)
def test_htaccess_may_have(htaccess, write_htaccess, line):
    write_htaccess(
        "WSGICallableObject application\n" + line.replace("Object x", "Object application")
    )
    assert htaccess.get("/environ").status == 200


@pytest.mark.parametrize("line", [*GLOBAL, *SERVER, *DIRECTORY])
def test_htaccess_may_not_have(htaccess, write_htaccess, line):
    write_htaccess(line)
    assert htaccess.get("/environ").status == 500
    htaccess.expect_log(f"{line.split()[0]} not allowed here", count=1)


def test_htaccess_takes_effect(htaccess, write_htaccess):
    write_htaccess("WSGIPassAuthorization On\nWSGICallableObject other\n")
    assert htaccess.get("/no-callable").text == "other"


# Merging


@pytest.fixture(scope="module")
def merged(module_server_factory):
    return module_server_factory(
        """
WSGIDaemonProcess main-group
WSGIDaemonProcess host-group
WSGIDaemonProcess folder-group
WSGIDaemonProcess location-group
WSGIProcessGroup main-group
WSGIApplicationGroup main-application
WSGIPassAuthorization On
WSGIScriptAlias /environ ${APPS}/environ/app.wsgi
WSGIScriptAlias /alias ${APPS}/environ/app.wsgi process-group=main-group \\
    application-group=%{GLOBAL}
WSGIScriptAlias /folder ${APPS}/folder/app.wsgi
<VirtualHost 127.0.0.1:${PORT_inherits}>
    ServerName localhost
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_overrides}>
    ServerName localhost
    WSGIProcessGroup host-group
    WSGIPassAuthorization Off
    <Directory ${APPS}/folder>
        WSGIProcessGroup folder-group
        WSGIApplicationGroup folder-application
    </Directory>
    <Location /folder/location>
        WSGIProcessGroup location-group
        WSGIPassAuthorization On
    </Location>
    <Location /environ/global>
        WSGIProcessGroup %{GLOBAL}
        WSGIApplicationGroup %{GLOBAL}
    </Location>
</VirtualHost>
""",
        ports=["inherits", "overrides"],
        start=False,
    )


@pytest.mark.parametrize(
    ("port", "path", "process_group", "application_group", "authorization"),
    [
        ("inherits", "/environ", "main-group", "main-application", True),
        ("inherits", "/alias", "main-group", "", True),
        ("overrides", "/environ", "host-group", "main-application", False),
        ("overrides", "/alias", "main-group", "", False),
        ("overrides", "/folder", "folder-group", "folder-application", False),
        ("overrides", "/folder/location", "location-group", "folder-application", True),
        ("overrides", "/environ/global", "", "", False),
    ],
)
def test_sections_are_merged(merged, port, path, process_group, application_group, authorization):
    """Alias over directory section over virtual host over main server, each setting on its own."""
    if not merged.running:
        merged.write("apps/folder/app.wsgi", (merged.apps / "environ/app.wsgi").read_text())
        merged.start()
    environ = merged.get(path, port=port, headers={"Authorization": "Basic x"}).json
    assert environ["mod_wsgi.process_group"][1] == process_group
    assert environ["mod_wsgi.application_group"][1] == application_group
    assert ("HTTP_AUTHORIZATION" in environ) is authorization
