# SPDX-License-Identifier: Apache-2.0
"""Scripts that httpd asks before it serves: who may come in, whose password is right, who is in
which group.

Each table is gone through where hooks of mod_wsgi always run, in httpd's children, and in the
daemon processes of a group, which is ours. Dispatch scripts are in test_dispatch_script.py.
"""

import ast
import base64
import hashlib
import json
import re

import pytest

from harness import tls
from harness.plugin import differs
from harness.under_test import OURS

PLACES = {"embedded": "", "group": " process-group=hooks"}
GROUPS = {"embedded": "", "group": "WSGIDaemonProcess hooks threads=1\n"}


@pytest.fixture(
    params=[
        "embedded",
        pytest.param(
            "group", marks=pytest.mark.ours_only("hooks of mod_wsgi run in httpd's children only")
        ),
    ]
)
def place(request):
    """Where the hooks run: in httpd's children or in a process group."""
    return request.param


HEAD = """
WSGIDaemonProcess hooks threads=3
WSGIDaemonProcess application threads=3
WSGIApplicationGroup %{GLOBAL}
Define HOOK ${APPS}/hooks/hook.py
Define NONE ${APPS}/hello/app.wsgi
AliasMatch ^/(embedded|group)/static ${ROOT}/htdocs/plain.txt
<AuthnProviderAlias file passwords>
    AuthUserFile ${ROOT}/conf/passwords
</AuthnProviderAlias>
"""

# One of these for each place.
PLACE = """
WSGIScriptAlias /{place}/app ${{APPS}}/environ/app.wsgi
WSGIScriptAlias /{place}/daemon ${{APPS}}/environ/app.wsgi process-group=application

<LocationMatch ^/{place}/[a-z]+/access>
    WSGIAccessScript ${{HOOK}}{option}
</LocationMatch>
<Location /{place}/static/access-missing>
    WSGIAccessScript ${{NONE}}{option}
</Location>
<Location /{place}/static/access-syntax-error>
    WSGIAccessScript ${{APPS}}/syntax-error/app.wsgi{option}
</Location>
<Location /{place}/static/access-import-error>
    WSGIAccessScript ${{APPS}}/import-error/app.wsgi{option}
</Location>
<Location /{place}/static/access-exit>
    WSGIAccessScript ${{APPS}}/exit-at-import/app.wsgi{option}
</Location>
<Location /{place}/static/access-no-file>
    WSGIAccessScript ${{APPS}}/no-such-folder/hook.py{option}
</Location>
<Location /{place}/static/access-required>
    WSGIAccessScript ${{HOOK}}{option}
    Require ip 192.0.2.1
</Location>
<Location /{place}/static/access-satisfy>
    WSGIAccessScript ${{HOOK}}{option}
    AuthType Basic
    AuthName realm
    AuthBasicProvider passwords
    Require valid-user
    Satisfy Any
</Location>
<Location /{place}/static/access-name>
    WSGIAccessScript ${{HOOK}} application-group=name{option}
</Location>
<Location /{place}/static/access-server>
    WSGIAccessScript ${{HOOK}} application-group=%{{SERVER}}{option}
</Location>

<LocationMatch ^/{place}/[a-z]+/(basic|group|digest)>
    AuthName "the realm"
    Require valid-user
    WSGIAuthUserScript ${{HOOK}}{option}
    WSGIAuthGroupScript ${{HOOK}}{option}
</LocationMatch>
<LocationMatch ^/{place}/[a-z]+/(basic|group)>
    AuthType Basic
    AuthBasicProvider wsgi
</LocationMatch>
<Location /{place}/static/basic-missing>
    WSGIAuthUserScript ${{NONE}}{option}
</Location>
<Location /{place}/static/basic-syntax-error>
    WSGIAuthUserScript ${{APPS}}/syntax-error/app.wsgi{option}
</Location>
<Location /{place}/static/basic-import-error>
    WSGIAuthUserScript ${{APPS}}/import-error/app.wsgi{option}
</Location>
<Location /{place}/static/basic-no-file>
    WSGIAuthUserScript ${{APPS}}/no-such-folder/hook.py{option}
</Location>
<Location /{place}/static/basic-file-first>
    AuthBasicProvider passwords wsgi
</Location>
<Location /{place}/static/basic-wsgi-first>
    AuthBasicProvider wsgi passwords
</Location>
<AuthnProviderAlias wsgi {place}-alias>
    WSGIAuthUserScript ${{HOOK}}{option}
</AuthnProviderAlias>
<Location /{place}/app/aliased>
    AuthType Basic
    AuthName "the realm"
    AuthBasicProvider {place}-alias
    Require valid-user
</Location>
<Location /{place}/static/no-script>
    AuthType Basic
    AuthName "the realm"
    AuthBasicProvider wsgi
    Require valid-user
</Location>

<LocationMatch ^/{place}/[a-z]+/digest>
    AuthType Digest
    AuthDigestProvider wsgi
</LocationMatch>
<Location /{place}/static/digest-missing>
    WSGIAuthUserScript ${{NONE}}{option}
</Location>
<Location /{place}/static/digest-syntax-error>
    WSGIAuthUserScript ${{APPS}}/syntax-error/app.wsgi{option}
</Location>
<Location /{place}/static/digest-file-second>
    AuthDigestProvider wsgi digests
</Location>
<Location /{place}/static/no-digest-script>
    AuthType Digest
    AuthName "the realm"
    AuthDigestProvider wsgi
    Require valid-user
</Location>

<LocationMatch ^/{place}/[a-z]+/group>
    Require wsgi-group staff "two words"
</LocationMatch>
<Location /{place}/static/group-missing>
    WSGIAuthGroupScript ${{NONE}}{option}
</Location>
<Location /{place}/static/group-syntax-error>
    WSGIAuthGroupScript ${{APPS}}/syntax-error/app.wsgi{option}
</Location>
<Location /{place}/static/group-forbidden>
    AuthzSendForbiddenOnFailure On
</Location>
<Location /{place}/static/group-file>
    AuthBasicProvider passwords
</Location>
<AuthzProviderAlias wsgi-group {place}-staff staff>
    WSGIAuthGroupScript ${{HOOK}}{option}
</AuthzProviderAlias>
<Location /{place}/static/group-alias>
    Require {place}-staff
</Location>
<Location /{place}/static/group-all>
    <RequireAll>
        Require wsgi-group staff
        Require wsgi-group chiefs
    </RequireAll>
</Location>
<Location /{place}/static/group-any>
    <RequireAny>
        Require wsgi-group staff
        Require user bob
    </RequireAny>
</Location>
<Location /{place}/static/group-not>
    <RequireAll>
        Require valid-user
        Require not wsgi-group banned
    </RequireAll>
</Location>
<Location /{place}/static/group-none>
    <RequireAll>
        Require valid-user
        <RequireNone>
            Require {place}-staff
        </RequireNone>
    </RequireAll>
</Location>
<Location /{place}/static/no-group-script>
    AuthType Basic
    AuthName "the realm"
    AuthBasicProvider passwords
    Require wsgi-group staff
</Location>

<Location /{place}/static/form>
    AuthType form
    AuthName "the realm"
    AuthFormProvider wsgi
    AuthFormLoginRequiredLocation /login.html
    WSGIAuthUserScript ${{HOOK}}{option}
    Session On
    SessionCookieName session{place} path=/
    Require valid-user
</Location>
<Location /{place}/static/form/login>
    SetHandler form-login-handler
    Require all granted
</Location>
"""

