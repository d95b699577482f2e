# SPDX-License-Identifier: Apache-2.0
"""Every directive that mod_wsgi has: where it may stand, which values it takes, what it refuses.

WSGIScriptAlias and WSGIDaemonProcess have their options tested in test_config.py; what the
directives do is in the files of their families.
"""

import pytest

from harness.plugin import differs
from harness.under_test import OURS


@pytest.fixture(scope="module")
def server(module_server_factory):
    """A server that is never started: configtest only."""
    return module_server_factory(start=False)


def section(name: str, argument: str, *lines: str) -> str:
    body = "\n".join(lines)
    return f"<{name} {argument}>\n{body}\n</{name}>"


def assert_accepted(result) -> None:
    assert result.accepted, result.output


def assert_refused(result, *needles: str, ours: tuple[str, ...] = ()) -> None:
    """Refused with a message that has the words; ours has more, the directive among them."""
    assert not result.accepted, result.output
    assert "conf/configtest.conf" in result.output, result.output
    for needle in (*needles, *(ours if OURS else ())):
        assert needle in result.output


# Contexts. G: main server. S: main server and virtual host. D: these and sections of a directory
# kind. F: these and .htaccess with FileInfo. A: sections, and .htaccess with AuthConfig.

CONTEXTS = {
    "G": (
        "WSGISocketPrefix run/x",
        "WSGISocketRotation On",
        "WSGIAcceptMutex default",
        "WSGIVerboseDebugging Off",
        "WSGIDontWriteBytecode On",
        "WSGIPythonWarnings ignore",
        "WSGIPythonOptimize 1",
        "WSGIPythonHome /usr",
        "WSGIPythonPath /a",
        "WSGIPythonEggs /a",
        "WSGIPythonHashSeed random",
        "WSGISwitchInterval 0.01",
        "WSGIDestroyInterpreter Off",
        "WSGIPerInterpreterGIL Off",
        "WSGIFreeThreading Off",
        "<WSGIInterpreterOptions process-group=x>\n</WSGIInterpreterOptions>",
        "WSGIRestrictEmbedded Off",
        "WSGIRestrictStdin On",
        "WSGIRestrictStdout On",
        "WSGIRestrictSignal Off",
        "WSGICaseSensitivity On",
        "WSGIServerMetrics On",
        "WSGITelemetryService unix:/no/such/socket",
        "WSGISlowRequests 5",
        "WSGITelemetryOptions None",
    ),
    "S": (
        "WSGIScriptAlias / /x",
        "WSGIScriptAliasMatch ^/x /x",
        "WSGIDaemonProcess main",
        "WSGIImportScript /x process-group=%{GLOBAL} application-group=%{GLOBAL}",
    ),
    "D": (
        "WSGIRestrictProcess main",
        "WSGIProcessGroup main",
        "WSGIApplicationGroup x",
        "WSGIDispatchScript /x",
        "WSGIPassApacheRequest On",
        "WSGIHandlerScript name /x",
    ),
    "F": (
        "WSGICallableObject x",
        "WSGIPassAuthorization On",
        "WSGIScriptReloading On",
        "WSGIErrorOverride On",
        "WSGIChunkedRequest On",
        "WSGIMapHEADToGET Auto",
        "WSGIIgnoreActivity On",
        "WSGITrustedProxyHeaders X-Forwarded-For",
        "WSGITrustedProxies 127.0.0.1",
        "WSGIEnableSendfile On",
    ),
    "A": (
        "WSGIAccessScript ${APPS}/hooks/hook.py",
        "WSGIAuthUserScript ${APPS}/hooks/hook.py",
        "WSGIAuthGroupScript ${APPS}/hooks/hook.py",
        "WSGIGroupAuthoritative On",
    ),
}


def name_of(line: str) -> str:
    return line.split()[0]


def lines_of(contexts: str) -> list[str]:
    return [line for context in contexts for line in CONTEXTS[context]]


def parametrize_lines(contexts: str):
    return pytest.mark.parametrize("line", lines_of(contexts), ids=name_of)


def test_number_of_directives():
    assert len({name_of(line) for line in lines_of("GSDFA")}) == 49


@parametrize_lines("GSDF")
def test_main_server_may_have(server, line):
    assert_accepted(server.configtest(line))


