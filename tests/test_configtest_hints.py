# SPDX-License-Identifier: Apache-2.0
"""What `httpd -t` says about a configuration that is accepted and is likely to be a mistake.

What is refused is in test_config.py. Every known system's configuration is asked for hints, and has
none, in test_known_configurations.py.
"""

import re
from pathlib import Path

import pytest

from harness.configuration import server_user

pytestmark = pytest.mark.ours_only("mod_wsgi says such things when a request comes, if at all")

APP = "${APPS}/hello/app.wsgi"
USED = f"""
WSGIDaemonProcess django
WSGIScriptAlias /used {APP} process-group=django
"""
"""A group to which something goes."""


@pytest.fixture(scope="module")
def server(module_server_factory):
    """A server that is never started: configtest only."""
    return module_server_factory(
        start=False, modules=["auth_basic", "authn_core", "authz_user", "macro"]
    )


def hints(server, config: str) -> list[str]:
    """The lines about a configuration that has to be accepted."""
    result = server.configtest(config)
    assert result.accepted, result.output
    *lines, last = result.output.splitlines()
    assert last == "Syntax OK", result.output
    for line in lines:
        assert re.search(r"\bWSGI\d{4}: ", line), line
    return lines


def assert_hint(server, config: str, *words: str) -> None:
    """There is one line about the configuration, and it has the words."""
    lines = hints(server, config)
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0]


def assert_none(server, config: str) -> None:
    assert hints(server, config) == []


def host(*lines: str) -> str:
    return "\n".join(("<VirtualHost *:${PORT}>", *lines, "</VirtualHost>", ""))


# Names of process groups

REFERENCES = {
    "server": "WSGIProcessGroup NAME",
    "virtual host": host("ServerName a", "WSGIProcessGroup NAME"),
    "directory": "<Directory /srv>\nWSGIProcessGroup NAME\n</Directory>",
    "location": "<Location /x>\nWSGIProcessGroup NAME\n</Location>",
    "files": "<Files x>\nWSGIProcessGroup NAME\n</Files>",
    "condition": "<If \"%{QUERY_STRING} == 'x'\">\nWSGIProcessGroup NAME\n</If>",
    "alias": f"WSGIScriptAlias / {APP} process-group=NAME",
    "match": f"WSGIScriptAliasMatch ^/x {APP} process-group=NAME",
    "handler": f"WSGIHandlerScript h {APP} process-group=NAME",
}


def refer(place: str, name: str) -> str:
    return USED + REFERENCES[place].replace("NAME", name)


@pytest.mark.parametrize("place", REFERENCES)
def test_misspelt_process_group(server, place):
    assert_hint(server, refer(place, "djagno"), "djagno", "django")


@pytest.mark.parametrize("name", ["Django", "django1", "jango"])
def test_nearest_name(server, name):
    assert_hint(server, f"{USED}WSGIProcessGroup {name}", f"'{name}'", "'django'")


def test_name_that_is_like_no_other(server):
    assert_hint(server, f"{USED}WSGIProcessGroup reports", "reports", "WSGIDaemonProcess")


def test_name_without_any_group(server):
    assert_hint(server, "WSGIProcessGroup reports", "reports", "WSGIDaemonProcess")


def test_hint_tells_the_place(server):
    [line] = hints(server, f"{USED}\n\nWSGIProcessGroup djagno")
    text = (server.root / "conf/configtest.conf").read_text().splitlines()
    number = text.index("WSGIProcessGroup djagno") + 1
    assert f"configtest.conf:{number}" in line


@pytest.mark.parametrize("name", ["django", "%{GLOBAL}", "%{ENV:GROUP}", "%{SERVER}", "%{HOST}"])
@pytest.mark.parametrize("place", REFERENCES)
def test_right_process_group(server, place, name):
    assert_none(server, refer(place, name))


def test_group_that_is_defined_later(server):
    assert_none(server, f"WSGIProcessGroup later\nWSGIDaemonProcess later\n{USED}")


def test_misspelt_name_in_a_macro(server):
    config = "<Macro Group $name>\nWSGIProcessGroup $name\n</Macro>\nUse Group djagno"
    assert_hint(server, USED + config, "djagno", "django")


def test_same_mistake_twice_is_told_for_each_place(server):
    lines = hints(server, f"{USED}WSGIProcessGroup djagno\n" + host("WSGIProcessGroup djagno"))
    assert len(lines) == len(set(lines)) == 2


