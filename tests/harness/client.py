# SPDX-License-Identifier: Apache-2.0
"""The HTTP client of the tests: whole requests through http.client, and raw bytes on a socket."""

import http.client
import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.waiting import DEADLINE

HeaderPairs = Iterable[tuple[str, str]]


@dataclass(frozen=True)
class Response:
    status: int
    reason: str
    headers: list[tuple[str, str]]
    """In the order received, repeated names kept."""
    body: bytes
    complete: bool
    """False if the connection ended before the body did, as its length or its chunks say."""

    def header(self, name: str) -> str | None:
        """The value of a header that may occur once at most."""
        values = self.header_values(name)
        assert len(values) <= 1, f"{name} occurs {len(values)} times: {values}"
        return values[0] if values else None

    def header_values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One client connection, kept alive between requests."""

    def __init__(self, port: int, timeout: float = 4 * DEADLINE) -> None:
        self.port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def request(
        self,
        path: str,
        method: str = "GET",
        headers: Mapping[str, str] | HeaderPairs = (),
        body: bytes | Iterable[bytes] | None = None,
        host: str | None = None,
    ) -> Response:
        """Send one request and read its response. A body that is no bytes goes out chunked."""
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        names = {name.lower() for name, _ in pairs}
        connection = self._connection
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        if "host" not in names:
            connection.putheader("Host", host if host is not None else f"127.0.0.1:{self.port}")
        chunked = body is not None and not isinstance(body, bytes)
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        elif body is not None and "content-length" not in names:
            connection.putheader("Content-Length", str(len(body)))
        for name, value in pairs:
            connection.putheader(name, value)
        connection.endheaders(body, encode_chunked=chunked)
        return self.response()

    def response(self) -> Response:
        received = self._connection.getresponse()
        try:
            body, complete = received.read(), True
        except http.client.IncompleteRead as error:
            body, complete = error.partial, False
        except ConnectionResetError:
            body, complete = b"", False
        return Response(received.status, received.reason, received.getheaders(), body, complete)

    @property
    def open(self) -> bool:
        """Whether the server kept the connection after the last response."""
        return self._connection.sock is not None

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RawConnection:
    """A socket to the server, for what an honest client would not send."""

    def __init__(self, port: int, timeout: float = 4 * DEADLINE) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self, size: int = 65536) -> bytes:
        return self.socket.recv(size)

    def receive_until(self, mark: bytes) -> bytes:
        """Everything up to and including the first read that completes `mark`."""
        data = b""
        while mark not in data:
            piece = self.receive()
            if not piece:
                raise AssertionError(f"the connection ended without {mark!r}: {data!r}")
            data += piece
        return data

    def receive_all(self) -> bytes:
        """Everything until the server closes."""
        data = b""
        while True:
            try:
                piece = self.receive()
            except ConnectionResetError:
                return data
            if not piece:
                return data
            data += piece

    def reset(self) -> None:
        """Close with a reset instead of an orderly end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "RawConnection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