@parametrize_lines("A")
def test_main_server_may_not_have(server, line):
    assert_refused(server.configtest(line), name_of(line), "not allowed here")


VHOST = ("VirtualHost", "*:${PORT}")


@parametrize_lines("SDF")
def test_virtual_host_may_have(server, line):
    assert_accepted(server.configtest(section(*VHOST, line)))


@parametrize_lines("G")
def test_virtual_host_may_not_have(server, line):
    result = server.configtest(section(*VHOST, line))
    name = name_of(line).removeprefix("<")
    assert_refused(result, name, "cannot occur within <VirtualHost> section")


@parametrize_lines("A")
def test_virtual_host_itself_may_not_have(server, line):
    assert_refused(server.configtest(section(*VHOST, line)), name_of(line), "not allowed")


SECTIONS = (
    ("Directory", "/srv"),
    ("DirectoryMatch", "^/srv"),
    ("Location", "/x"),
    ("LocationMatch", "^/x"),
    ("Files", "x"),
    ("FilesMatch", "^x"),
    ("If", '"true"'),
)


@pytest.mark.parametrize("where", SECTIONS, ids=lambda where: where[0])
@parametrize_lines("DFA")
def test_directory_sections_may_have(server, where, line):
    assert_accepted(server.configtest(section(*where, line)))
    assert_accepted(server.configtest(section(*VHOST, section(*where, line))))


@pytest.mark.parametrize("where", SECTIONS, ids=lambda where: where[0])
@parametrize_lines("GS")
def test_directory_sections_may_not_have(server, where, line):
    result = server.configtest(section(*where, line))
    assert_refused(result, name_of(line), "not allowed in <" + where[0])


# .htaccess


@pytest.fixture(scope="module")
def htaccess(module_server_factory):
    server = module_server_factory(
        "".join(
            f"<Directory ${{ROOT}}/htdocs/{override}>\n    AllowOverride {override}\n</Directory>\n"
            for override in ("FileInfo", "AuthConfig", "All")
        )
    )
    for override in ("FileInfo", "AuthConfig", "All"):
        server.write(f"htdocs/{override}/plain.txt", "a plain file\n")
    return server


@pytest.fixture
def answer(htaccess):
    """answer(override, text): the response with that text in a .htaccess where AllowOverride says
    `override`."""
    written = []

    def ask(override: str, text: str):
        written.append(htaccess.write(f"htdocs/{override}/.htaccess", text + "\n"))
        return htaccess.get(f"/{override}/plain.txt")

    yield ask
    for path in written:
        path.unlink()


@pytest.mark.parametrize(
    ("override", "line"),
    [("FileInfo", line) for line in lines_of("F")]
    + [("AuthConfig", line) for line in lines_of("A")],
    ids=lambda value: name_of(value),
)
def test_htaccess_may_have(answer, override, line):
    for where in (override, "All"):
        response = answer(where, line)
        assert (response.status, response.text) == (200, "a plain file\n")


@pytest.mark.parametrize(
    ("override", "line"),
    [("AuthConfig", line) for line in lines_of("F")]
    + [("FileInfo", line) for line in lines_of("A")]
    + [("All", line) for line in lines_of("GSD")],
    ids=lambda value: name_of(value),
)
def test_htaccess_may_not_have(htaccess, answer, override, line):
    assert answer(override, line).status == 500
    htaccess.expect_log(f"{name_of(line)} not allowed here", count=1)


def test_wrong_value_in_htaccess_is_a_500(htaccess, answer):
    assert answer("FileInfo", "WSGIErrorOverride perhaps").status == 500
    htaccess.expect_log("WSGIErrorOverride must be", count=1)


# On and Off

BOOLEANS = (
    *("WSGISocketRotation", "WSGIDontWriteBytecode", "WSGIDestroyInterpreter"),
    *("WSGIPerInterpreterGIL", "WSGIFreeThreading", "WSGIRestrictStdin", "WSGIRestrictSignal"),
    *("WSGICaseSensitivity", "WSGIServerMetrics", "WSGIPassApacheRequest", "WSGIErrorOverride"),
    *("WSGIChunkedRequest", "WSGIMapHEADToGET", "WSGIIgnoreActivity", "WSGIEnableSendfile"),
    "WSGIGroupAuthoritative",
)


