# SPDX-License-Identifier: Apache-2.0
"""Configurations of known systems load as they stand, and a request finds its way in them.

Each file in configurations/ has the directives, options and structure that a project documents or
ships, written anew; places and accounts are variables. Every one is asked of `httpd -t` first,
where ours may say no word about a correct one. The systems themselves, as far as they can be
installed here, are in systems/.

Left out, because there is no configuration to load:

| system                          | reason                                           |
| ------------------------------- | ------------------------------------------------ |
| Flask                           | its documentation teaches mod_wsgi-express alone |
| HyperKitty/Mailman, Weblate,    | they point to other servers                      |
| Kolla                           |                                                  |
"""

import grp
import hashlib
import os
import pwd
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import urlencode

import pytest

from harness import tls
from harness.client import Response
from harness.configuration import server_group, server_user
from harness.environments import Venv
from harness.server import Server
from harness.under_test import OURS
from harness.waiting import wait_until

CONFIGURATIONS = Path(__file__).resolve().parent / "configurations"
FILES = {path.stem for path in CONFIGURATIONS.glob("*.conf")}
Deploy = Callable[..., Server]


def account() -> str:
    return server_user() or pwd.getpwuid(os.geteuid()).pw_name


def account_group() -> str:
    return server_group() or grp.getgrgid(os.getegid()).gr_name


@pytest.fixture
def environment(venv) -> Venv:
    return venv("known-configurations")


@pytest.fixture
def deploy(server_factory, environment) -> Deploy:
    """deploy(name, *scripts): a running server with configurations/<name>.conf.

    `scripts` are places below ${SITE} that get the application `deployed`; `files` has others with
    their content; `variables` are defined, `exported` are in httpd's environment, with {root} in
    them replaced; `hints` are patterns of what ours says about the configuration.
    """

    def deploy(
        name: str,
        *scripts: str,
        files: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
        exported: Mapping[str, str] | None = None,
        hints: Iterable[str] = (),
        **options,
    ) -> Server:
        server = server_factory(start=False, **options)
        application = (server.apps / "deployed/app.wsgi").read_text()
        for script in scripts:
            server.write(f"site/{script}", application)
        for path, content in (files or {}).items():
            server.write(f"site/{path}", content)
        for key, value in (exported or {}).items():
            server.environment[key] = value.format(root=server.root)
        known = {
            "SITE": server.root / "site",
            "VENV": environment.path,
            "SITE_PACKAGES": environment.site_packages,
            "ACCOUNT": account(),
            "ACCOUNT_GROUP": account_group(),
        }
        known.update(variables or {})
        lines = [f'Define {key} "{value}"\n' for key, value in known.items()]
        server.write(f"conf/{name}.conf", (CONFIGURATIONS / f"{name}.conf").read_text())
        text = f"{''.join(lines)}Include {server.root}/conf/{name}.conf\n"
        if "ssl" in options.get("modules", ()):
            tls.write_certificate(server)
            # Of the certificate and of this machine's builds.
            server.tolerate_log("AH01882|AH01906|AH01909")
        if not OURS and "WSGIRestrictStd" in (CONFIGURATIONS / f"{name}.conf").read_text():
            # Its interpreters flush the restricted stream at their end.
            server.tolerate_log(
                "Exception ignored in: <mod_wsgi.Restr|OSError: sys.std.*restricted"
            )
        check_words(server, text, hints)
        server.configure(text)
        for hint in hints:
            server.tolerate_log(hint)
        return server.start()

    return deploy


def check_words(server: Server, text: str, hints: Iterable[str]) -> None:
    """What `httpd -t` says: OK, and from ours nothing but the hints."""
    result = server.configtest(text)
    assert result.accepted, result.output
    if OURS:
        said = [line for line in result.output.splitlines() if line != "Syntax OK"]
        for hint in hints:
            assert any(re.search(hint, line) for line in said), (hint, said)
        assert not [line for line in said if not any(re.search(hint, line) for hint in hints)]


def told(response: Response) -> dict:
    assert response.status == 200, f"{response.status}: {response.text}"
    return response.json


def ask(
    server: Server,
    path: str,
    process_group: str,
    application_group: str,
    mount: str = "",
    path_info: str = "/",
    **options,
) -> dict:
    """What the application tells, which must have run in these groups and have this mount."""
    answer = told(server.get(path, **options))
    found = [answer[key] for key in ("process_group", "application_group", "mount", "path_info")]
    assert found == [process_group, application_group, mount, path_info]
    processes = server.daemon_processes if process_group else server.httpd_children
    assert answer["pid"] in {process.pid for process in processes}
    return answer


def title(server: Server, answer: dict) -> bytes:
    """The process list's words for the process that answered."""
    [process] = [one for one in server.daemon_processes if one.pid == answer["pid"]]
    return process.command_line


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


def htpasswd(user: str, password: str) -> str:
    digest = b64encode(hashlib.sha1(password.encode()).digest()).decode()
    return f"{user}:{{SHA}}{digest}\n"


TLS = ("ssl", "socache_shmcb")
BASIC = ("auth_basic", "authn_core", "authn_file", "authz_user")
"""Modules for passwords."""


def test_every_configuration_is_tested():
    source = Path(__file__).read_text()
    assert set(re.findall(r'deploy\(\s*"([^"]+)"', source)) == FILES


# Django


def test_django_embedded(deploy, environment):
    server = deploy("django-embedded", "mysite.com/mysite/wsgi.py")
    name = f"localhost:{server.port}|"
    answer = ask(server, "/polls/", "", name, path_info="/polls/")
    assert answer["prefix"] == str(environment.path)
    assert answer["path"][0] == f"{server.root}/site/mysite.com"
    # They are there already, because of the home.
    assert answer["path"].count(str(environment.site_packages)) == 1


