# SPDX-License-Identifier: Apache-2.0
"""TLS for a test server: a certificate that it made itself, and requests that do not mind."""

import http.client
import ssl
import subprocess
from collections.abc import Mapping

from harness.client import Response
from harness.server import Server
from harness.waiting import DEADLINE

HOST = """
<VirtualHost 127.0.0.1:${PORT_tls}>
    ServerName localhost
    SSLEngine On
    SSLCertificateFile ${ROOT}/conf/certificate.pem
    SSLCertificateKeyFile ${ROOT}/conf/key.pem
</VirtualHost>
"""
"""A virtual host on the port named "tls", for the configuration of a server with mod_ssl."""


def write_certificate(server: Server) -> None:
    """Make conf/certificate.pem and conf/key.pem, before the server is started."""
    folder = server.root / "conf"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "2"),
            *("-subj", "/CN=localhost", "-keyout", folder / "key.pem"),
            *("-out", folder / "certificate.pem"),
        ],
        check=True,
        capture_output=True,
    )


def get(server: Server, path: str, headers: Mapping[str, str] | None = None) -> Response:
    """One request to the port named "tls"."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    port = server.ports["tls"]
    connection = http.client.HTTPSConnection(
        "127.0.0.1", port, timeout=4 * DEADLINE, context=context
    )
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        received = connection.getresponse()
        body = received.read()
    finally:
        connection.close()
    return Response(received.status, received.reason, received.getheaders(), body, True)