def placed(directive: str, arguments: str = "") -> str:
    """The directive where it may stand."""
    line = f"{directive} {arguments}"
    allowed = any(name_of(other) == directive for other in CONTEXTS["A"])
    return section("Location", "/x", line) if allowed else line


@pytest.mark.parametrize("value", ["On", "Off", "on", "OFF"])
@pytest.mark.parametrize("directive", BOOLEANS)
def test_boolean_accepts(server, directive, value):
    assert_accepted(server.configtest(placed(directive, value)))


@pytest.mark.parametrize("value", ["yes", "1", "true", "none"])
@pytest.mark.parametrize("directive", BOOLEANS)
def test_boolean_refuses(server, directive, value):
    result = server.configtest(placed(directive, value))
    assert_refused(result, directive, "Off", "On", ours=(value,))


@pytest.mark.parametrize("value", ["Auto", "auto", "AUTO"])
def test_head_mapping_has_a_third_value(server, value):
    assert_accepted(server.configtest(f"WSGIMapHEADToGET {value}"))
    assert_refused(server.configtest(f"WSGIErrorOverride {value}"), "WSGIErrorOverride", "Off")


def test_head_mapping_names_its_third_value(server):
    assert_refused(server.configtest("WSGIMapHEADToGET x"), "WSGIMapHEADToGET", "Auto")


# Other values

ONE_WORD = {
    "WSGIAcceptMutex": {
        **dict.fromkeys(
            (
                *("default", "flock", "fcntl", "sysvsem", "posixsem", "pthread"),
                *("Default", "FLOCK", "SysVSem"),
            )
        ),
        "nonsense": ("nonsense", "default", "flock", "fcntl", "sysvsem", "posixsem", "pthread"),
        "file:/x": ("file:/x", "default"),
    },
    "WSGIPythonWarnings": dict.fromkeys(
        ("ignore", "error::DeprecationWarning", "default:::module:0", "nonsense")
    ),
    "WSGIPythonOptimize": dict.fromkeys(("0", "1", "2", "9", "-1", "abc")),
    "WSGIPythonEggs": dict.fromkeys(("/tmp", "/no/such/folder", "relative")),
    "WSGIPythonHashSeed": {
        **dict.fromkeys(("random", "0", "1", "4294967295", "' 5'")),
        **dict.fromkeys(
            ("-1", "abc", "12x", "4294967296", "99999999999999999999", "RANDOM"),
            ("WSGIPythonHashSeed", "random", "4294967295"),
        ),
    },
    "WSGISwitchInterval": {
        **dict.fromkeys(("0.001", "1", "1e-3", "0x1p-3", "inf", "1000000")),
        **dict.fromkeys(
            ("0", "-1", "abc", "1x", "-inf", "0.0", "'5 '"), ("WSGISwitchInterval", "positive")
        ),
    },
    "WSGISlowRequests": {
        **dict.fromkeys(("0", "0.5", "10", "abc")),
        **dict.fromkeys(("-1", "-0.1"), ("WSGISlowRequests", "negative")),
    },
    "WSGISocketPrefix": dict.fromkeys(("run/wsgi", "/tmp/wsgi", "'with blank'")),
}


@pytest.mark.parametrize(
    ("directive", "value", "needles"),
    [
        (name, value, needles)
        for name, values in ONE_WORD.items()
        for value, needles in values.items()
    ],
)
def test_one_word(server, directive, value, needles):
    result = server.configtest(f"{directive} {value}")
    if needles is None:
        assert_accepted(result)
    else:
        assert_refused(result, *needles, ours=(directive, value.strip("'")))


@pytest.mark.parametrize("arguments", ["", "one two"])
@pytest.mark.parametrize("directive", [*BOOLEANS, *ONE_WORD])
def test_one_argument_is_wanted(server, directive, arguments):
    assert_refused(server.configtest(placed(directive, arguments)), directive, "one argument")


@pytest.mark.parametrize("directive", [*BOOLEANS, *ONE_WORD])
def test_argument_is_not_empty(server, directive):
    assert_refused(server.configtest(placed(directive, '""')), directive)


