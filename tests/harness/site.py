# SPDX-License-Identifier: Apache-2.0
"""One server on which every application of tests/apps is mounted, once per mode.

Each mode has a port of its own, so that an application has the same path in both. All run in the
application group %{GLOBAL}; what needs another configuration makes its own server.
"""

from harness.client import Connection, RawConnection, Response
from harness.log import Expectation, LogRecord, TracebackExpectation
from harness.server import APPS, Server


def site_configuration() -> str:
    mounts = "".join(
        f"WSGIScriptAlias /{folder.name} ${{APPS}}/{folder.name}/app.wsgi\n"
        for folder in sorted(APPS.iterdir())
    )
    return f"""
WSGIDaemonProcess site threads=5
WSGIApplicationGroup %{{GLOBAL}}
{mounts}
<VirtualHost 127.0.0.1:${{PORT_embedded}}>
    ServerName localhost
</VirtualHost>
<VirtualHost 127.0.0.1:${{PORT_daemon}}>
    ServerName localhost
    WSGIProcessGroup site
</VirtualHost>
"""


class Site:
    """The server as one mode sees it."""

    def __init__(self, server: Server, mode: str) -> None:
        self.server = server
        self.mode = mode

    @property
    def port(self) -> int:
        return self.server.ports[self.mode]

    def get(self, path: str, **options) -> Response:
        return self.request(path, **options)

    def post(self, path: str, body, **options) -> Response:
        return self.request(path, method="POST", body=body, **options)

    def request(self, path: str, **options) -> Response:
        return self.server.request(path, port=self.mode, **options)

    def connection(self) -> Connection:
        return self.server.connection(self.mode)

    def raw(self) -> RawConnection:
        return self.server.raw(self.mode)

    def expect_log(self, pattern: str, count: int | None = None) -> Expectation:
        return self.server.expect_log(pattern, count)

    def expect_traceback(
        self, exception: str, number: str = "WSGI0174", count: int | None = None
    ) -> TracebackExpectation:
        return self.server.expect_traceback(exception, number, count)

    def tolerate_log(self, pattern: str) -> None:
        self.server.tolerate_log(pattern)

    def wait_log(self, pattern: str) -> LogRecord:
        return self.server.wait_log(pattern)

    def find_log(self, pattern: str) -> list[LogRecord]:
        return self.server.find_log(pattern)