DIGESTS = """
<AuthnProviderAlias file digests>
    AuthUserFile ${ROOT}/conf/digests
</AuthnProviderAlias>
"""

MODULES = (
    *("access_compat", "auth_basic", "auth_digest", "auth_form", "authn_core", "authn_file"),
    *("authz_host", "authz_user", "request", "session", "session_cookie"),
)


def configuration(text: str) -> str:
    """The text once for each place that the module under test knows."""
    return "".join(
        text.format(place=place, option=option)
        for place, option in PLACES.items()
        if OURS or place == "embedded"
    )


@pytest.fixture(scope="module")
def hooked(module_server_factory):
    server = module_server_factory(
        HEAD + DIGESTS + configuration(PLACE), modules=MODULES, start=False
    )
    server.write("htdocs/plain.txt", "a plain file\n")
    # What htpasswd and htdigest make of the password "filed".
    server.write("conf/passwords", f"filed:{{SHA}}{sha('filed')}\nann:{{SHA}}{sha('filed')}\n")
    server.write("conf/digests", f"filed:the realm:{md5('filed:the realm:filed')}\n")
    return server.start()


def sha(text: str) -> str:
    return base64.b64encode(hashlib.sha1(text.encode()).digest()).decode()


def md5(text: str) -> str:
    return hashlib.md5(text.encode("latin-1")).hexdigest()


def basic(user: str = "ann", password: str = "secret") -> dict[str, str]:
    token = base64.b64encode(f"{user}:{password}".encode("latin-1")).decode()
    return {"Authorization": f"Basic {token}"}


def digest(server, path: str, user: str = "ann", password: str = "secret", headers=()):
    """The response to a request that answers the server's challenge."""
    with server.connection() as connection:
        challenge = connection.request(path).header("WWW-Authenticate")
        said = dict(re.findall(r'(\w+)="?([^",]*)', challenge.removeprefix("Digest ")))
        secret = md5(f"{user}:{said['realm']}:{password}")
        asked = md5(f"GET:{path}")
        proof = md5(f"{secret}:{said['nonce']}:00000001:c0ffee:auth:{asked}")
        token = (
            f'Digest username="{user}", realm="{said["realm"]}", nonce="{said["nonce"]}", '
            f'uri="{path}", algorithm=MD5, qop=auth, nc=00000001, cnonce="c0ffee", '
            f'response="{proof}"'
        )
        return connection.request(path, headers={**dict(headers), "Authorization": token})


def expect(server, *lines) -> None:
    """Declare log lines; a pair is a number and the exception whose traceback it begins."""
    for line in lines:
        if isinstance(line, tuple):
            number, exception = line
            server.expect_traceback(exception, number, count=1)
        else:
            server.expect_log(line, count=1)


def remote_user(response) -> str:
    assert response.status == 200
    return response.json["REMOTE_USER"][1]


NOT_LATIN_1 = ("WSGI0174", "UnicodeEncodeError|TypeError")
# mod_wsgi makes a TypeError of a UnicodeEncodeError.
MORE_OF_IT = "direct cause of the following|latin-1"

DENIED = "WSGI0057"
NOT_A_BOOLEAN = "WSGI0055"

UNLOADABLE = {
    "syntax-error": ("WSGI0105", ("WSGI0174", "SyntaxError")),
    "import-error": ("WSGI0109", ("WSGI0174", "ModuleNotFoundError")),
    "exit": ("WSGI0107", ("WSGI0175", "SystemExit: not today")),
    "no-file": ("WSGI0105", ("WSGI0174", "FileNotFoundError")),
}

# Access


@pytest.mark.parametrize(
    ("expression", "status", "lines"),
    [
        ("True", 200, ()),
        ("None", 200, ()),
        ("False", 403, (DENIED,)),
        ("1", 403, (NOT_A_BOOLEAN, DENIED)),
        ("0", 403, (NOT_A_BOOLEAN, DENIED)),
        ("'yes'", 403, (NOT_A_BOOLEAN, DENIED)),
        ("[]", 403, (NOT_A_BOOLEAN, DENIED)),
        ("fail(ValueError('not today'))", 403, (("WSGI0174", "ValueError: not today"), DENIED)),
        ("fail(SystemExit('not today'))", 403, (("WSGI0175", "SystemExit: not today"), DENIED)),
        ("host == '127.0.0.1'", 200, ()),
        ("type(host) is str", 200, ()),
    ],
)
def test_access(hooked, place, expression, status, lines):
    response = hooked.get(f"/{place}/static/access", headers={"X-Access": expression})
    assert response.status == status
    assert (response.body == b"a plain file\n") is (status == 200)
    expect(hooked, *lines)