@pytest.mark.parametrize(
    ("line", "needles"),
    [
        ("WSGITelemetryService unix:/x", None),
        ("WSGITelemetryService unix:", None),
        ("WSGITelemetryService unix:/x interval=0.5", None),
        ("WSGITelemetryService unix:/x interval=60", None),
        ("WSGITelemetryService unix:/x interval=0x10", None),
        ("WSGITelemetryService unix:/x ''", None),
        ("WSGITelemetryService", ("arguments",)),
        ("WSGITelemetryService unix:/x interval=1 more", ("arguments",)),
        ("WSGITelemetryService udp:localhost:1", ("unix:",)),
        ("WSGITelemetryService /x", ("unix:",)),
        ("WSGITelemetryService unix:/x interval=0.4", ("interval", "0.5")),
        ("WSGITelemetryService unix:/x interval=abc", ("interval", "0.5")),
        ("WSGITelemetryService unix:/x stray", ("interval=",)),
        ("WSGITelemetryOptions None", None),
        ("WSGITelemetryOptions All", None),
        ("WSGITelemetryOptions all none", None),
        ("WSGITelemetryOptions ''", None),
        ("WSGITelemetryOptions CaptureUserAgent", None),
        ("WSGITelemetryOptions +captureuseragent", None),
        ("WSGITelemetryOptions -CAPTUREUSERAGENT", None),
        ("WSGITelemetryOptions +CaptureUserAgent -CaptureUserAgent", None),
        ("WSGITelemetryOptions", ("at least one",)),
        ("WSGITelemetryOptions +", ("+",)),
        ("WSGITelemetryOptions CaptureUserAgent +CaptureUserAgent", ("mix",)),
        ("WSGITelemetryOptions +CaptureUserAgent None", ("mix",)),
        ("WSGITelemetryOptions -None", ("None", "prefix")),
        ("WSGITelemetryOptions +All", ("All", "prefix")),
        ("WSGITelemetryOptions Other", ("Other",)),
        ("WSGIRestrictProcess", None),
        ("WSGIRestrictProcess one two %{GLOBAL} 'with blank'", None),
        ("WSGITrustedProxyHeaders", None),
        ("WSGITrustedProxyHeaders X-Forwarded-For x-real-ip X-Unknown", None),
        ("WSGITrustedProxies", None),
        ("WSGITrustedProxies 10.1.2.3 10.1 10 10.0.0.0/8 10.0.0.0/255.0.0.0", None),
        ("WSGITrustedProxies ::1 fe80::/10 2001:db8::abcd/128", None),
        ("WSGITrustedProxies nonsense", ('"nonsense"', "trusted proxy IP address/subnet")),
        ("WSGITrustedProxies 10.0.0.1 localhost", ('"localhost"',)),
        ("WSGITrustedProxies 10.0.0.1,10.0.0.2", ('"10.0.0.1,10.0.0.2"',)),
        ("WSGITrustedProxies 10.0.0.1/33", ('"10.0.0.1/33"', "network mask")),
        ("WSGITrustedProxies fe80::/129", ('"fe80::/129"', "network mask")),
        ("WSGITrustedProxies 0.0.0.0/0", ('"0.0.0.0/0"', "network mask")),
        ("WSGITrustedProxies ::/0", ('"::/0"', "network mask")),
        ("WSGITrustedProxies 10.0.0.1/", ('"10.0.0.1/"', "network mask")),
        ("WSGITrustedProxies 10.0.0.1/-1", ('"10.0.0.1/-1"',)),
        ("WSGITrustedProxies 10.0.0.0/0.0.0.0", None),
        ("WSGITrustedProxies 10.0.0.0/255.0.255.0", None),
        ("WSGITrustedProxies 300.1.1.1", ('"300.1.1.1"', "IP address")),
        ("WSGITrustedProxies 1.2.3.4.5", ('"1.2.3.4.5"', "IP address")),
        ("WSGITrustedProxies ::g", ('"::g"',)),
        ("WSGITrustedProxies 1::2::3", ('"1::2::3"', "IP address")),
        ("WSGITrustedProxies [::1]", ('"[::1]"',)),
    ],
)
def test_lists_of_words(server, line, needles):
    result = server.configtest(line)
    if needles is None:
        assert_accepted(result)
    else:
        assert_refused(result, *needles, ours=(name_of(line),))


@pytest.mark.difference("upper-case and dotted IPv6 addresses are addresses, too")
@pytest.mark.parametrize("word", ["FE80::1", "2001:DB8::/32", "::ffff:10.1.2.3", "::FFFF:1.2.3.4"])
def test_notations_of_ipv6(server, word):
    result = server.configtest(f"WSGITrustedProxies {word}")
    assert result.accepted is differs(upstream=False, ours=True)