def test_django_daemon(deploy, environment):
    server = deploy(
        "django-daemon",
        "mysite.com/mysite/wsgi.py",
        files={"mysite.com/static/robots.txt": "none\n", "mysite.com/static/x.txt": "static\n"},
    )
    name = f"example.com:{server.port}|"
    answer = ask(server, "/polls/", "example.com", name, path_info="/polls/")
    assert answer["prefix"] == str(environment.path)
    assert answer["path"][0] == f"{server.root}/site/mysite.com"
    assert server.get("/robots.txt").text == "none\n"
    assert server.get("/static/x.txt").text == "static\n"


DJANGO_ACCOUNTS = '''

def check_password(environ, user, password):
    """The account's password is its name."""
    loads.append(f"checked {user}")
    return user == password if user != "stranger" else None


def groups_for_user(environ, user):
    return ["secret-agents"] if user == "bond" else ["members"]
'''


def test_django_auth(deploy):
    server = deploy("django-auth", "mysite.com/mysite/wsgi.py", modules=BASIC)
    script = server.root / "site/mysite.com/mysite/wsgi.py"
    server.write("site/mysite.com/mysite/wsgi.py", script.read_text() + DJANGO_ACCOUNTS)
    ask(server, "/", "", "django")
    assert server.get("/secret").status == 401
    assert server.get("/secret", headers=basic("bond", "wrong")).status == 401
    assert server.get("/secret", headers=basic("stranger", "stranger")).status == 401
    assert server.get("/secret", headers=basic("clerk", "clerk")).status == 401
    assert server.get("/members", headers=basic("clerk", "clerk")).status == 200
    answer = ask(
        server, "/secret", "", "django", path_info="/secret", headers=basic("bond", "bond")
    )
    assert answer["environ"]["REMOTE_USER"] == "bond"
    assert answer["environ"]["AUTH_TYPE"] == "Basic"
    # The function and the application share a module.
    assert "checked bond" in answer["loads"]
    server.tolerate_log("AH01617|AH01618|AH01631|AH01624|AH01807|WSGI0060")


# Geography, wikis, calendars


def test_pyramid(deploy, environment):
    server = deploy("pyramid", "modwsgi/env/pyramid.wsgi")
    answer = ask(
        server, "/myapp/x", "pyramid", "", "/myapp", "/x", headers={"Authorization": "Bearer t"}
    )
    assert answer["path"][0] == str(environment.site_packages)
    assert answer["environ"]["HTTP_AUTHORIZATION"] == "Bearer t"
    assert answer["user"] == account()
    assert answer["multiprocess"] is False


PYRAMID_OF_ANOTHER_VERSION = "/srv/env/lib/python2.7/site-packages"


def test_pyramid_with_the_packages_of_another_version(deploy):
    """The tutorial's path is that of the version it was written with, and it stays there."""
    server = deploy(
        "pyramid",
        "modwsgi/env/pyramid.wsgi",
        variables={"SITE_PACKAGES": PYRAMID_OF_ANOTHER_VERSION},
        hints=["WSGI0323.*of Python 2.7"],
    )
    answer = ask(server, "/myapp", "pyramid", "", "/myapp", "")
    assert PYRAMID_OF_ANOTHER_VERSION in answer["path"]
    if OURS:
        server.expect_log("WSGI0095.*python2.7")


def test_mapproxy(deploy, environment):
    server = deploy("mapproxy", "mapproxy/config.py")
    answer = ask(server, "/mapproxy/demo/", "mapproxy", "", "/mapproxy", "/demo/")
    assert answer["prefix"] == str(environment.path)
    assert answer["script"].endswith("/config.py")
    wait_until(lambda: len(server.daemon_processes) == 8, "eight processes")


def test_pywps(deploy):
    server = deploy("pywps", "wps/pywps.wsgi")
    answer = ask(server, "/pywps", "pywps", "", "/pywps", "")
    assert answer["cwd"] == answer["path"][0] == f"{server.root}/site/wps"
    before = answer["pid"]
    server.touch(server.root / "site/wps/pywps.wsgi")
    answers = [ask(server, "/pywps", "pywps", "", "/pywps", "") for _ in range(4)]
    assert before not in {answer["pid"] for answer in answers}


def test_pywps_with_a_misspelt_group(deploy):
    server = deploy("pywps-misspelt", "wps/pywps.wsgi", hints=["WSGI03.*pywsp", "WSGI03.*pywps"])
    assert server.get("/pywps").status == 500
    server.expect_log("WSGI0151.*pywsp", count=1)


def test_pycsw(deploy):
    server = deploy("pycsw", "pycsw/csw.wsgi")
    name = f"localhost:{server.port}|/pycsw-wsgi"
    answer = ask(server, "/pycsw-wsgi", "host1", name, "/pycsw-wsgi", "")
    assert answer["cwd"] == f"{server.root}/site/pycsw"
    assert answer["multiprocess"] is True


def test_webware(deploy, environment):
    server = deploy(
        "webware",
        "app1/Scripts/WSGIScript.py",
        "app2/Scripts/WSGIScript.py",
        modules=["macro"],
        hints=["WSGIVerboseDebugging"],
    )
    for name in ("app1", "app2"):
        resource = f"localhost:{server.port}|/{name}"
        answer = ask(server, f"/{name}/Examples", name, resource, f"/{name}", "/Examples")
        assert answer["prefix"] == str(environment.path)
        assert answer["os_environ"]["LANG"] == answer["os_environ"]["LC_ALL"] == "C.UTF-8"
        assert title(server, answer).startswith(f"(wsgi:{name})".encode())