def test_access_to_an_application(hooked, place):
    for path in ("app", "daemon"):
        assert hooked.get(f"/{place}/{path}/access").status == 200
        response = hooked.get(f"/{place}/{path}/access", headers={"X-Access": "False"})
        assert response.status == 403
    hooked.expect_log(DENIED, count=2)


def test_access_function_is_missing(hooked, place):
    assert hooked.get(f"/{place}/static/access-missing").status == 403
    expect(hooked, "WSGI0056", DENIED)


@pytest.mark.parametrize("what", UNLOADABLE)
def test_access_script_does_not_load(hooked, place, what):
    for _ in range(2):
        assert hooked.get(f"/{place}/static/access-{what}").status == 403
    for line in UNLOADABLE[what]:
        if isinstance(line, tuple):
            hooked.expect_traceback(line[1], line[0], count=2)
        else:
            hooked.expect_log(line, count=2)
    hooked.expect_log(DENIED, count=2)


def test_access_is_not_all_that_is_required(hooked, place):
    response = hooked.get(f"/{place}/static/access-required", headers={"X-Access": "True"})
    assert response.status == 403
    expect(hooked, "AH01630")


@pytest.mark.parametrize(
    ("expression", "authorization", "status"),
    [
        ("True", {}, 200),
        ("False", basic("filed", "filed"), 200),
        ("False", {}, 401),
    ],
)
def test_access_or_a_user(hooked, place, expression, authorization, status):
    """With Satisfy Any a denial is not said in the log: a password may still let the client in."""
    response = hooked.get(
        f"/{place}/static/access-satisfy", headers={"X-Access": expression, **authorization}
    )
    assert response.status == status


# Basic

WRONG = "AH01617"
UNKNOWN = "AH01618"


@pytest.mark.parametrize(
    ("expression", "status", "lines"),
    [
        ("True", 200, ()),
        ("user == 'ann' and password == 'secret'", 200, ()),
        ("type(user) is str and type(password) is str", 200, ()),
        ("'bob'", 200, ()),
        ("False", 401, (WRONG,)),
        ("None", 401, (UNKNOWN,)),
        ("''", 500, ("WSGI0176",)),
        ("1", 500, ("WSGI0177",)),
        ("0", 500, ("WSGI0177",)),
        ("b'bob'", 500, ("WSGI0177",)),
        ("['bob']", 500, ("WSGI0177",)),
        ("fail(ValueError('not today'))", 500, (("WSGI0174", "ValueError: not today"),)),
        ("fail(SystemExit('not today'))", 500, (("WSGI0175", "SystemExit: not today"),)),
    ],
)
def test_basic(hooked, place, expression, status, lines):
    headers = {"X-Password": expression, **basic()}
    response = hooked.get(f"/{place}/static/basic", headers=headers)
    assert response.status == status
    assert (response.body == b"a plain file\n") is (status == 200)
    if status == 401:
        assert response.header("WWW-Authenticate") == 'Basic realm="the realm"'
    expect(hooked, *lines)


def test_basic_without_a_password(hooked, place):
    response = hooked.get(f"/{place}/static/basic", headers={"X-Password": "True"})
    assert response.status == 401


@pytest.mark.parametrize("user", ["ann", "name with blanks", "gr\u00fc\u00df", ""])
@pytest.mark.parametrize("password", ["secret", "with:colon", "gr\u00fc\u00df", ""])
def test_names_and_passwords_are_latin_1(hooked, place, user, password):
    expression = f"(user, password) == ({user!a}, {password!a})"
    headers = {"X-Password": expression, **basic(user, password)}
    assert hooked.get(f"/{place}/static/basic", headers=headers).status == 200


def test_user_of_the_application(hooked, place):
    for path in ("app", "daemon"):
        response = hooked.get(f"/{place}/{path}/basic", headers=basic())
        assert remote_user(response) == "ann"
        assert response.json["AUTH_TYPE"][1] == "Basic"


@pytest.mark.parametrize(
    ("name", "seen"),
    [("bob", "bob"), ("two words", "two words"), ("gr\u00fc\u00df", "gr\u00c3\u00bc\u00c3\u009f")],
)
def test_user_is_renamed(hooked, place, name, seen):
    """The new name is UTF-8; the environ shows bytes as Latin-1."""
    headers = {"X-Password": f"{name!a}", **basic()}
    for path in ("app", "daemon"):
        assert remote_user(hooked.get(f"/{place}/{path}/basic", headers=headers)) == seen


def test_groups_hook_sees_the_new_name(hooked, place):
    headers = {
        "X-Password": "'gr\\u00fc\\u00df'",
        "X-Groups": "['staff'] if user == 'gr\\u00c3\\u00bc\\u00c3\\u009f' else []",
        **basic(),
    }
    assert remote_user(hooked.get(f"/{place}/app/group", headers=headers))


def test_basic_function_is_missing(hooked, place):
    assert hooked.get(f"/{place}/static/basic-missing", headers=basic()).status == 500
    expect(hooked, "WSGI0043")


@pytest.mark.parametrize("what", ["syntax-error", "import-error", "no-file"])
def test_basic_script_does_not_load(hooked, place, what):
    assert hooked.get(f"/{place}/static/basic-{what}", headers=basic()).status == 500
    expect(hooked, *UNLOADABLE[what])