# Options


@pytest.mark.parametrize(
    "line",
    [
        "WSGIDaemonProcess other threads= 5 processes= 2",
        "WSGIScriptAlias / /x process-group= main application-group= %{GLOBAL}",
        "WSGIImportScript /x process-group= main application-group= x",
        "WSGIHandlerScript name /x process-group= main",
        "WSGIDispatchScript /x application-group= x",
        "WSGIDaemonProcess other display-name='with blank' home='/'",
        'WSGIDaemonProcess other display-name="a \\" quote"',
    ],
)
def test_words_of_an_option(server, line):
    """A blank may stand after the sign, though not before it; a value may be quoted."""
    assert_accepted(server.configtest(f"WSGIDaemonProcess main\n{line}"))


# Directives that name a script

HOOKS = {
    "WSGIDispatchScript": "dispatch script",
    "WSGIAccessScript": "access script",
    "WSGIAuthUserScript": "auth user script",
    "WSGIAuthGroupScript": "auth group script",
}

APPLICATION_GROUP = "nvalid name for WSGI application group"
PROCESS_GROUP = "nvalid name for WSGI process group"


@pytest.mark.parametrize(
    "arguments",
    [
        "/x",
        "relative",
        '"/with blank"',
        "/x application-group=name",
        "/x application-group=%{GLOBAL}",
        "/x application-group=%{SERVER}",
        "/x application-group=%{RESOURCE}",
        "/x application-group='with blank'",
        "/x application-group=one application-group=two",
    ],
)
@pytest.mark.parametrize("directive", HOOKS)
def test_hook_accepts(server, directive, arguments):
    assert_accepted(server.configtest(placed(directive, arguments)))


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        ("", "ocation of {} not supplied"),
        ('""', "ocation of {} not supplied"),
        ("/x stray", "nvalid option to WSGI {} definition"),
        ("/x other=1", "nvalid option to WSGI {} definition"),
        ("/x callable-object=x", "nvalid option to WSGI {} definition"),
        ("/x Application-Group=x", "nvalid option to WSGI {} definition"),
        ("/x application-group = x", "nvalid option to WSGI {} definition"),
        ("/x application-group=", APPLICATION_GROUP),
    ],
)
@pytest.mark.parametrize("directive", HOOKS)
def test_hook_refuses(server, directive, arguments, needle):
    result = server.configtest(placed(directive, arguments))
    assert_refused(result, needle.format(HOOKS[directive]), ours=(directive,))


@pytest.mark.difference("hooks may run in a daemon process")
@pytest.mark.parametrize("value", ["main", "%{GLOBAL}", "'with blank'"])
@pytest.mark.parametrize("directive", HOOKS)
def test_process_group_of_a_hook(server, directive, value):
    result = server.configtest(placed(directive, f"/x process-group={value}"))
    assert result.accepted is differs(upstream=False, ours=True), result.output


@pytest.mark.ours_only("hooks may run in a daemon process")
@pytest.mark.parametrize("directive", HOOKS)
def test_process_group_of_a_hook_is_not_empty(server, directive):
    assert_refused(server.configtest(placed(directive, "/x process-group=")), PROCESS_GROUP)


IMPORT_OPTION = "nvalid option to WSGI import script definition"
BOTH = "process-group=main application-group=x"


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        (f"/x {BOTH}", None),
        ("/x application-group=%{GLOBAL} process-group=%{GLOBAL}", None),
        ("/x process-group=main application-group=%{SERVER}", None),
        (f"relative {BOTH}", None),
        ("/x process-group=other process-group=main application-group=x", None),
        ("", "ocation of import script not supplied"),
        ("''", "ocation of import script not supplied"),
        ("/x", "ame of WSGI application group required"),
        ("/x process-group=main", "ame of WSGI application group required"),
        ("/x application-group=x", "ame of WSGI process group required"),
        ("/x process-group=main application-group=", APPLICATION_GROUP),
        ("/x application-group=x process-group=", PROCESS_GROUP),
        (f"/x {BOTH} other=1", IMPORT_OPTION),
        (f"/x {BOTH} callable-object=x", IMPORT_OPTION),
        (f"/x {BOTH} stray", IMPORT_OPTION),
        ("/x Process-Group=main application-group=x", IMPORT_OPTION),
        ("/x process-group=none application-group=x", "not yet configured"),
        ("/x process-group=MAIN application-group=x", "not yet configured"),
        ("/x process-group=%{SERVER} application-group=x", "not yet configured"),
        ("/x process-group=%{ENV:X} application-group=x", "not yet configured"),
    ],
)
def test_import_script(server, arguments, needle):
    result = server.configtest(f"WSGIDaemonProcess main\nWSGIImportScript {arguments}")
    if needle is None:
        assert_accepted(result)
    else:
        assert_refused(result, needle, ours=("WSGIImportScript",))


