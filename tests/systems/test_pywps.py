# SPDX-License-Identifier: Apache-2.0
"""PyWPS, an OGC Web Processing Service, as its deployment guide sets it up."""

import xml.etree.ElementTree as xml
from urllib.parse import urlencode

import pytest

from harness.client import Response
from harness.server import Server
from systems.deployment import (
    Environments,
    Servers,
    account,
    copy_folder,
    make_writable_folder,
    mode_that_loaded,
)

OWS = "{http://www.opengis.net/ows/1.1}"
WPS = "{http://www.opengis.net/wps/1.0.0}"

DAEMON = """
WSGIDaemonProcess pywps home=${{ROOT}}/pywps {account} processes=2 threads=5
WSGIScriptAlias /pywps ${{ROOT}}/pywps/pywps.wsgi process-group=pywps

<Directory ${{ROOT}}/pywps/>
    WSGIScriptReloading On
    WSGIProcessGroup pywps
    WSGIApplicationGroup %{{GLOBAL}}
    Require all granted
</Directory>

WSGIPythonHome {venv}
"""

EMBEDDED = """
WSGIScriptAlias /pywps ${{ROOT}}/pywps/pywps.wsgi

<Directory ${{ROOT}}/pywps/>
    WSGIScriptReloading On
    WSGIApplicationGroup %{{GLOBAL}}
    Require all granted
</Directory>

WSGIPythonHome {venv}
WSGIPythonPath ${{ROOT}}/pywps
"""

SETTINGS = """
[server]
url=http://localhost:{port}/pywps
outputurl=http://localhost:{port}/outputs
outputpath={outputs}
workdir={work}

[logging]
level=INFO
file={logs}/pywps.log
"""


@pytest.fixture(scope="module")
def wps(mode: str, module_server_factory: Servers, venv: Environments) -> Server:
    environment = venv("pywps", ["pywps==4.8.1"])
    server = module_server_factory(start=False)
    copy_folder(server, "pywps")
    folders = {name: make_writable_folder(server, name) for name in ("outputs", "work", "logs-wps")}
    server.write(
        "pywps/pywps.cfg",
        SETTINGS.format(
            port=server.port,
            outputs=folders["outputs"],
            work=folders["work"],
            logs=folders["logs-wps"],
        ),
    )
    text = DAEMON if mode == "daemon" else EMBEDDED
    server.configure(text.format(account=account(), venv=environment.path))
    return server.start()


def ask(server: Server, **parameters: str) -> Response:
    return server.get(f"/pywps?{urlencode(parameters)}" if parameters else "/pywps")


def document(response: Response) -> xml.Element:
    assert response.status == 200, response.text
    assert response.header("content-type").startswith("text/xml")
    return xml.fromstring(response.body)


def only(root: xml.Element, path: str) -> xml.Element:
    [found] = root.findall(path)
    return found


def test_bare_request_misses_the_service_parameter(wps):
    response = ask(wps)
    assert response.status == 400
    report = xml.fromstring(response.body)
    assert report.tag == f"{OWS}ExceptionReport"
    exception = only(report, f"{OWS}Exception")
    assert exception.attrib == {
        "exceptionCode": "MissingParameterValue",
        "locator": "service",
    }


def test_mode(wps, mode):
    assert ask(wps).status == 400
    assert mode_that_loaded(wps, "/site-packages/lxml/") == mode
    assert len(wps.daemon_processes) == (2 if mode == "daemon" else 0)


def test_capabilities_list_the_processes(wps):
    root = document(ask(wps, service="WPS", request="GetCapabilities", version="1.0.0"))
    assert root.tag == f"{WPS}Capabilities"
    offered = {
        only(process, f"{OWS}Identifier").text: only(process, f"{OWS}Title").text
        for process in root.findall(f"{WPS}ProcessOfferings/{WPS}Process")
    }
    assert offered == {"add": "Sum of two numbers", "reverse": "Lines in reverse order"}


def test_description_of_a_process(wps):
    root = document(
        ask(wps, service="WPS", request="DescribeProcess", version="1.0.0", identifier="add")
    )
    inputs = root.findall(f"ProcessDescription/DataInputs/Input/{OWS}Identifier")
    assert [element.text for element in inputs] == ["augend", "addend"]


def test_execute_by_get(wps):
    root = document(
        ask(
            wps,
            service="WPS",
            request="Execute",
            version="1.0.0",
            identifier="add",
            datainputs="augend=1.5;addend=40.5",
        )
    )
    assert root.find(f"{WPS}Status/{WPS}ProcessSucceeded") is not None
    assert only(root, f".//{WPS}LiteralData").text == "42.0"


LINES = [f"line {number} åßç" for number in range(20000)]

EXECUTE_REVERSE = f"""<?xml version="1.0" encoding="UTF-8"?>
<wps:Execute service="WPS" version="1.0.0" xmlns:wps="{WPS[1:-1]}" xmlns:ows="{OWS[1:-1]}">
  <ows:Identifier>reverse</ows:Identifier>
  <wps:DataInputs>
    <wps:Input>
      <ows:Identifier>text</ows:Identifier>
      <wps:Data><wps:ComplexData mimeType="text/plain">{{text}}</wps:ComplexData></wps:Data>
    </wps:Input>
  </wps:DataInputs>
  <wps:ResponseForm>
    <wps:RawDataOutput><ows:Identifier>reversed</ows:Identifier></wps:RawDataOutput>
  </wps:ResponseForm>
</wps:Execute>
"""


def test_execute_by_post_with_a_large_body(wps):
    body = EXECUTE_REVERSE.format(text="\n".join(LINES)).encode()
    response = wps.post("/pywps", body, headers={"Content-Type": "text/xml"})
    assert response.status == 200, response.text
    assert response.text.split("\n") == LINES[::-1]


def test_wrong_input_is_reported(wps):
    response = ask(
        wps,
        service="WPS",
        request="Execute",
        version="1.0.0",
        identifier="add",
        datainputs="augend=1.5;addend=many",
    )
    assert response.status == 400
    exception = only(xml.fromstring(response.body), f"{OWS}Exception")
    assert exception.get("exceptionCode") == "InvalidParameterValue"