@pytest.mark.parametrize(
    ("path", "expression", "credentials", "status", "lines"),
    [
        ("file-first", "False", ("filed", "filed"), 200, ()),
        ("file-first", "False", ("filed", "wrong"), 401, (WRONG,)),
        ("file-first", "True", ("ann2", "secret"), 200, ()),
        ("file-first", "False", ("ann2", "secret"), 401, (WRONG,)),
        ("file-first", "None", ("ann2", "secret"), 401, (UNKNOWN,)),
        ("wsgi-first", "True", ("filed", "x"), 200, ()),
        ("wsgi-first", "None", ("filed", "filed"), 200, ()),
        ("wsgi-first", "None", ("filed", "wrong"), 401, (WRONG,)),
        ("wsgi-first", "False", ("filed", "filed"), 401, (WRONG,)),
        ("wsgi-first", "1", ("filed", "filed"), 500, ("WSGI0177",)),
    ],
)
def test_chain_of_providers(hooked, place, path, expression, credentials, status, lines):
    """A user who is unknown is for the next provider; a wrong password is the end."""
    headers = {"X-Password": expression, **basic(*credentials)}
    assert hooked.get(f"/{place}/static/basic-{path}", headers=headers).status == status
    expect(hooked, *lines)


def test_provider_alias(hooked, place):
    assert remote_user(hooked.get(f"/{place}/app/aliased", headers=basic())) == "ann"
    assert hooked.get(f"/{place}/app/aliased", headers=basic("ann", "wrong")).status == 401
    expect(hooked, WRONG)


@pytest.mark.parametrize("place", ["embedded"])
def test_basic_without_a_script(hooked, place):
    assert hooked.get(f"/{place}/static/no-script", headers=basic()).status == 500
    expect(hooked, "WSGI0041")


# Digest


@pytest.mark.parametrize(
    ("expression", "status", "lines"),
    [
        ("wanted", 200, ()),
        ("wanted.encode()", 200, ()),
        ("wanted if (user, realm) == ('ann', 'the realm') else None", 200, ()),
        ("'0' * 32", 401, ("AH01794",)),
        ("None", 401, ("AH01790",)),
        ("''", 500, ("WSGI0178",)),
        ("b''", 500, ("WSGI0178",)),
        ("True", 500, ("WSGI0179",)),
        ("1", 500, ("WSGI0179",)),
        ("'\\u20ac'", 500, (NOT_LATIN_1,)),
        ("fail(ValueError('no'))", 500, (("WSGI0174", "ValueError: no"),)),
        ("fail(SystemExit('no'))", 500, (("WSGI0175", "SystemExit: no"),)),
    ],
)
def test_digest(hooked, place, expression, status, lines):
    path = f"/{place}/static/digest"
    response = digest(hooked, path, headers={"X-Realm-Hash": expression})
    assert response.status == status
    expect(hooked, *lines)
    hooked.tolerate_log(MORE_OF_IT)


def test_wrong_password_of_a_digest(hooked, place):
    assert digest(hooked, f"/{place}/static/digest", password="wrong").status == 401
    expect(hooked, "AH01794")


def test_user_of_a_digest(hooked, place):
    response = digest(hooked, f"/{place}/app/digest")
    assert remote_user(response) == "ann"
    assert response.json["AUTH_TYPE"][1] == "Digest"


def test_digest_function_is_missing(hooked, place):
    assert digest(hooked, f"/{place}/static/digest-missing").status == 500
    expect(hooked, "WSGI0046")


def test_digest_script_does_not_load(hooked, place):
    assert digest(hooked, f"/{place}/static/digest-syntax-error").status == 500
    expect(hooked, *UNLOADABLE["syntax-error"])


def test_chain_of_digest_providers(hooked, place):
    path = f"/{place}/static/digest-file-second"
    headers = {"X-Realm-Hash": "None"}
    assert digest(hooked, path, "filed", "filed", headers).status == 200


@pytest.mark.parametrize("place", ["embedded"])
def test_digest_without_a_script(hooked, place):
    assert digest(hooked, f"/{place}/static/no-digest-script").status == 500
    expect(hooked, "WSGI0044")


# Groups

NO_GROUPS = "WSGI0059"
NO_MATCH = "WSGI0060"
UNAUTHORIZED = "AH01631"


@pytest.mark.parametrize(
    ("expression", "status", "lines"),
    [
        ("['staff']", 200, ()),
        ("['STAFF']", 200, ()),
        ("[b'staff']", 200, ()),
        ("('other', 'two words')", 200, ()),
        ("{'staff'}", 200, ()),
        ("(name for name in ['other', 'staff'])", 200, ()),
        ("{'staff': 1}", 200, ()),
        ("['staff'] if user == 'ann' else []", 200, ()),
        ("['other']", 401, (NO_MATCH,)),
        ("['two', 'words']", 401, (NO_MATCH,)),
        ("'staff'", 401, (NO_MATCH,)),
        ("['staffs', 'staf']", 401, (NO_MATCH,)),
        ("[]", 401, (NO_GROUPS,)),
        ("None", 401, ("WSGI0051",)),
        ("True", 401, ("WSGI0051",)),
        ("[1]", 401, ("WSGI0050",)),
        ("['\\u20ac']", 401, ("WSGI0049",)),
        ("fail(ValueError('no'))", 401, (("WSGI0174", "ValueError: no"),)),
        ("fail(SystemExit('no'))", 401, (("WSGI0175", "SystemExit: no"),)),
        ("partly('other')", 401, (("WSGI0174", "ValueError: no more"), NO_MATCH)),
    ],
)
def test_group(hooked, place, expression, status, lines):
    headers = {"X-Groups": expression, **basic()}
    response = hooked.get(f"/{place}/static/group", headers=headers)
    assert response.status == status
    expect(hooked, *lines)
    if status == 401:
        expect(hooked, UNAUTHORIZED)
    if {"WSGI0049", "WSGI0051"} & set(lines):
        # mod_wsgi says it twice.
        hooked.tolerate_log("TypeError|UnicodeEncodeError")