HANDLER_OPTION = "nvalid option to WSGI handler script definition"
FLAG = "nvalid value for authorization flag"


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        ("name /x", None),
        ('"a name" "/with blank"', None),
        ("name /x process-group=undefined application-group=x pass-authorization=On", None),
        ("name /x process-group=%{ENV:X} application-group=%{HOST} pass-authorization=off", None),
        ("", "ame for handler script not supplied"),
        ("name", "ocation of handler script not supplied"),
        ("name ''", "ocation of handler script not supplied"),
        ("name /x stray", HANDLER_OPTION),
        ("name /x other=1", HANDLER_OPTION),
        ("name /x callable-object=x", HANDLER_OPTION),
        ("name /x Process-Group=x", HANDLER_OPTION),
        ("name /x process-group=", PROCESS_GROUP),
        ("name /x application-group=", APPLICATION_GROUP),
        ("name /x pass-authorization=", FLAG),
        ("name /x pass-authorization=1", FLAG),
    ],
)
def test_handler_script(server, arguments, needle):
    result = server.configtest(f"WSGIHandlerScript {arguments}")
    if needle is None:
        assert_accepted(result)
    else:
        assert_refused(result, needle, ours=("WSGIHandlerScript",))


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        ("^/x /y", None),
        ('"^/with (blank|none)" "/y/$1"', None),
        ("^/x/(.*) /y/$1 process-group=undefined application-group=x", None),
        ("^/x /y process-group=undefined", None),
        ("^/x /y process-group=undefined application-group=%{SERVER}", None),
        ("^/x /y process-group=main application-group=%{GLOBAL} callable-object=x", None),
        ("", "at least two arguments"),
        ("^/x", "at least two arguments"),
        ("'' /x", "at least two arguments"),
        ("( /y", "egular expression could not be compiled"),
        ("^/x /y stray", "nvalid option"),
        ("^/x /y process-group=", PROCESS_GROUP),
        ("^/x /y application-group=", APPLICATION_GROUP),
        ("^/x /y callable-object=", "nvalid name for WSGI callable object"),
        ("^/x /y pass-authorization=1", FLAG),
        ("^/x /y process-group=undefined application-group=x", "not yet configured"),
        ("^/x/(.*) /y process-group=undefined application-group=x", "not yet configured"),
    ],
)
def test_script_alias_match(server, arguments, needle):
    """With both groups given the script is loaded at start, unless a group or `$` has to be filled
    in."""
    result = server.configtest(f"WSGIDaemonProcess main\nWSGIScriptAliasMatch {arguments}")
    if needle is None:
        assert_accepted(result)
    else:
        assert_refused(result, needle, ours=("WSGIScriptAliasMatch",))


GROUP = "WSGIDaemonProcess inner"


@pytest.mark.parametrize(
    "line",
    [
        "WSGIScriptAliasMatch ^/ /x process-group=inner application-group=x",
        "WSGIImportScript /x process-group=inner application-group=x",
    ],
    ids=name_of,
)
@pytest.mark.parametrize(
    ("first", "second", "needle"),
    [
        (("ServerName a", GROUP), ("ServerName a", "LINE"), None),
        (("ServerName a", GROUP), ("ServerName b", "LINE"), "not accessible"),
        (("ServerName a", GROUP), ("ServerName A", "LINE"), "not accessible"),
        (("ServerName a", GROUP), ("LINE", "ServerName a"), "not matchable"),
        ((GROUP,), ("ServerName a", "LINE"), "not matchable"),
        ((GROUP,), ("LINE",), None),
    ],
)
def test_group_of_another_virtual_host(server, line, first, second, needle):
    second = tuple(line if word == "LINE" else word for word in second)
    result = server.configtest(section(*VHOST, *first) + "\n" + section(*VHOST, *second))
    if needle is None:
        assert_accepted(result)
    else:
        assert_refused(result, needle, ours=(name_of(line), "inner", "ServerName"))