# Groups of other virtual hosts

OWNER = host("ServerName owner", "WSGIDaemonProcess private", "WSGIProcessGroup private")


@pytest.mark.parametrize(
    "reference",
    [
        "WSGIProcessGroup private",
        f"WSGIScriptAlias / {APP} process-group=private",
        "<Location />\nWSGIProcessGroup private\n</Location>",
        f"WSGIHandlerScript h {APP} process-group=private",
    ],
)
@pytest.mark.parametrize("name", ["stranger", "Owner"])
def test_group_of_another_virtual_host(server, reference, name):
    words = ("private", "owner", "ServerName")
    assert_hint(server, OWNER + host(f"ServerName {name}", reference), *words)


def test_server_name_after_the_reference(server):
    assert_none(server, OWNER + host("WSGIProcessGroup private", "ServerName owner"))
    assert_hint(server, OWNER + host("WSGIProcessGroup private", "ServerName a"), "private")


def test_group_of_a_virtual_host_of_the_same_name(server):
    assert_none(server, OWNER + host("ServerName owner", "WSGIProcessGroup private"))


def test_group_of_a_virtual_host_without_a_name(server):
    """It has the main server's name in the end."""
    owner = host("WSGIDaemonProcess private", "WSGIProcessGroup private")
    assert_none(server, owner + host("ServerName localhost", "WSGIProcessGroup private"))
    assert_hint(server, owner + host("ServerName a", "WSGIProcessGroup private"), "private")


def test_group_of_the_main_server_is_for_all(server):
    assert_none(server, USED + host("ServerName a", "WSGIProcessGroup django"))


# Groups that nothing uses


def test_group_that_nothing_uses(server):
    assert_hint(server, f"{USED}WSGIDaemonProcess reports", "reports", "WSGIProcessGroup")


@pytest.mark.parametrize(
    "use",
    [
        "WSGIProcessGroup reports",
        f"WSGIScriptAlias / {APP} process-group=reports",
        f"WSGIScriptAliasMatch ^/x {APP} process-group=reports",
        f"WSGIHandlerScript h {APP} process-group=reports",
        f"WSGIImportScript {APP} process-group=reports application-group=%{{GLOBAL}}",
        host("ServerName a", "WSGIProcessGroup reports"),
        "<Files x>\nWSGIProcessGroup reports\n</Files>",
    ],
)
def test_group_that_something_uses(server, use):
    assert_none(server, f"WSGIDaemonProcess reports\n{use}")


@pytest.mark.parametrize(
    "choice",
    [
        "WSGIProcessGroup %{ENV:GROUP}",
        f"WSGIScriptAlias / {APP} process-group=%{{ENV:GROUP}}",
        f"WSGIHandlerScript h {APP} process-group=%{{ENV:GROUP}}",
        "<Location /x>\nWSGIProcessGroup %{ENV:GROUP}\n</Location>",
        f"WSGIDispatchScript {APP}",
        f"<Location /x>\nWSGIDispatchScript {APP}\n</Location>",
        host("ServerName a", "WSGIProcessGroup %{ENV:GROUP}"),
        host("ServerName a", "WSGIProcessGroup %{HOST}"),
    ],
)
def test_group_that_a_request_may_choose(server, choice):
    assert_none(server, f"WSGIDaemonProcess reports\n{choice}")


def test_group_of_a_service_script(server):
    assert_none(
        server,
        f"WSGIDaemonProcess service threads=0\n"
        f"WSGIImportScript {APP} process-group=service application-group=%{{GLOBAL}}",
    )


# Homes and paths


@pytest.fixture(scope="module")
def environment(venv):
    return venv("hints")


def home_lines(home: object, path: object = None) -> dict[str, str]:
    """The same for embedded mode and for a group."""
    options = f"python-home={home}" + (f" python-path={path}" if path else "")
    group = USED.replace("WSGIDaemonProcess django", f"WSGIDaemonProcess django {options}")
    lines = f"WSGIPythonHome {home}\n" + (f"WSGIPythonPath {path}\n" if path else "")
    return {"embedded": lines, "daemon": group}


def test_home(server, environment, mode):
    assert_none(server, home_lines(environment.path)[mode])
    assert_none(server, home_lines("/usr")[mode])