def test_groups_until_an_exception_count(hooked, place):
    headers = {"X-Groups": "partly('staff')", **basic()}
    assert hooked.get(f"/{place}/static/group", headers=headers).status == 200
    expect(hooked, ("WSGI0174", "ValueError: no more"))


def test_group_needs_a_user_first(hooked, place):
    headers = {"X-Groups": "['staff']"}
    assert hooked.get(f"/{place}/static/group", headers=headers).status == 401


def test_group_of_somebody_with_a_wrong_password(hooked, place):
    headers = {"X-Groups": "['staff']", **basic("ann", "wrong")}
    assert hooked.get(f"/{place}/static/group", headers=headers).status == 401
    expect(hooked, WRONG)


def test_group_function_is_missing(hooked, place):
    assert hooked.get(f"/{place}/static/group-missing", headers=basic()).status == 401
    expect(hooked, "WSGI0052", UNAUTHORIZED)


def test_group_script_does_not_load(hooked, place):
    assert hooked.get(f"/{place}/static/group-syntax-error", headers=basic()).status == 401
    expect(hooked, *UNLOADABLE["syntax-error"], UNAUTHORIZED)


def test_group_can_be_forbidden_instead(hooked, place):
    headers = {"X-Groups": "['other']", **basic()}
    assert hooked.get(f"/{place}/static/group-forbidden", headers=headers).status == 403
    expect(hooked, NO_MATCH, UNAUTHORIZED)


@pytest.mark.parametrize(
    ("path", "user", "groups", "status"),
    [
        ("alias", "ann", "['staff']", 200),
        ("alias", "ann", "['two words']", 401),
        ("all", "ann", "['staff', 'chiefs']", 200),
        ("all", "ann", "['staff']", 401),
        ("any", "ann", "['staff']", 200),
        ("any", "bob", "[]", 200),
        ("any", "ann", "[]", 401),
        ("not", "ann", "['staff']", 200),
        ("not", "ann", "['banned']", 401),
        ("none", "ann", "['other']", 200),
        ("none", "ann", "['staff']", 401),
    ],
)
def test_group_among_other_requirements(hooked, place, path, user, groups, status):
    headers = {"X-Groups": groups, **basic(user)}
    assert hooked.get(f"/{place}/static/group-{path}", headers=headers).status == status
    hooked.tolerate_log(f"{NO_GROUPS}|{NO_MATCH}")
    if status == 401:
        expect(hooked, UNAUTHORIZED)


def test_group_of_a_user_of_another_provider(hooked, place):
    path = f"/{place}/static/group-file"
    headers = {"X-Groups": "['staff'] if user == 'filed' else []"}
    assert hooked.get(path, headers={**headers, **basic("filed", "filed")}).status == 200
    assert hooked.get(path, headers={**headers, **basic("ann", "filed")}).status == 401
    expect(hooked, NO_GROUPS, UNAUTHORIZED)


@pytest.mark.parametrize("place", ["embedded"])
def test_group_without_a_script(hooked, place):
    path = f"/{place}/static/no-group-script"
    assert hooked.get(path, headers=basic("filed", "filed")).status == 401
    expect(hooked, "WSGI0058", UNAUTHORIZED)


# A form


def test_form(hooked, place):
    path = f"/{place}/static/form"

    def login(password: str):
        body = f"httpd_username=ann&httpd_password={password}&httpd_location={path}".encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return hooked.post(f"{path}/login", body, headers=headers)

    assert hooked.get(path).status == 302
    response = login("wrong")
    assert response.status == 302
    assert response.header("Location").endswith("/login.html")
    expect(hooked, "AH01807")
    response = login("secret")
    assert (response.status, response.header("Location")) == (302, path)
    cookie = response.header("Set-Cookie").partition(";")[0]
    response = hooked.get(path, headers={"Cookie": cookie})
    assert (response.status, response.body) == (200, b"a plain file\n")


# The environ


def told(server) -> dict[str, list]:
    """The environ that the hook wrote to wsgi.errors."""
    record = server.wait_log(r"'wsgi\.errors'")
    server.expect_log(r"'wsgi\.errors'", count=1)
    assert record.level == "error"
    text = record.message[record.message.index("{") : record.message.rindex("}") + 1]
    return ast.literal_eval(text.replace('\\"', '"').replace("\\\\", "\\"))


KEYS = {
    "DOCUMENT_ROOT": "str",
    "HTTP_HOST": "str",
    "HTTP_X_TELL": "str",
    "PATH_INFO": "str",
    "QUERY_STRING": "str",
    "REMOTE_ADDR": "str",
    "REMOTE_PORT": "str",
    "REQUEST_METHOD": "str",
    "REQUEST_URI": "str",
    "SCRIPT_NAME": "str",
    "SERVER_ADDR": "str",
    "SERVER_ADMIN": "str",
    "SERVER_NAME": "str",
    "SERVER_PORT": "str",
    "SERVER_PROTOCOL": "str",
    "SERVER_SIGNATURE": "str",
    "SERVER_SOFTWARE": "str",
    "apache.version": "tuple",
    "mod_wsgi.application_group": "str",
    "mod_wsgi.process_group": "str",
    "mod_wsgi.version": "tuple",
    "wsgi.errors": "TextIOWrapper",
}


@pytest.mark.parametrize("hook", ["ACCESS", "PASSWORD", "GROUPS"])
def test_keys_of_the_environ(hooked, place, hook):
    path = {"ACCESS": "access", "PASSWORD": "basic", "GROUPS": "group"}[hook]
    headers = {"X-Tell": hook, "X-Groups": "['staff']", **basic()}
    assert hooked.get(f"/{place}/app/{path}", headers=headers).status == 200
    environ = told(hooked)
    # Functions of mod_ssl, if there is a mod_ssl.
    kinds = {key: kind for key, (kind, _) in environ.items() if not key.startswith("mod_ssl.")}
    assert kinds == KEYS | ({"HTTP_X_GROUPS": "str"})