# <WSGIInterpreterOptions>

BLOCK = "WSGIInterpreterOptions"


@pytest.mark.parametrize(
    ("selectors", "needles"),
    [
        ("", None),
        ("''", None),
        ("process-group=main", None),
        ("process-group=undefined", None),
        ("process-group= application-group=", None),
        ("process-group=%{GLOBAL} application-group=%{GLOBAL}", None),
        ('PROCESS-GROUP="main" Application-Group=name', None),
        ("process-group", ("process-group",)),
        ("other=1", ("other", "process-group", "application-group")),
        ("process-group=a process-group=a", ("process-group", "more than once")),
        ("process-group=a Process-Group=b", ("more than once",)),
        ("application-group=a application-group=b", ("application-group", "more than once")),
    ],
)
def test_interpreter_options_selectors(server, selectors, needles):
    result = server.configtest(section(BLOCK, selectors, "WSGIRestrictStdout On"))
    if needles is None:
        assert_accepted(result)
    else:
        assert_refused(result, BLOCK, *needles)


def test_interpreter_options_without_the_bracket(server):
    result = server.configtest(f"<{BLOCK} process-group=main\n</{BLOCK}>")
    assert_refused(result, BLOCK, "missing closing '>'")


@pytest.mark.parametrize(
    "line",
    [
        *("WSGIPythonPath /a:/b", "WSGISwitchInterval 0.5", "WSGIPerInterpreterGIL On"),
        *("WSGIFreeThreading On", "WSGIRestrictStdin On", "WSGIRestrictStdout Off"),
        *("WSGIRestrictSignal Off", "WSGIProcessGroup main", "WSGIPythonHome /usr"),
    ],
)
def test_interpreter_options_may_have(server, line):
    """Its own seven directives, and whatever else the main server may have."""
    assert_accepted(server.configtest(section(BLOCK, "application-group=x", line)))


@pytest.mark.parametrize(
    ("line", "needle"),
    [
        ("WSGISwitchInterval 0", "positive"),
        ("WSGIRestrictStdin yes", "Off"),
        ("WSGIPythonPath", "one argument"),
        ("WSGINoSuchDirective On", "nvalid command"),
    ],
)
def test_interpreter_options_check_what_they_have(server, line, needle):
    assert_refused(server.configtest(section(BLOCK, "", line)), name_of(line), needle)


def test_interpreter_options_in_a_virtual_host(server):
    result = server.configtest(section(*VHOST, section(BLOCK, "", "WSGIRestrictStdin On")))
    assert_refused(result, BLOCK, "cannot occur within <VirtualHost> section")


# What mod_wsgi 4.9 had

LEGACY = """
WSGILazyInitialization Off
WSGINewRelicConfigFile /no/such/file.ini
WSGINewRelicEnvironment production
WSGIDaemonProcess main newrelic-config-file=/no/such.ini newrelic-environment=staging
WSGIScriptAlias / ${APPS}/hello/app.wsgi process-group=main
"""


@pytest.mark.difference("directives of mod_wsgi 4.9 are read and have no effect")
@pytest.mark.parametrize(
    "line",
    [
        "WSGILazyInitialization On",
        "WSGILazyInitialization off",
        "WSGINewRelicConfigFile /x",
        "WSGINewRelicEnvironment production",
        "WSGIDaemonProcess main newrelic-config-file=/x",
        "WSGIDaemonProcess main newrelic-environment=",
    ],
)
def test_legacy_is_read(server, line):
    result = server.configtest(line)
    assert result.accepted is differs(upstream=False, ours=True), result.output


@pytest.mark.parametrize(
    "line",
    [
        "WSGILazyInitialization yes",
        "WSGILazyInitialization",
        "WSGINewRelicConfigFile",
        "WSGINewRelicEnvironment one two",
        "<VirtualHost *:1>\nWSGILazyInitialization On\n</VirtualHost>",
        "<Location />\nWSGINewRelicConfigFile /x\n</Location>",
    ],
)
def test_legacy_is_checked(server, line):
    result = server.configtest(line)
    assert_refused(result, next(word for word in line.split() if word.startswith("WSGI")))


