# SPDX-License-Identifier: Apache-2.0
"""Which process group and application group serves a request, and what they are made of.

How their processes live and die is in test_daemon_life.py.
"""

import pytest

from harness.plugin import differs
from harness.under_test import OURS
from harness.waiting import wait_until

CONFIG = """
WSGIDaemonProcess one processes=1 threads=3
WSGIDaemonProcess two threads=3
<Macro Mount $name $process $application>
    WSGIScriptAlias /$name ${APPS}/process/app.wsgi
    <Location /$name>
        WSGIProcessGroup $process
        WSGIApplicationGroup $application
    </Location>
</Macro>
Use Mount literal one name
Use Mount other-process two name
Use Mount other-application one other
Use Mount global one %{GLOBAL}
Use Mount embedded %{GLOBAL} %{GLOBAL}
Use Mount embedded-literal %{GLOBAL} name
Use Mount server one %{SERVER}
Use Mount host one %{HOST}
Use Mount resource one %{RESOURCE}
Use Mount by-env %{ENV:PROCESS_GROUP} %{ENV:APPLICATION_GROUP}
Use Mount by-env-token %{ENV:PROCESS_GROUP} %{ENV:APPLICATION_GROUP}
Use Mount by-env-unset one %{ENV:NO_SUCH_VARIABLE}
Use Mount not-a-token one app-%{SERVER}
Use Mount unknown no-such-group %{GLOBAL}
Use Mount unknown-by-env %{ENV:NO_SUCH_VARIABLE} %{GLOBAL}
Use Mount wrong-case ONE %{GLOBAL}
<Location /by-env>
    SetEnv PROCESS_GROUP two
    SetEnv APPLICATION_GROUP from-env
</Location>
<Location /by-env-token>
    SetEnv PROCESS_GROUP two
    SetEnv APPLICATION_GROUP %{GLOBAL}
</Location>
WSGIScriptAlias /option ${APPS}/process/app.wsgi process-group=two application-group=option
WSGIScriptAlias /option-only-process ${APPS}/process/app.wsgi process-group=two
<Location /option-only-process>
    WSGIApplicationGroup name
</Location>
WSGIScriptAlias /option-env ${APPS}/process/app.wsgi process-group=%{ENV:WHICH} \\
    application-group=%{ENV:NAME}
<Location /option-env>
    SetEnv WHICH two
    SetEnv NAME from-option
</Location>
"""


@pytest.fixture(scope="module")
def grouped(module_server_factory):
    return module_server_factory(CONFIG, modules=["macro"])


@pytest.mark.parametrize(
    ("path", "process_group", "application_group"),
    [
        ("/literal", "one", "name"),
        ("/other-process", "two", "name"),
        ("/other-application", "one", "other"),
        ("/global", "one", ""),
        ("/embedded", "", ""),
        ("/embedded-literal", "", "name"),
        ("/server", "one", "localhost:{port}"),
        ("/host", "one", "127.0.0.1:{port}"),
        ("/resource", "one", "localhost:{port}|/resource"),
        ("/resource/path/info", "one", "localhost:{port}|/resource"),
        ("/by-env", "two", "from-env"),
        ("/by-env-token", "two", ""),
        ("/by-env-unset", "one", "%{{ENV:NO_SUCH_VARIABLE}}"),
        ("/not-a-token", "one", "app-%{{SERVER}}"),
        ("/option", "two", "option"),
        ("/option-only-process", "two", "name"),
        ("/option-env", "two", "from-option"),
    ],
)
def test_resolution(grouped, path, process_group, application_group):
    answer = grouped.get(path).json
    assert answer["process_group"] == process_group
    assert answer["application_group"] == application_group.format(port=grouped.port)


def test_default_application_group_is_that_of_the_resource(server_factory, mode):
    server = server_factory("""
WSGIDaemonProcess main
WSGIScriptAlias /embedded ${APPS}/process/app.wsgi
WSGIScriptAlias /daemon ${APPS}/process/app.wsgi process-group=main
""")
    answer = server.get(f"/{mode}/x").json
    assert answer["application_group"] == f"localhost:{server.port}|/{mode}"


@pytest.mark.parametrize("path", ["/unknown", "/unknown-by-env", "/wrong-case"])
def test_unknown_process_group_is_a_500(grouped, path):
    assert grouped.get(path).status == 500
    record = grouped.wait_log("WSGI0151")
    assert "127.0.0.1:" in record.message
    grouped.expect_log("WSGI0151", count=1)


def test_process_group_when_there_are_none_is_a_500(server_factory):
    server = server_factory("""
WSGIScriptAlias / ${APPS}/process/app.wsgi
WSGIProcessGroup main
""")
    assert server.get("/").status == 500
    server.expect_log("WSGI0150", count=1)
    if OURS:  # the start tells already
        server.expect_log("WSGI0318: there is no process group 'main'", count=1)


def test_group_of_another_virtual_host_is_a_500(server_factory):
    """A group defined in a virtual host serves that one and others of the same ServerName."""
    server = server_factory(
        """
WSGIScriptAlias / ${APPS}/process/app.wsgi
WSGIApplicationGroup %{GLOBAL}
<VirtualHost 127.0.0.1:${PORT_owner}>
    ServerName owner
    WSGIDaemonProcess private
    WSGIProcessGroup private
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_twin}>
    ServerName owner
    WSGIProcessGroup private
</VirtualHost>
<VirtualHost 127.0.0.1:${PORT_stranger}>
    ServerName stranger
    WSGIProcessGroup private
</VirtualHost>
""",
        ports=["owner", "twin", "stranger"],
    )
    if OURS:  # the start tells already
        server.expect_log("WSGI0319: process group 'private'.*owner", count=1)
    assert server.get("/", port="owner").json["process_group"] == "private"
    assert server.get("/", port="twin").json["process_group"] == "private"
    assert server.get("/", port="stranger").status == 500
    server.expect_log("WSGI0152", count=1)