def test_keys_of_the_environ_of_a_digest(hooked, place):
    path = f"/{place}/app/digest"
    assert digest(hooked, path, headers={"X-Tell": "REALM_HASH"}).status == 200
    environ = told(hooked)
    kinds = {key: kind for key, (kind, _) in environ.items() if not key.startswith("mod_ssl.")}
    assert kinds == KEYS


def test_values_of_the_environ(hooked, place):
    path = f"/{place}/app/access//more/x%20y?a=%20"
    headers = {
        "X-Tell": "ACCESS",
        "Content-Type": "text/x",
        "X_Under": "1",
        "X-Many": "2",
        "Proxy-Authorization": "Basic eA==",
        **basic(),
    }
    assert hooked.request(path, method="PUT", body=b"12345", headers=headers).status == 200
    environ = {key: value for key, (_, value) in told(hooked).items()}
    assert environ["REQUEST_METHOD"] == "PUT"
    assert environ["REQUEST_URI"] == path
    assert environ["QUERY_STRING"] == "a=%20"
    assert environ["SCRIPT_NAME"] == f"/{place}/app"
    assert environ["PATH_INFO"].endswith("/more/x y")
    assert environ["SERVER_NAME"] == "127.0.0.1"
    assert environ["SERVER_PORT"] == str(hooked.port)
    assert environ["SERVER_ADDR"] == "127.0.0.1"
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert environ["SERVER_SOFTWARE"].startswith("Apache/2.4")
    assert environ["DOCUMENT_ROOT"] == f"{hooked.root}/htdocs"
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["CONTENT_TYPE"] == "text/x"
    assert environ["CONTENT_LENGTH"] == "5"
    assert environ["HTTP_X_MANY"] == "2"
    assert "HTTP_X_UNDER" not in environ
    assert not {key for key in environ if "AUTHORIZATION" in key}
    assert environ["mod_wsgi.application_group"] == ""
    assert len(environ["mod_wsgi.version"]) == len(environ["apache.version"]) == 3


@pytest.mark.difference("httpoxy: a Proxy header is for no script")
def test_proxy_header(hooked, place):
    headers = {"X-Tell": "ACCESS", "Proxy": "http://evil"}
    assert hooked.get(f"/{place}/static/access", headers=headers).status == 200
    assert ("HTTP_PROXY" in told(hooked)) is differs(upstream=True, ours=False)


def test_application_group_of_a_hook(hooked, place):
    names = {"access-name": "name", "access-server": f"localhost:{hooked.port}"}
    for path, name in names.items():
        expression = (
            f"environ['mod_wsgi.application_group'] == {name!r} == mod_wsgi.application_group"
        )
        headers = {"X-Access": expression}
        assert hooked.get(f"/{place}/static/{path}", headers=headers).status == 200


def test_process_group_of_a_hook(hooked, place):
    name = "" if place == "embedded" else "hooks"
    expression = f"environ['mod_wsgi.process_group'] == {name!r} == mod_wsgi.process_group"
    headers = {"X-Access": expression}
    assert hooked.get(f"/{place}/static/access", headers=headers).status == 200


def test_environ_without_the_request(hooked, place):
    """The request itself is asked for, and not there unless it is."""
    headers = {"X-Access": "'apache.request_rec' not in environ"}
    assert hooked.get(f"/{place}/static/access", headers=headers).status == 200


PASSING = """
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias / ${{APPS}}/environ/app.wsgi
{request}
<Location />
    WSGIAccessScript ${{APPS}}/hooks/hook.py{option}
</Location>
"""


@pytest.mark.parametrize("value", ["On", "Off"])
def test_request_is_passed_when_asked(server_factory, place, value):
    """Only where there is a request to pass: in httpd's children."""
    server = server_factory(
        GROUPS[place]
        + PASSING.format(request=f"WSGIPassApacheRequest {value}", option=PLACES[place])
    )
    expected = "'PyCapsule'" if (value, place) == ("On", "embedded") else "'NoneType'"
    headers = {"X-Access": f"type(environ.get('apache.request_rec')).__name__ == {expected}"}
    assert server.get("/", headers=headers).status == 200


def test_host_is_a_name_when_it_is_looked_up(server_factory, place):
    server = server_factory(
        GROUPS[place] + PASSING.format(request="HostnameLookups On", option=PLACES[place])
    )
    looked_up = "host != '127.0.0.1' and environ['REMOTE_HOST'] == host"
    not_found = "host == '127.0.0.1' and 'REMOTE_HOST' not in environ"
    headers = {"X-Access": f"({looked_up}) or ({not_found})"}
    assert server.get("/", headers=headers).status == 200


# mod_ssl


def test_functions_of_mod_ssl_without_it(hooked, place):
    for expression in (
        "type(environ['mod_ssl.is_https']()) is int and not environ['mod_ssl.is_https']()",
        "environ['mod_ssl.var_lookup']('SSL_PROTOCOL') is None",
        "environ['mod_ssl.var_lookup'](b'HTTPS') is None",
    ):
        response = hooked.get(f"/{place}/static/access", headers={"X-Access": expression})
        assert response.status == 200, expression


@pytest.fixture(scope="module")
def encrypted(module_server_factory):
    server = module_server_factory(
        HEAD + DIGESTS + configuration(PLACE) + tls.HOST,
        modules=(*MODULES, "ssl", "socache_shmcb"),
        ports=("tls",),
        start=False,
    )
    tls.write_certificate(server)
    server.write("htdocs/plain.txt", "a plain file\n")
    return server.start()