@pytest.mark.ours_only("mod_wsgi 6 refuses them")
def test_legacy_is_said_once(server_factory):
    server = server_factory(LEGACY)
    assert server.get("/").status == 200
    for name in ("WSGILazyInitialization", "WSGINewRelicConfigFile", "WSGINewRelicEnvironment"):
        server.expect_log(f"{name}.*no effect", count=1)


# Whatever is accepted is served, too

ALL = """
WSGISocketRotation Off
WSGIAcceptMutex flock
WSGIDontWriteBytecode On
WSGIPythonWarnings ignore::ImportWarning
WSGIPythonWarnings default::DeprecationWarning
WSGIPythonOptimize 0
WSGIPythonPath ${ROOT}/run
WSGIPythonEggs ${ROOT}/run
WSGIPythonHashSeed 7
WSGISwitchInterval 0.01
WSGIDestroyInterpreter On
WSGIPerInterpreterGIL Off
WSGIFreeThreading Off
<WSGIInterpreterOptions process-group=main application-group=%{GLOBAL}>
    WSGIRestrictStdout Off
</WSGIInterpreterOptions>
WSGIRestrictEmbedded Off
WSGIRestrictStdin On
WSGIRestrictSignal On
WSGICaseSensitivity On
WSGIServerMetrics On
WSGISlowRequests 0
WSGITelemetryOptions None
WSGIDaemonProcess main processes=2 threads=2
WSGIImportScript ${APPS}/hello/app.wsgi process-group=main application-group=%{GLOBAL}
WSGIScriptAliasMatch ^/embedded ${APPS}/hello/app.wsgi
WSGIScriptAliasMatch ^/daemon ${APPS}/hello/app.wsgi process-group=main
WSGIApplicationGroup %{GLOBAL}
WSGIRestrictProcess main %{GLOBAL}
WSGIPassApacheRequest Off
WSGICallableObject application
WSGIErrorOverride Off
WSGIChunkedRequest On
WSGIMapHEADToGET Auto
WSGIIgnoreActivity On
WSGITrustedProxyHeaders X-Forwarded-For
WSGITrustedProxies 127.0.0.1 ::1
WSGIEnableSendfile On
<Location />
    WSGIGroupAuthoritative Off
</Location>
"""


@pytest.fixture(scope="module")
def everything(module_server_factory):
    return module_server_factory(ALL)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_configuration_of_everything_is_served(everything, mode, method):
    response = everything.request(f"/{mode}", method=method)
    assert response.status == 200
    assert bool(response.body) is (method == "GET")


@pytest.mark.ours_only("a child of mod_wsgi crashes on the first request")
def test_invalid_name_of_a_proxy_header_is_ignored(server_factory, mode):
    server = server_factory("""
WSGIDaemonProcess main
WSGIScriptAlias /embedded ${APPS}/environ/app.wsgi
WSGIScriptAlias /daemon ${APPS}/environ/app.wsgi process-group=main
WSGITrustedProxyHeaders X_Forwarded_Host X-Forwarded-For
""")
    response = server.get(f"/{mode}", headers={"X-Forwarded-For": "192.0.2.1"})
    assert response.status == 200
    assert response.json["REMOTE_ADDR"][1] == "192.0.2.1"
    server.expect_log("WSGITrustedProxyHeaders.*X_Forwarded_Host", count=1)


@pytest.mark.ours_only("a child of mod_wsgi crashes on the first request")
def test_invalid_name_of_a_proxy_header_in_htaccess(server_factory, mode):
    server = server_factory("""
WSGIDaemonProcess main
WSGIScriptAlias /embedded ${APPS}/environ/app.wsgi
WSGIScriptAlias /daemon ${APPS}/environ/app.wsgi process-group=main
<Directory ${APPS}/environ>
    AllowOverride FileInfo
</Directory>
""")
    names = "X_Forwarded_Host X-Forwarded-For \xfc"
    server.write("apps/environ/.htaccess", f"WSGITrustedProxyHeaders {names}\n")
    children = {process.pid for process in server.httpd_children}
    for _ in range(3):
        response = server.get(f"/{mode}", headers={"X-Forwarded-For": "192.0.2.1"})
        assert response.json["REMOTE_ADDR"][1] == "192.0.2.1"
    assert {process.pid for process in server.httpd_children} == children