def test_trac(deploy):
    server = deploy(
        "trac",
        "trac/apache/trac.wsgi",
        modules=BASIC,
        files={"trac/.htpasswd": htpasswd("admin", "secret")},
    )
    answer = ask(server, "/trac/wiki", "", "", "/trac", "/wiki")
    assert answer["version"]
    assert server.get("/trac/login").status == 401
    answer = ask(server, "/trac/login", "", "", "/trac", "/login", headers=basic("admin", "secret"))
    assert answer["environ"]["REMOTE_USER"] == "admin"
    assert "HTTP_AUTHORIZATION" not in answer["environ"]


def test_moin(deploy):
    server = deploy("moin", "moin/deploy/test.wsgi")
    answer = ask(server, "/Home", "moin-wsgi", "", path_info="/Home", headers=basic("a", "b"))
    assert answer["umask"] == 0o007
    assert "HTTP_AUTHORIZATION" in answer["environ"]


def test_radicale(deploy):
    server = deploy("radicale", "radicale/radicale.wsgi")
    answer = ask(server, "/.web/", "radicale", "", path_info="/.web/", headers=basic("a", "b"))
    assert answer["umask"] == 0o027
    assert "HTTP_AUTHORIZATION" in answer["environ"]
    assert (answer["multithread"], answer["multiprocess"]) == (False, False)


# Graphs


def test_graphite(deploy):
    server = deploy(
        "graphite",
        "graphite/conf/graphite.wsgi",
        files={"graphite/static/x.txt": "static\n", "graphite/webapp/index.html": ""},
    )
    answer = ask(server, "/render", "graphite", "", path_info="/render")
    assert title(server, answer).startswith(b"(wsgi:graphite)")
    # What follows the script's name in the target is a part of PATH_INFO, not of the mount.
    answer = ask(server, "/graphite/render", "graphite", "", path_info="/graphite/render")
    assert answer["script"] == f"{server.root}/site/graphite/conf/graphite.wsgi"
    assert server.get("/static/x.txt").text == "static\n"
    wait_until(lambda: len(server.daemon_processes) == 5, "five processes")


def test_graphite_of_nav(deploy, environment):
    server = deploy(
        "nav",
        "graphite/graphite.wsgi",
        exported={
            "GRAPHITE_HOST": "graphite.example.org",
            "GRAPHITE_USER": account(),
            "GRAPHITE_GROUP": account_group(),
            "GRAPHITE_PROCESSES": "2",
            "GRAPHITE_SHARE": "{root}/site/graphite",
        },
    )
    answer = ask(server, "/", "graphite-api", "")
    assert answer["environ"]["SERVER_NAME"] == "127.0.0.1"
    wait_until(lambda: len(server.daemon_processes) == 2, "two processes")


# OpenStack


def test_keystone(deploy, environment):
    server = deploy("keystone", "stack/bin/keystone-wsgi-public", ports=["admin"])
    token = {"Authorization": "Bearer t"}
    answer = ask(server, "/v3", "keystone-public", "", path_info="/v3", port="admin", headers=token)
    assert answer["script"].endswith("/bin/keystone-wsgi-public")
    assert answer["prefix"] == str(environment.path)
    assert answer["environ"]["HTTP_AUTHORIZATION"] == "Bearer t"
    assert (answer["multithread"], answer["multiprocess"]) == (False, True)
    assert title(server, answer).startswith(b"(wsgi:keystone-")


def test_keystone_beside_its_virtual_host(deploy):
    """A virtual host without ServerName has that of the main server, and so its groups."""
    server = deploy("keystone", "stack/bin/keystone-wsgi-public", ports=["admin"])
    answer = ask(server, "/identity/v3", "keystone-public", "", "/identity", "/v3")
    assert answer["handler"] == "wsgi-script"


FEDERATION = "/v3/OS-FEDERATION/identity_providers/{}/protocols/saml2/auth"


def test_keystone_federation(deploy):
    server = deploy("keystone-federation", "keystone/keystone-wsgi-public")
    path = FEDERATION.format("acme")
    answer = ask(server, path, "keystone", "", path_info=path)
    assert answer["script"].endswith("/keystone-wsgi-public")
    assert answer["environ"]["MELLON_IDP"] == "acme"
    assert answer["environ"]["REMOTE_USER_TYPE"] == "federated"
    assert server.get("/v3/OS-FEDERATION/other").status == 404


def test_horizon(deploy, environment):
    server = deploy(
        "horizon",
        "horizon/openstack_dashboard/wsgi.py",
        files={"horizon/static/x.txt": "static\n", "horizon/.blackhole/empty": ""},
    )
    assert server.get("/").header("location").endswith("/dashboard/")
    answer = ask(server, "/dashboard/auth/login/", "horizon", "", "/dashboard", "/auth/login/")
    assert answer["cwd"] == f"{server.root}/site/horizon"
    assert answer["path"][:2] == [f"{server.root}/site/horizon", str(environment.site_packages)]
    assert answer["environ"]["APACHE_RUN_USER"] == account()
    assert server.get("/dashboard/static/x.txt").text == "static\n"
    # Reloading is off.
    server.touch(server.root / "site/horizon/openstack_dashboard/wsgi.py")
    pids = {process.pid for process in server.daemon_processes}
    for _ in range(6):
        assert told(server.get("/dashboard/"))["pid"] in pids
    assert all("/run/horizon." in name.decode("latin-1") for name in server.daemon_sockets)


def test_juju_charms(deploy):
    server = deploy(
        "juju-charms",
        "charm/placement-api",
        "charm/placement-api-public",
        modules=["macro"],
        ports=["admin", "public"],
        hints=["WSGISocketRotation"],
    )
    places = {"": "placement-api", "admin": "placement-api-admin", "public": "placement-api-public"}
    for port, name in places.items():
        answer = ask(server, "/resources", name, "", path_info="/resources", port=port)
        assert answer["locale"] == "C.UTF-8"
        assert answer["user"] == account()