@pytest.mark.parametrize("home", ["/no/such/folder", "${APPS}"])
def test_home_without_an_interpreter(server, mode, home):
    shown = home.replace("${APPS}", str(server.apps))
    assert_hint(server, home_lines(home)[mode], shown, "interpreter", f"{shown}/bin/python")


def test_packages_given_as_home(server, environment, mode):
    """The remedy names where packages belong, or what would be the home."""
    [line] = hints(server, home_lines(environment.site_packages)[mode])
    assert str(environment.site_packages) in line
    assert ("python-path" if mode == "daemon" else "WSGIPythonPath") in line
    assert re.search(rf"{re.escape(str(environment.path))}(?![/\w-])", line)


def test_path_of_the_same_version(server, environment, mode):
    assert_none(server, home_lines(environment.path, environment.site_packages)[mode])


@pytest.mark.parametrize("name", ["{0}", "/srv/code:{0}", "{0}:/srv/code", "{0}/"])
def test_path_of_another_version(server, environment, mode, name):
    packages = environment.path / "lib/python2.7/site-packages"
    path = name.format(packages)
    lines = home_lines(environment.path, path)[mode]
    assert_hint(server, lines, str(packages), "2.7", environment.version)


def test_path_of_another_version_with_the_home_of_the_server(server, environment):
    config = f"WSGIPythonHome {environment.path}\n" + USED.replace(
        "WSGIDaemonProcess django", "WSGIDaemonProcess django python-path=/x/lib/python2.7/dist"
    )
    assert_hint(server, config, "2.7", environment.version)


def test_path_that_names_no_version(server, environment, mode):
    path = "/srv/python/code:/srv/python3/lib"
    assert_none(server, home_lines(environment.path, path)[mode])


# Scripts

SCRIPTS = {
    "alias": "WSGIScriptAlias / PATH",
    "match": "WSGIScriptAliasMatch ^/x PATH",
    "import": "WSGIImportScript PATH process-group=%{GLOBAL} application-group=%{GLOBAL}",
    "dispatch": "WSGIDispatchScript PATH",
    "handler": "WSGIHandlerScript h PATH",
    "access": "<Location /x>\nWSGIAccessScript PATH\n</Location>",
    "user": "<Location /x>\nWSGIAuthUserScript PATH\n</Location>",
    "group": "<Location /x>\nWSGIAuthGroupScript PATH\n</Location>",
}


@pytest.mark.parametrize("kind", SCRIPTS)
def test_script(server, kind):
    assert_none(server, SCRIPTS[kind].replace("PATH", f"{server.apps}/hello/app.wsgi"))


@pytest.mark.parametrize("kind", SCRIPTS)
def test_script_that_does_not_exist(server, kind):
    path = f"{server.apps}/hello/no-such.wsgi"
    assert_hint(server, SCRIPTS[kind].replace("PATH", path), path, "does not exist")


def test_script_that_does_not_exist_in_a_virtual_host(server):
    assert_hint(server, host("ServerName a", "WSGIScriptAlias / /no/such.wsgi"), "/no/such.wsgi")


@pytest.mark.parametrize("more", ["/", "/extra", "/extra/path"])
def test_target_with_more_path(server, more):
    assert_none(server, f"WSGIScriptAlias / {APP}{more}")


def test_target_that_is_a_folder(server):
    assert_none(server, "WSGIScriptAlias / ${APPS}/hello\nWSGIScriptAlias /x ${APPS}/hello/")


def test_target_in_a_folder_that_does_not_exist(server):
    assert_hint(server, "WSGIScriptAlias / ${APPS}/no-such/app.wsgi/x", "/no-such/app.wsgi/x")


def test_target_with_a_variable(server):
    assert_none(server, "WSGIScriptAliasMatch ^/([a-z]+) /srv/sites/$1/app.wsgi")


def test_target_of_an_alias_has_no_variables(server):
    assert_hint(server, "WSGIScriptAlias / /srv/$1/app.wsgi", "/srv/$1/app.wsgi", "does not exist")


# Settings that undo each other

WITHOUT_AUTHORIZATION = f"WSGIScriptAlias /app {APP} pass-authorization=Off"


@pytest.mark.parametrize(
    "config",
    [
        f"WSGIPassAuthorization On\n{WITHOUT_AUTHORIZATION}",
        f"{WITHOUT_AUTHORIZATION}\nWSGIPassAuthorization On",
        host("ServerName a", "WSGIPassAuthorization On", WITHOUT_AUTHORIZATION),
        "WSGIPassAuthorization On\n" + host("ServerName a", WITHOUT_AUTHORIZATION),
    ],
    ids=["server", "later", "virtual-host", "inherited"],
)
def test_alias_that_withholds_authorization(server, config):
    words = ("/app", "pass-authorization=Off", "WSGIPassAuthorization")
    assert_hint(server, config, *words)