def test_process_groups_have_processes_of_their_own(grouped):
    one, two = grouped.get("/literal").json, grouped.get("/other-process").json
    embedded = grouped.get("/embedded").json
    assert len({one["pid"], two["pid"], embedded["pid"]}) == 3


def test_embedded_mode_runs_in_the_httpd_children(grouped):
    children = {process.pid for process in grouped.httpd_children}
    assert grouped.get("/embedded").json["pid"] in children


def test_daemon_mode_does_not(grouped):
    daemons = {process.pid for process in grouped.daemon_processes}
    assert grouped.get("/literal").json["pid"] in daemons


@pytest.mark.difference("each application group of a process group is a process of its own")
def test_application_groups_of_one_process_group(grouped):
    one, other = grouped.get("/literal").json, grouped.get("/other-application").json
    assert (one["pid"] == other["pid"]) is differs(upstream=True, ours=False)


def test_same_group_is_the_same_process(grouped):
    assert grouped.get("/literal").json["pid"] == grouped.get("/literal/x").json["pid"]


COUNTERS = """
WSGIDaemonProcess main threads=2 {options}
WSGIScriptAlias /one ${{APPS}}/counter/app.wsgi process-group=main application-group=one
WSGIScriptAlias /same ${{APPS}}/counter/app.wsgi process-group=main application-group=one
WSGIScriptAlias /two ${{APPS}}/counter/app.wsgi process-group=main application-group=two
Define INTERPRETER ${{APPS}}/interpreter/app.wsgi
WSGIScriptAlias /interpreter ${{INTERPRETER}} process-group=main application-group=one
WSGIScriptAlias /interpreter-two ${{INTERPRETER}} process-group=main application-group=two
WSGIScriptAlias /interpreter-main ${{INTERPRETER}} process-group=main application-group=%{{GLOBAL}}
"""


def test_application_groups_share_nothing(server_factory):
    server = server_factory(COUNTERS.format(options=""))
    assert [server.get("/one").json[1:] for _ in range(3)] == [[1, "one"], [2, "one"], [3, "one"]]
    assert server.get("/two").json[1:] == [1, "two"]
    assert server.get("/same").json[1:] == [4, "one"]


@pytest.mark.difference("application groups in daemon mode have a main interpreter by default")
@pytest.mark.parametrize("path", ["/interpreter", "/interpreter-two"])
def test_interpreter_of_an_application_group(server_factory, path):
    server = server_factory(COUNTERS.format(options=""))
    assert server.get(path).text == differs(upstream="sub", ours="main")


def test_interpreter_of_the_global_application_group(server_factory):
    server = server_factory(COUNTERS.format(options=""))
    assert server.get("/interpreter-main").text == "main"


@pytest.mark.ours_only(
    "a thread of mod_wsgi that was in a sub-interpreter may take it for the main one"
)
def test_interpreters_do_not_mix(server_factory):
    server = server_factory(COUNTERS.format(options="isolation=interpreter"))
    for _ in range(5):
        assert server.get("/interpreter").text == "sub"
        assert server.get("/interpreter-main").text == "main"


@pytest.mark.ours_only("isolation= is new")
def test_isolation_interpreter_keeps_application_groups_in_one_process(server_factory):
    server = server_factory(COUNTERS.format(options="isolation=interpreter"))
    one, two = server.get("/one").json, server.get("/two").json
    assert one[0] == two[0]
    assert (one[1:], two[1:]) == ([1, "one"], [1, "two"])
    assert server.get("/one").json[1:] == [2, "one"]
    assert server.get("/interpreter").text == "sub"
    assert server.get("/interpreter-main").text == "main"


@pytest.mark.ours_only("mod_wsgi makes interpreters without limit")
def test_number_of_application_groups_is_limited(server_factory):
    """Names made from the Host header are the client's to choose, so there is an end to them."""
    server = server_factory("""
WSGIDaemonProcess main threads=1 application-groups=2
WSGIProcessGroup main
WSGIApplicationGroup %{HOST}
WSGIScriptAlias / ${APPS}/counter/app.wsgi
""")
    assert server.get("/", host="one.example").json[2].startswith("one.example")
    assert server.get("/", host="two.example").json[2].startswith("two.example")
    before = {process.pid for process in server.daemon_processes}
    assert server.get("/", host="three.example").status == 503
    assert server.get("/", host="four.example").status == 503
    assert {process.pid for process in server.daemon_processes} == before
    assert server.get("/", host="one.example").json[1] == 2
    server.expect_log("application-groups=2|application groups")


@pytest.mark.ours_only("mod_wsgi takes the port of a name from the Host header")
def test_port_of_a_name_is_the_real_one(server_factory):
    server = server_factory("""
WSGIDaemonProcess main threads=1
WSGIScriptAlias / ${APPS}/counter/app.wsgi process-group=main
""")
    names = {server.get("/", host=f"localhost:{port}").json[2] for port in (1, 99, 65000)}
    assert names == {f"localhost:{server.port}|"}


@pytest.mark.parametrize("count", [1, 3])
def test_number_of_processes(server_factory, count):
    server = server_factory(f"""
WSGIDaemonProcess main processes={count} threads=2
WSGIScriptAlias / ${{APPS}}/pid/app.wsgi process-group=main application-group=%{{GLOBAL}}
""")
    assert server.get("/").status == 200
    wait_until(lambda: len(server.daemon_processes) == count, f"{count} daemon processes")
    pids = {process.pid for process in server.daemon_processes}
    assert {int(server.get("/").body) for _ in range(30)} <= pids