@pytest.mark.ours_only("a graceful restart leaves the locks of mod_wsgi's sockets open")
def test_juju_charms_after_a_graceful_restart(deploy):
    server = deploy(
        "juju-charms",
        "charm/placement-api",
        "charm/placement-api-public",
        modules=["macro"],
        ports=["admin", "public"],
        hints=["WSGISocketRotation"],
    )
    ask(server, "/", "placement-api", "")
    server.graceful()
    ask(server, "/", "placement-api", "")
    ask(server, "/", "placement-api-public", "", port="public")


def get_by_tls(server: Server, path: str, host: str = "localhost") -> dict:
    return told(tls.get(server, path, {"Host": host}))


# Accounts, tickets, builds


def test_freeipa(deploy):
    server = deploy(
        "freeipa",
        "ipa/wsgi.py",
        "ipa/migration/migration.py",
        modules=TLS,
        ports=["tls"],
    )
    # The alias's options win over the location, which is for the alias without any.
    answer = ask(server, "/ipa/session/json", "ipa", "", "/ipa", "/session/json")
    assert answer["environ"]["GSS_NAME"] == "admin@EXAMPLE.ORG"
    assert answer["environ"]["KRB5CCNAME"] == "FILE:/run/ipa/ccaches/admin"
    assert answer["environ"]["GSS_SESSION_EXPIRATION"] == "1893456000"
    assert title(server, answer).startswith(b"(wsgi:ipa)")
    migration = "/ipa/migration/migration.py"
    ask(server, migration, "ipa", "ipa", migration, "")
    answer = get_by_tls(server, "/ipa/session/json")
    assert (answer["process_group"], answer["application_group"]) == ("ipa", "")
    assert answer["scheme"] == "https"
    assert answer["environ"]["SSL_PROTOCOL"].startswith("TLSv1.")
    assert answer["environ"]["GSS_NAME"] == "admin@EXAMPLE.ORG"


def test_kdcproxy(deploy):
    server = deploy("kdcproxy", "site-packages/kdcproxy/__init__.py")
    answer = ask(server, "/KdcProxy", "kdcproxy", "kdcproxy", "/KdcProxy", "")
    assert answer["script"].endswith("/kdcproxy/__init__.py")


def test_koji_hub(deploy):
    server = deploy("koji-hub", "koji-hub/kojiapp.py", files={"koji/x.txt": "a file\n"})
    answer = ask(server, "/kojihub/ssllogin", "", "", "/kojihub", "/ssllogin")
    assert answer["handler"] == "wsgi-script"
    answer = told(server.post("/kojihub", b"<methodCall/>"))
    assert answer["body"] == "<methodCall/>"
    assert server.get("/kojifiles/x.txt").text == "a file\n"


def test_koji_web(deploy):
    server = deploy(
        "koji-web",
        "koji-web/scripts/wsgi_publisher.py",
        modules=BASIC,
        files={"koji-web/passwords": htpasswd("kojiadmin", "secret"), "koji-web/static/x.txt": "x"},
    )
    answer = ask(server, "/koji/index", "koji", "", "/koji", "/index")
    assert answer["os_environ"]["LANG"] == "C.UTF-8"
    assert server.get("/koji/login").status == 401
    login = basic("kojiadmin", "secret")
    answer = ask(server, "/koji/login", "koji", "", "/koji", "/login", headers=login)
    assert answer["environ"]["REMOTE_USER"] == "kojiadmin"
    assert server.get("/koji-static/x.txt").text == "x"


def test_copr(deploy):
    server = deploy("copr", "copr/coprs_frontend/application", modules=["status", "authz_host"])
    answer = ask(server, "/api", "127.0.0.1", "", path_info="/api", headers=basic("a", "b"))
    assert "HTTP_AUTHORIZATION" in answer["environ"]
    assert title(server, answer).startswith(b"copr-fe")
    assert "Apache Server Status" in server.get("/server-status").text


def test_bodhi(deploy):
    server = deploy("bodhi", "bodhi/bodhi.wsgi", files={"bodhi/static/x.txt": "static\n"})
    answer = ask(server, "/updates", "bodhi", "", path_info="/updates")
    assert answer["stdout"] == "restricted"
    assert answer["signal"] == "usable"
    assert answer["optimize"] == 1
    assert answer["cwd"] == f"{server.root}/site/bodhi"
    assert title(server, answer).startswith(b"bodhi")
    assert server.get("/static/x.txt").text == "static\n"


def test_signals_and_output_elsewhere(deploy):
    """What the lines that only Bodhi has would be without them."""
    server = deploy("moin", "moin/deploy/test.wsgi")
    answer = ask(server, "/", "moin-wsgi", "")
    assert (answer["stdout"], answer["stdin"]) == ("usable", "usable")
    assert (answer["signal"], answer["optimize"]) == ("restricted", 0)


def test_pagure(deploy):
    server = deploy("pagure", "pagure/pagure.wsgi", "pagure/docs_pagure.wsgi", ports=["docs"])
    name = f"localhost.localdomain:{server.port}|"
    answer = ask(server, "/project", "pagure", name, path_info="/project")
    assert answer["script"].endswith("/pagure.wsgi")
    assert title(server, answer).startswith(b"pagure")
    name = f"docs.localhost.localdomain:{server.ports['docs']}|"
    answer = ask(server, "/project", "paguredocs", name, path_info="/project", port="docs")
    assert answer["script"].endswith("/docs_pagure.wsgi")