@pytest.mark.parametrize(
    ("expression", "secure", "plain"),
    [
        ("environ['mod_ssl.is_https']()", 1, 0),
        ("environ['mod_ssl.var_lookup']('HTTPS')", "on", "off"),
        ("environ['mod_ssl.var_lookup'](b'HTTPS')", "on", "off"),
        ("environ['mod_ssl.var_lookup']('SSL_SERVER_S_DN_CN')", "localhost", ""),
        ("environ['mod_ssl.var_lookup']('REQUEST_METHOD')", "GET", "GET"),
        ("environ['mod_ssl.var_lookup']('SSL_NO_SUCH_VARIABLE')", "", ""),
        ("environ['mod_ssl.var_lookup']('SSL_PROTOCOL')[:3]", "TLS", None),
    ],
)
def test_functions_of_mod_ssl(encrypted, place, expression, secure, plain):
    path = f"/{place}/static/access"
    response = tls.get(encrypted, path, {"X-Access": f"({expression}) == {secure!r}"})
    assert response.status == 200
    if plain is not None:
        headers = {"X-Access": f"({expression}) == {plain!r}"}
        assert encrypted.get(path, headers=headers).status == 200


@pytest.mark.parametrize("arguments", ["", "1", "'\\u20ac'", "'a', 'b'"])
def test_wrong_arguments_of_the_variable(encrypted, place, arguments):
    headers = {"X-Access": f"environ['mod_ssl.var_lookup']({arguments})"}
    assert tls.get(encrypted, f"/{place}/static/access", headers).status == 403
    expect(encrypted, NOT_LATIN_1, DENIED)
    encrypted.tolerate_log(MORE_OF_IT)


@pytest.mark.parametrize("function", ["is_https", "var_lookup"])
def test_functions_of_mod_ssl_after_the_call(encrypted, place, function):
    keep = f"setattr(sys, 'kept', environ['mod_ssl.{function}'])"
    argument = "'HTTPS'" if function == "var_lookup" else ""
    path = f"/{place}/static/access"
    # One connection, that is one child.
    with encrypted.connection() as connection:
        assert connection.request(path, headers={"X-Access": keep + " is None"}).status == 200
        headers = {"X-Access": f"sys.kept({argument})"}
        assert connection.request(path, headers=headers).status == 403
    expect(encrypted, ("WSGI0174", "RuntimeError"), DENIED)


# Life of the scripts


COUNTING = '''"""Says in the user's name how often it was called."""

VERSION = {version}
calls = 0


def check_password(environ, user, password):
    global calls
    calls += 1
    return "%s.%s" % (VERSION, calls)
'''

RELOADING = """
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias / ${{APPS}}/environ/app.wsgi
<Location />
    AuthType Basic
    AuthName "the realm"
    AuthBasicProvider wsgi
    Require valid-user
    WSGIAuthUserScript ${{ROOT}}/hook/hook.py{option}
    WSGIScriptReloading {reloading}
</Location>
"""


@pytest.mark.parametrize("reloading", ["On", "Off"])
def test_changed_script(server_factory, place, reloading):
    server = server_factory(
        GROUPS[place] + RELOADING.format(option=PLACES[place], reloading=reloading),
        modules=("auth_basic", "authn_core", "authz_user"),
        start=False,
    )
    path = server.write("hook/hook.py", COUNTING.format(version=1))
    server.start()

    # One connection, that is one child: each has the script for itself.
    with server.connection() as connection:

        def name() -> str:
            return remote_user(connection.request("/", headers=basic()))

        assert [name(), name()] == ["1.1", "1.2"]
        server.write("hook/hook.py", COUNTING.format(version=2))
        server.touch(path)
        assert [name(), name()] == (["2.1", "2.2"] if reloading == "On" else ["1.3", "1.4"])


# Embedded mode forbidden

RESTRICTED = """
WSGIRestrictEmbedded On
WSGIDaemonProcess application
WSGIScriptAlias /embedded ${APPS}/environ/app.wsgi application-group=%{GLOBAL}
WSGIScriptAlias / ${APPS}/environ/app.wsgi process-group=application
<Location />
    AuthType Basic
    AuthName "the realm"
    AuthBasicProvider wsgi
</Location>
"""
AUTH_MODULES = ("auth_basic", "authn_core", "authz_user")


def test_hooks_are_not_restricted(server_factory):
    server = server_factory(
        RESTRICTED
        + """
<Location />
    Require wsgi-group everyone
    WSGIAccessScript ${APPS}/hooks/hook.py
    WSGIAuthUserScript ${APPS}/hooks/hook.py
    WSGIAuthGroupScript ${APPS}/hooks/hook.py
</Location>
""",
        modules=AUTH_MODULES,
    )
    assert remote_user(server.get("/", headers=basic())) == "ann"
    assert server.get("/", headers={"X-Access": "False", **basic()}).status == 403
    assert server.get("/embedded", headers=basic()).status == 500
    expect(server, DENIED, "WSGI0143")


@pytest.mark.ours_only("a child of mod_wsgi crashes")
@pytest.mark.parametrize(
    ("text", "status", "number"),
    [
        ("WSGIAccessScript ${APPS}/hooks/hook.py", 403, "WSGI0054"),
        ("WSGIAuthUserScript ${APPS}/hooks/hook.py\nRequire valid-user", 500, "WSGI0042"),
        (
            "AuthType Digest\nAuthDigestProvider wsgi\n"
            "WSGIAuthUserScript ${APPS}/hooks/hook.py\nRequire valid-user",
            500,
            "WSGI0045",
        ),
        ("WSGIAuthGroupScript ${APPS}/hooks/hook.py\nRequire wsgi-group x", 500, "WSGI0048"),
    ],
)
def test_hook_in_htaccess_alone_where_embedded_mode_is_forbidden(
    server_factory, text, status, number
):
    """The file is read when the children are long there, and have no Python."""
    server = server_factory(
        """
WSGIRestrictEmbedded On
<Directory ${ROOT}/htdocs>
    AllowOverride AuthConfig
</Directory>
""",
        modules=(*AUTH_MODULES, "auth_digest", "authn_file"),
    )
    server.write("conf/passwords", f"ann:{{SHA}}{sha('secret')}\n")
    server.write("htdocs/plain.txt", "a plain file\n")
    provider = "wsgi" if "AuthUser" in text else "file"
    text = (
        f"AuthType Basic\nAuthName realm\nAuthBasicProvider {provider}\n"
        f"AuthUserFile ${{ROOT}}/conf/passwords\n{text}\n"
    )
    text = text.replace("${APPS}", str(server.apps)).replace("${ROOT}", str(server.root))
    server.write("htdocs/.htaccess", text)
    children = {process.pid for process in server.httpd_children}
    for _ in range(3):
        if "Digest" in text:
            response = digest(server, "/plain.txt")
        else:
            response = server.get("/plain.txt", headers=basic())
        assert response.status == status
    assert {process.pid for process in server.httpd_children} == children
    server.expect_log(number, count=3)
    server.tolerate_log(f"{DENIED}|{UNAUTHORIZED}")