@pytest.mark.parametrize(
    "config",
    [
        WITHOUT_AUTHORIZATION,
        f"WSGIPassAuthorization Off\n{WITHOUT_AUTHORIZATION}",
        f"WSGIPassAuthorization On\nWSGIScriptAlias / {APP} pass-authorization=On",
        "WSGIPassAuthorization On\n"
        + host("ServerName a", "WSGIPassAuthorization Off", WITHOUT_AUTHORIZATION),
    ],
    ids=["unset", "off", "on", "off-again"],
)
def test_alias_that_withholds_what_nobody_passes(server, config):
    assert_none(server, config)


@pytest.mark.parametrize(
    "config",
    [
        "WSGIChunkedRequest On\nLimitRequestBody 0",
        host("ServerName a", "WSGIChunkedRequest On", "LimitRequestBody 0"),
        "WSGIChunkedRequest On\n" + host("ServerName a", "LimitRequestBody 0"),
    ],
    ids=["server", "virtual-host", "inherited"],
)
def test_bodies_without_end(server, config):
    assert_hint(server, config, "WSGIChunkedRequest", "LimitRequestBody")


@pytest.mark.parametrize(
    "config",
    [
        "WSGIChunkedRequest On",
        "WSGIChunkedRequest On\nLimitRequestBody 1000000",
        "LimitRequestBody 0",
        "WSGIChunkedRequest Off\nLimitRequestBody 0",
    ],
)
def test_bodies_with_an_end(server, config):
    assert_none(server, config)


# Together


def test_correct_configuration(server, environment):
    user = f"user={server_user()}" if server_user() else ""
    assert_none(
        server,
        f"""
WSGIPythonHome {environment.path}
WSGIDaemonProcess main {user} processes=2 threads=5 python-home={environment.path} \\
    python-path={environment.site_packages} home={server.apps} display-name=%{{GROUP}} \\
    lang=C.UTF-8 locale=C.UTF-8 request-timeout=60 maximum-requests=1000
WSGIDaemonProcess service threads=0
WSGIImportScript {APP} process-group=service application-group=%{{GLOBAL}}
WSGIPassAuthorization On
WSGIChunkedRequest On
LimitRequestBody 1000000
<VirtualHost *:${{PORT}}>
    ServerName a
    WSGIDaemonProcess a
    WSGIProcessGroup a
    WSGIScriptAlias /own {APP}
    WSGIScriptAlias / {APP} process-group=main application-group=%{{GLOBAL}}
</VirtualHost>
<VirtualHost *:${{PORT}}>
    ServerName b
    WSGIProcessGroup main
    WSGIScriptAlias / {APP}
    <Location /private>
        AuthType Basic
        AuthName x
        AuthBasicProvider wsgi
        WSGIAuthUserScript {APP}
        Require valid-user
    </Location>
</VirtualHost>
""",
    )


def test_each_kind_has_its_number(server, environment):
    lines = hints(
        server,
        f"""
WSGIDaemonProcess django python-home={environment.path} python-path=/x/lib/python2.7/y
WSGIDaemonProcess unused python-home=/no/such/home
WSGIDaemonProcess packages python-home={environment.site_packages}
WSGIScriptAlias /one /no/such.wsgi process-group=packages
WSGIProcessGroup djagno
WSGIScriptAlias /two {APP} process-group=django pass-authorization=Off
WSGIPassAuthorization On
WSGIChunkedRequest On
LimitRequestBody 0
{OWNER}
{host("ServerName stranger", "WSGIProcessGroup private")}
""",
    )
    # One of a server's settings is told for each server that has it.
    numbers = [re.search(r"WSGI\d{4}", line)[0] for line in dict.fromkeys(lines)]
    assert len(set(numbers)) == 9, lines
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text()
    for number in numbers:
        assert number in readme


def test_configuration_that_is_refused_has_its_reason_only(server):
    result = server.configtest(f"{USED}WSGIProcessGroup djagno\nWSGIScriptReloading maybe")
    assert not result.accepted
    assert "WSGIScriptReloading" in result.output
    assert "djagno" not in result.output