def test_pscheduler(deploy):
    server = deploy("pscheduler", "pscheduler/pscheduler-api-server.wsgi")
    answer = ask(server, "/pscheduler/tasks", "pscheduler-api-server", "", "/pscheduler", "/tasks")
    assert (answer["multithread"], answer["multiprocess"]) == (False, True)
    assert title(server, answer).startswith(b"pscheduler-api")
    wait_until(lambda: len(server.daemon_processes) == 10, "ten processes")


REPOSITORY_ACCESS = '''"""Lets those in who say the word; others are nobody's business."""


def allow_access(environ, host):
    if not environ["REQUEST_URI"].startswith("/pulp/repos/"):
        return None
    return environ.get("HTTP_X_CERTIFICATE") == "valid" and host == "127.0.0.1"
'''


def test_pulp(deploy):
    server = deploy(
        "pulp",
        "pulp/webservices.wsgi",
        "pulp/content.wsgi",
        files={"pulp/repo_auth.wsgi": REPOSITORY_ACCESS, "pulp/published/zoo/x.rpm": "package\n"},
    )
    ask(server, "/pulp/api/v2/", "pulp", "pulp", "/pulp/api", "/v2/")
    # The later file's words for the main server are the ones that count.
    ask(server, "/pulp/content/x", "pulp-content", "pulp-content", "/pulp/content", "/x")
    assert server.get("/pulp/repos/zoo/x.rpm").status == 403
    server.expect_log("WSGI0057|AH01797", count=1)
    response = server.get("/pulp/repos/zoo/x.rpm", headers={"X-Certificate": "valid"})
    assert (response.status, response.text) == (200, "package\n")


PASSWORD_IS_THE_USERS_NAME = '''"""An account's password is its name."""


def check_password(environ, user, password):
    if user == "nobody":
        return None
    if user == "alias":
        return "the account behind it"
    return user == password
'''


def test_privacyidea(deploy, environment):
    server = deploy(
        "privacyidea",
        "privacyidea/privacyideaapp.wsgi",
        "privacyidea/other.wsgi",
        modules=BASIC,
        files={
            "privacyidea/privacyidea_apache.py": PASSWORD_IS_THE_USERS_NAME,
            "www/index.txt": "protected\n",
        },
    )
    answer = ask(server, "/token/", "privacyidea", "", path_info="/token/")
    assert answer["prefix"] == str(environment.path)
    answer = ask(server, "/other/x", "privacyidea", "", "/other", "/x")
    assert answer["script"].endswith("/other.wsgi")
    assert server.get("/protected/index.txt").status == 401
    response = server.get("/protected/index.txt", headers=basic("me", "me"))
    assert (response.status, response.text) == (200, "protected\n")
    assert server.get("/protected/index.txt", headers=basic("me", "you")).status == 401
    server.tolerate_log("AH01617")


CGI = """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
echo "$REMOTE_USER $GIT_PROJECT_ROOT $PATH_INFO"
"""


def test_submitty(deploy):
    backend = "git-core/git-http-backend"
    server = deploy(
        "submitty",
        modules=[*BASIC, "cgid"],
        files={"sbin/authentication.py": PASSWORD_IS_THE_USERS_NAME, backend: CGI},
    )
    (server.root / "site" / backend).chmod(0o755)
    path = "/git/f26/course/git-upload-pack"
    assert server.get(path).status == 401
    response = server.get(path, headers=basic("student", "student"))
    place = f"{server.root}/site/vcs/git"
    assert response.text == f"student {place} /f26/course/git-upload-pack\n"
    # The function may give the account another name.
    response = server.get(path, headers=basic("alias", "any"))
    assert response.text.startswith("the account behind it ")
    assert server.get(path, headers=basic("student", "wrong")).status == 401
    assert server.get(path, headers=basic("nobody", "nobody")).status == 401
    server.tolerate_log("AH01617|AH01618")


# Others


def test_review_board(deploy):
    server = deploy(
        "review-board",
        "reviews/htdocs/reviewboard.wsgi",
        files={
            "reviews/htdocs/media/x.txt": "media\n",
            "reviews/htdocs/errordocs/500.html": "the error page\n",
        },
    )
    answer = ask(
        server, "/reviews/r/1/", "", "%{GROUP}", "/reviews", "/r/1/", headers=basic("a", "b")
    )
    assert "HTTP_AUTHORIZATION" in answer["environ"]
    assert server.get("/media/x.txt").text == "media\n"


def test_pgadmin(deploy, environment):
    server = deploy("pgadmin", "pgadmin4/web/pgAdmin4.wsgi")
    answer = ask(server, "/pgadmin4/login", "pgadmin", "", "/pgadmin4", "/login")
    assert answer["prefix"] == str(environment.path)


@pytest.mark.root_only("only root's httpd can change the user")
def test_roundup(deploy):
    other = pwd.getpwnam("bin")
    server = deploy(
        "roundup", "roundup/wsgi-bin/tracker.wsgi", variables={"OTHER_ACCOUNT": other.pw_name}
    )
    name = f"localhost:{server.port}|/tracker"
    answer = ask(server, "/tracker/issue1", "roundup_tracker", name, "/tracker", "/issue1")
    assert answer["user"] == other.pw_name
    assert answer["cwd"] == os.path.realpath(other.pw_dir)


def test_patchman(deploy):
    place = "lib/python3/dist-packages"
    server = deploy("patchman", f"{place}/patchman/wsgi.py")
    answer = ask(server, "/patchman/host/", "", "", "/patchman", "/host/", headers=basic("a", "b"))
    assert answer["path"][0] == f"{server.root}/site/{place}"
    assert "HTTP_AUTHORIZATION" in answer["environ"]


def test_kallithea(deploy, environment):
    server = deploy("kallithea", "kallithea/dispatch.wsgi")
    answer = ask(server, "/repo", "kallithea", f"localhost:{server.port}|", path_info="/repo")
    assert answer["prefix"] == str(environment.path)
    assert (answer["multithread"], answer["multiprocess"]) == (False, True)
    assert answer["os_environ"]["LANG"] == "C.UTF-8"