# In a process group

GROUP_REASON = "hooks of mod_wsgi run in httpd's children only"


@pytest.mark.ours_only(GROUP_REASON)
def test_process_of_a_hook(hooked):
    headers = {"X-Password": "about()", **basic()}

    def about(place: str) -> list:
        return json.loads(remote_user(hooked.get(f"/{place}/app/basic", headers=headers)))

    embedded, group = about("embedded"), about("group")
    assert embedded[0] in {process.pid for process in hooked.httpd_children}
    assert group[0] in {process.pid for process in hooked.daemon_processes}
    assert (embedded[2:4], group[2:4]) == (["", ""], ["hooks", ""])
    assert about("group")[4] == group[4] + 1


@pytest.mark.ours_only(GROUP_REASON)
@pytest.mark.parametrize(
    ("directive", "status", "denial"),
    [
        ("WSGIAccessScript", 403, DENIED),
        ("WSGIAuthUserScript", 500, None),
        # Not "no member", which Require not would turn round.
        ("WSGIAuthGroupScript", 500, "AH01630|AH01631|AH01668"),
    ],
)
@pytest.mark.parametrize(
    ("group", "number"),
    [("none", "WSGI0151"), ("private", "WSGI0152"), ("restricted", "WSGI0149")],
)
def test_group_that_cannot_be_used(server_factory, directive, status, denial, group, number):
    """One that does not exist, one of another virtual host, and one that is not allowed here."""
    provider = "wsgi" if directive == "WSGIAuthUserScript" else "file"
    require = "wsgi-group x" if directive == "WSGIAuthGroupScript" else "valid-user"
    server = server_factory(
        f"""
<VirtualHost 127.0.0.1:${{PORT_other}}>
    ServerName other
    WSGIDaemonProcess private
</VirtualHost>
<VirtualHost 127.0.0.1:${{PORT}}>
    ServerName localhost
</VirtualHost>
WSGIDaemonProcess restricted
WSGIRestrictProcess none private
<Location />
    AuthType Basic
    AuthName realm
    AuthBasicProvider {provider}
    AuthUserFile ${{ROOT}}/conf/passwords
    Require {require}
    {directive} ${{APPS}}/hooks/hook.py process-group={group}
</Location>
""",
        modules=(*AUTH_MODULES, "authn_file"),
        ports=("other",),
        start=False,
    )
    server.write("conf/passwords", f"ann:{{SHA}}{sha('secret')}\n")
    server.write("htdocs/plain.txt", "a plain file\n")
    server.start()
    assert server.get("/plain.txt", headers=basic()).status == status
    server.expect_log(f"{number}.*{group}", count=1)
    # Said at start, too.
    server.tolerate_log("WSGI03(18|19|20)")
    if denial:
        server.tolerate_log(denial)


@pytest.mark.ours_only(GROUP_REASON)
def test_no_python_in_httpd_when_all_hooks_have_a_group(server_factory):
    server = server_factory(
        RESTRICTED
        + """
WSGIDaemonProcess hooks
<Location />
    Require wsgi-group everyone
    WSGIAccessScript ${APPS}/hooks/hook.py process-group=hooks
    WSGIAuthUserScript ${APPS}/hooks/hook.py process-group=hooks
    WSGIAuthGroupScript ${APPS}/hooks/hook.py process-group=hooks
    WSGIDispatchScript ${APPS}/hooks/hook.py process-group=hooks
</Location>
""",
        modules=AUTH_MODULES,
    )
    for _ in range(10):
        assert remote_user(server.get("/", headers=basic())) == "ann"
    for process in server.httpd_children:
        assert not [path for path in process.mapped_files if "libpython" in path]


@pytest.mark.ours_only(GROUP_REASON)
def test_python_of_a_hook_is_that_of_its_group(server_factory, venv):
    other = venv("hooks")
    server = server_factory(
        f"""
WSGIDaemonProcess hooks python-home={other.path}
WSGIScriptAlias / ${{APPS}}/environ/app.wsgi application-group=%{{GLOBAL}}
<Location />
    AuthType Basic
    AuthName realm
    AuthBasicProvider wsgi
    Require valid-user
    WSGIAuthUserScript ${{APPS}}/hooks/hook.py process-group=hooks
</Location>
""",
        modules=AUTH_MODULES,
    )
    headers = {"X-Password": "sys.prefix", **basic()}
    assert remote_user(server.get("/", headers=headers)) == str(other.path)


@pytest.mark.ours_only(GROUP_REASON)
def test_hooks_of_a_group_survive_its_processes(server_factory):
    server = server_factory(
        """
WSGIDaemonProcess hooks processes=1
WSGIScriptAlias / ${APPS}/environ/app.wsgi application-group=%{GLOBAL}
<Location />
    WSGIAccessScript ${APPS}/hooks/hook.py process-group=hooks
</Location>
"""
    )
    assert server.get("/").status == 200
    response = server.get("/", headers={"X-Access": "os.kill(os.getpid(), 9)"})
    assert response.status == 403
    server.expect_log("WSGI")
    assert server.get("/").status == 200