@pytest.mark.parametrize(("mount", "group"), [("/embedded", ""), ("/daemon", "conan")])
def test_callable_named_app(deploy, mount, group):
    server = deploy("conan", "conan/server_launcher.py")
    name = f"localhost:{server.port}|{mount}"
    answer = ask(server, f"{mount}/v1/ping", group, name, mount, "/v1/ping")
    assert answer["callable"] == "app"


def test_satosa(deploy):
    server = deploy("satosa", "satosa/wsgi.py", files={"satosa/plugins/one.py": ""})
    answer = ask(server, "/Saml2/metadata", "satosa", "satosa", path_info="/Saml2/metadata")
    assert answer["callable"] == "app"
    folder = f"{server.root}/site/satosa"
    # Both, and the working directory, which is the first.
    assert answer["path"][:3] == [folder, folder, f"{folder}/plugins"]
    response = server.get("/no-such?404+Not+Found")
    assert (response.status, response.text) == (404, "the page of httpd")


FILE_ACCESS = '''"""Asks the application, or so it says: private files are not for all."""


def allow_access(environ, host):
    return "/static/private" not in environ["REQUEST_URI"]
'''


def test_web2py(deploy):
    server = deploy(
        "web2py",
        "web2py/wsgihandler.py",
        files={
            "web2py/scripts/access.wsgi": FILE_ACCESS,
            "web2py/applications/welcome/static/x.txt": "a file\n",
            "web2py/applications/welcome/static/private.txt": "a secret\n",
        },
    )
    name = f"localhost:{server.port}|"
    ask(server, "/welcome/default", "web2py", name, path_info="/welcome/default")
    assert server.get("/welcome/static/x.txt").text == "a file\n"
    assert server.get("/welcome/static/private.txt").status == 403
    server.expect_log("WSGI0057|AH01797", count=1)


HOOKS = '''"""Accounts for Basic, Digest and Form, groups, and a rule for hosts."""

import hashlib


def check_password(environ, user, password):
    return {"editor": "one", "chief": "two", "guest": "three"}.get(user) == password


def get_realm_hash(environ, user, realm):
    if user != "editor":
        return None
    return hashlib.md5(f"{user}:{realm}:one".encode()).hexdigest()


def groups_for_user(environ, user):
    return {"editor": ["editors"], "chief": ["writers", "chief editors"]}.get(user, [])


def allow_access(environ, host):
    assert environ["mod_wsgi.application_group"] == "access"
    return "deny" not in environ["QUERY_STRING"]
'''


@pytest.fixture
def protected(deploy):
    return deploy(
        "auth-providers",
        modules=[*BASIC, "auth_digest", "auth_form", "session", "session_cookie", "request"],
        files={"auth/auth.wsgi": HOOKS, "files/x.txt": "a file\n"},
    )


@pytest.mark.parametrize(
    ("user", "password", "status"),
    [
        ("editor", "one", 200),
        ("chief", "two", 200),
        ("guest", "three", 401),
        ("editor", "two", 401),
        ("stranger", "x", 401),
    ],
)
def test_basic_with_groups(protected, user, password, status):
    assert protected.get("/basic/x.txt", headers=basic(user, password)).status == status
    protected.tolerate_log("AH01617|AH01631|AH01807|AH01624|WSGI0059|WSGI0060")


def digest(response: Response, user: str, password: str, path: str) -> dict[str, str]:
    """The answer to a challenge for GET (RFC 7616, MD5 and qop=auth)."""

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    challenge = response.header("www-authenticate")
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    one = md5(f"{user}:{fields['realm']}:{password}")
    two = md5(f"GET:{path}")
    proof = md5(f"{one}:{fields['nonce']}:00000001:c0ffee:auth:{two}")
    words = {**fields, "username": user, "uri": path, "cnonce": "c0ffee", "response": proof}
    words.pop("qop")
    quoted = ", ".join(f'{key}="{value}"' for key, value in words.items() if key != "algorithm")
    return {"Authorization": f"Digest {quoted}, qop=auth, nc=00000001, algorithm=MD5"}


@pytest.mark.parametrize(
    ("user", "password", "status"),
    [("editor", "one", 200), ("editor", "two", 401), ("chief", "two", 401)],
)
def test_digest(protected, user, password, status):
    path = "/digest/x.txt"
    challenged = protected.get(path)
    assert challenged.status == 401
    headers = digest(challenged, user, password, path)
    assert protected.get(path, headers=headers).status == status
    protected.tolerate_log("AH0179[0-9]|AH01788")


def test_form(protected):
    form = urlencode({"httpd_username": "editor", "httpd_password": "one"}).encode()
    typed = {"Content-Type": "application/x-www-form-urlencoded"}
    assert protected.get("/form/x.txt").status == 401
    response = protected.post("/form/x.txt", form, headers=typed)
    assert response.status == 200, response.text
    cookie = {"Cookie": response.header("set-cookie").partition(";")[0]}
    assert protected.get("/form/x.txt", headers=cookie).text == "a file\n"
    wrong = protected.post("/form/x.txt", form + b"x", headers=typed)
    assert wrong.status == 401
    protected.tolerate_log("AH018[0-9][0-9]|AH01617")


def test_access_by_a_function(protected):
    assert protected.get("/host/x.txt").text == "a file\n"
    assert protected.get("/host/x.txt?deny").status == 403
    protected.expect_log("WSGI0057|AH01797", count=1)


@pytest.fixture
def hosting(deploy):
    scripts = [f"hosting/{name}/wsgi/app.wsgi" for name in ("one", "two", "private", "embedded")]
    return deploy("mass-hosting", *scripts, "hosting/unset/wsgi/app.wsgi")


@pytest.mark.parametrize(
    ("path", "process_group", "application_group"),
    [
        ("/sites/one/x", "site-one", ""),
        ("/sites/two/x", "site-two", ""),
        ("/sites/one/admin", "site-one", "admin"),
    ],
)
def test_mass_hosting(hosting, path, process_group, application_group):
    site = path.split("/")[2]
    mount, path_info = f"/sites/{site}", path.removeprefix(f"/sites/{site}")
    answer = ask(hosting, path, process_group, application_group, mount, path_info)
    assert answer["script"] == f"{hosting.root}/site/hosting/{site}/wsgi/app.wsgi"
    assert answer["os_environ"]["PYTHON_EGG_CACHE"] == f"{hosting.root}/run"


@pytest.mark.parametrize("site", ["private", "embedded", "unset"])
def test_mass_hosting_in_a_group_that_is_not_allowed(hosting, site):
    """An existing group, embedded mode, and what the variable's name is when it is unset."""
    assert hosting.get(f"/sites/{site}/x").status == 500
    hosting.expect_log("WSGI0149", count=1)


@pytest.mark.ours_only("mod_wsgi 6 refuses WSGILazyInitialization, which templates have")
def test_webfaction(deploy):
    server = deploy(
        "webfaction",
        "webapps/myproject.wsgi",
        "webapps/htdocs/index.py",
        files={"webapps/htdocs/x.txt": "a file\n", "webapps/lib/one.py": ""},
        hints=["WSGILazyInitialization"],
    )
    name = f"localhost:{server.port}|/project"
    answer = ask(server, "/project/x", "myproject", name, "/project", "/x")
    assert answer["path"][0] == f"{server.root}/site/webapps/lib"
    answer = ask(
        server, "/index.py/x", "myproject", f"localhost:{server.port}|/index.py", "/index.py", "/x"
    )
    assert answer["script"].endswith("/htdocs/index.py")
    assert told(server.get("/"))["script"].endswith("/htdocs/index.py")
    assert server.get("/x.txt").text == "a file\n"


@pytest.mark.ours_only("mod_wsgi 6 refuses what mod_wsgi 4.9 knew and it does not")
def test_names_of_old(deploy):
    server = deploy("legacy-names", "app.wsgi", hints=["WSGILazyInitialization", "(?i)new ?relic"])
    ask(server, "/", "old", "")


def test_puppetlabs_apache(deploy, environment):
    server = deploy("puppetlabs-apache", "puppet/docroot/demo.wsgi", "puppet/docroot/other.wsgi")
    answer = ask(server, "/x", "wsgi", "", path_info="/x", headers=basic("a", "b"))
    assert answer["prefix"] == str(environment.path)
    assert answer["optimize"] == 2
    assert "HTTP_AUTHORIZATION" in answer["environ"]
    answer = told(server.request("/", method="POST", body=iter([b"one ", b"two"])))
    assert answer["body"] == "one two"
    # The alias for everything stands before it.
    ask(server, "/match/other", "wsgi", "", path_info="/match/other")


def test_openstacklib(deploy):
    server = deploy(
        "openstacklib",
        "cgi-bin/keystone/keystone",
        "cgi-bin/placement/placement-api",
        ports=["placement"],
    )
    forwarded = {"X-Forwarded-Proto": "https"}
    answer = ask(server, "/v3", "keystone", "", path_info="/v3", headers=forwarded)
    assert answer["scheme"] == "https"
    assert title(server, answer).startswith(b"keystone")
    name = f"placement.example.org:{server.ports['placement']}|/placement"
    ask(server, "/placement/x", "placement", name, "/placement", "/x", port="placement")


def test_odoo(deploy):
    server = deploy("odoo", "odoo/odoo-wsgi.py")
    name = f"odoo.example.org:{server.port}|"
    answer = ask(server, "/web", "oe", name, path_info="/web")
    assert answer["path"][0] == f"{server.root}/site/odoo"
    assert title(server, answer).startswith(b"apache-odoo")


# mod_wsgi-express

DISPATCH = '''"""Chooses another callable for one path, and nothing otherwise."""


def process_group(environ):
    return None


def application_group(environ):
    return None


def callable_object(environ):
    return "app" if environ["REQUEST_URI"].startswith("/match-app") else None
'''


@pytest.fixture
def express(deploy) -> Server:
    me = account() if os.geteuid() else "root"
    return deploy(
        "mod_wsgi-express",
        "express/handler.wsgi",
        "express/resource.wsgi",
        "express/embedded.wsgi",
        modules=[*BASIC, "rewrite"],
        files={
            "express/embedded/one.py": "",
            "express/main/two.py": "",
            "express/daemon/three.py": "",
            "express/eggs/none": "",
            "express/dispatch.py": DISPATCH,
            "express/auth.wsgi": HOOKS.replace('"access"', '""'),
            "express/htdocs/plain.txt": "a file\n",
            "express/htdocs/private.txt": "a private file\n",
            "express/htdocs/guarded.txt": "a guarded file\n",
            "express/htdocs/x.page": "a resource\n",
        },
        variables={"OWNER": me, "OWNER_GROUP": grp.getgrgid(os.getegid()).gr_name},
        hints=[
            "WSGISocketRotation",
            "WSGIAcceptMutex",
            "WSGITelemetryService",
            "WSGITelemetryOptions",
        ],
    )


def test_express_resource(express, environment):
    """A URL without a file is a resource of the handler script, in the main process group."""
    server, group = express, f"localhost:{express.port}"
    answer = told(server.get("/any/url", headers=basic("a", "b")))
    assert (answer["process_group"], answer["application_group"]) == (group, "")
    assert answer["callable"] == "handle_request"
    assert answer["script"].endswith("/resource.wsgi")
    assert answer["environ"]["mod_wsgi.handler_script"].endswith("/resource.wsgi")
    # The handler's option wins over the directive.
    assert "HTTP_AUTHORIZATION" not in answer["environ"]
    assert answer["cwd"] == answer["path"][0] == f"{server.root}/site/express"
    assert answer["path"][1] == f"{server.root}/site/express/daemon"
    assert answer["prefix"] == str(environment.path)
    assert (answer["optimize"], answer["dont_write_bytecode"]) == (1, True)
    assert answer["warnings"] == ["ignore::DeprecationWarning", "default::ImportWarning"]
    assert (answer["stdout"], answer["stdin"]) == ("restricted", "restricted")
    assert answer["signal"] == "restricted"
    assert answer["umask"] == 0o022
    assert answer["locale"] == "C.UTF-8"
    assert answer["os_environ"]["PYTHON_EGG_CACHE"] == f"{server.root}/site/express/eggs"
    assert told(server.get("/x.page"))["callable"] == "handle_request"
    assert server.get("/plain.txt").text == "a file\n"


def test_express_proxy(express):
    server = express
    headers = {
        "X-Forwarded-For": "192.0.2.1, 10.1.2.3",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "www.example.org",
        "X-Real-IP": "192.0.2.9",
    }
    answer = told(server.get("/any", headers=headers))
    assert answer["scheme"] == "https"
    assert answer["environ"]["HTTP_HOST"] == "www.example.org"
    assert answer["environ"]["REMOTE_ADDR"] == "192.0.2.1"
    assert "HTTP_X_REAL_IP" not in answer["environ"]
    answer = told(server.request("/any", method="POST", body=iter([b"one ", b"two"])))
    assert answer["body"] == "one two"


def test_express_embedded(express):
    server = express
    answer = ask(server, "/embedded/x", "", "", "/embedded", "/x", headers=basic("a", "b"))
    assert answer["callable"] == "app"
    assert "HTTP_AUTHORIZATION" in answer["environ"]
    # The most specific block goes first.
    folder = f"{server.root}/site/express"
    assert answer["path"][:2] == [f"{folder}/main", f"{folder}/embedded"]
    assert (answer["stdout"], answer["stdin"]) == ("usable", "usable")
    assert answer["signal"] == "restricted"


def test_express_groups(express):
    server, group = express, f"localhost:{express.port}"
    ask(server, "/owner", "express:owner", "", "/owner", "")
    ask(server, "/group", "express:group", "", "/group", "")
    assert ask(server, "/match-x", group, "", "/match-x", "")["callable"] == "application"
    assert ask(server, "/match-app", group, "", "/match-app", "")["callable"] == "app"


def test_express_authentication(express):
    server = express
    assert server.get("/private.txt").status == 401
    response = server.get("/private.txt", headers=basic("editor", "one"))
    assert response.text == "a private file\n"
    assert server.get("/guarded.txt").text == "a guarded file\n"
    assert server.get("/guarded.txt?deny").status == 403
    server.expect_log("WSGI0057|AH01797", count=1)


# No system


@pytest.mark.ours_only("mod_wsgi refuses the second definition: it duplicates previous")
def test_copy_of_a_virtual_host_by_certbot(deploy):
    server = deploy(
        "certbot",
        "site/wsgi.py",
        modules=TLS,
        ports=["tls"],
        hints=["WSGI0315.*site.*another virtual host"],
    )
    answer = ask(server, "/", "site", "")
    other = get_by_tls(server, "/", host="example.org")
    assert (other["process_group"], other["scheme"]) == ("site", "https")
    pids = {process.pid for process in server.daemon_processes}
    assert {answer["pid"], other["pid"]} <= pids
    assert len(pids) == 2


@pytest.fixture
def words(deploy) -> Server:
    return deploy(
        "words",
        "a folder/the app.wsgi",
        "overridden/app.wsgi",
        files={
            "overridden/.htaccess": 'WSGICallableObject "app"\nWSGIPassAuthorization On\n',
        },
        modules=["macro"],
    )


def test_words(words):
    port = words.port
    answer = ask(words, "/with%20blank/x", "the group", "one name", "/with blank", "/x")
    assert title(words, answer).startswith(b"(wsgi:the group)")
    assert answer["umask"] == 0o027
    assert answer["cwd"] == f"{words.root}/site/a folder"
    assert answer["multiprocess"] is True
    quoted = '/in "quotes"'
    name = f"localhost:{port}|{quoted}"
    answer = ask(words, "/in%20%22quotes%22", 'say "group"', name, quoted, "")
    assert title(words, answer).startswith(b"it's")
    ask(words, "/lower-case", "", f"localhost:{port}|/lower-case", "/lower-case", "")
    for mount in ("/tabs", "/by-source-file", "/by-symbol"):
        ask(words, mount, "the group", f"localhost:{port}|{mount}", mount, "")
    ask(words, "/macro", "the group", "", "/macro", "")
    ask(words, "/macro-too", "the group", "two words", "/macro-too", "")


def test_section_with_a_condition(words):
    name = f"localhost:{words.port}|/if"
    ask(words, "/if", 'say "group"', name, "/if", "")
    ask(words, "/if?200+OK", 'say "group"', name, "/if", "")
    answer = words.get("/if?202")
    assert answer.status == 202
    found = answer.json
    assert (found["process_group"], found["application_group"]) == ("the group", "condition")


def test_file_in_the_folder(words):
    name = f"localhost:{words.port}|/htaccess"
    answer = ask(words, "/htaccess", "", name, "/htaccess", "", headers=basic("a", "b"))
    assert answer["callable"] == "app"
    assert "HTTP_AUTHORIZATION" in answer["environ"]
