#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Stands for a daemon process and answers each request with what its path names (/bad/NAME/NUMBER):
frames that are malformed, out of order, or never end.

Started by the supervisor as the interpreter of a python-home; it takes the same inherited
descriptors as a real one (protocol/src/control.rs) and speaks frames as protocol/src/frame.rs says.
"""

import array
import contextlib
import errno
import mmap
import os
import re
import socket
import struct
import sys
import threading
import time

CONTROL, LISTENER, REGION = 3, 4, 5
REQUEST, BODY, BODY_ERROR, VALUE = 1, 2, 3, 4
PULL, HEAD, DATA, FILE, LOG, END, REJECT, ERROR, LOOKUP, ANSWER = range(16, 26)
LAST = 1
SLOT_SIZE = 128


def frame(kind: int, payload: bytes = b"", flags: int = 0, length: int | None = None) -> bytes:
    return (
        struct.pack("<IBBH", len(payload) if length is None else length, kind, flags, 0) + payload
    )


def head(
    status: int = 200,
    line: bytes = b"200 OK",
    headers: tuple = ((b"Content-Type", b"text/plain"),),
    count: int | None = None,
    data: bytes = b"",
) -> bytes:
    out = struct.pack("<HH", status, len(line)) + line
    out += struct.pack("<H", len(headers) if count is None else count)
    for name, value in headers:
        out += struct.pack("<H", len(name)) + name + struct.pack("<I", len(value)) + value
    return out + data


# protocol/src/response.rs, Times: behind the payload of what ends a response.
TIMES = bytes(16)
WHOLE = frame(HEAD, head(data=b"fine") + TIMES, LAST)
BEGUN = frame(HEAD, head(data=b"begun"))

# What is sent before the connection is left open for the child to close.
SENT = {
    "whole": WHOLE,
    # No frames at all.
    "text": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
    "zeros": bytes(64),
    "ones": b"\xff" * 64,
    "reserved": struct.pack("<IBBH", 0, END, 0, 1),
    "unknown-kind": frame(99),
    # Lengths.
    "absurd-head": frame(HEAD, length=0xFFFFFFFF),
    "absurd-data": BEGUN + frame(DATA, length=0x7FFFFFFF),
    "long-head": frame(HEAD, length=(16 << 20) + 1),
    "long-data": BEGUN + frame(DATA, length=(256 << 10) + 1),
    "long-pull": frame(PULL, bytes(33)),
    "long-end": BEGUN + frame(END, bytes(33)),
    # Order.
    "data-first": frame(DATA, b"x"),
    "end-first": frame(END, TIMES),
    "head-twice": BEGUN + BEGUN,
    "error-late": BEGUN + frame(ERROR, struct.pack("<H", 500) + TIMES),
    "reject-late": BEGUN + frame(REJECT, b"\1"),
    "answer": frame(ANSWER, b"\0\0\0"),
    "lookup": frame(LOOKUP, b"SSL_PROTOCOL"),
    # What only a child says.
    "request": frame(REQUEST, b"x"),
    "body": frame(BODY, b"x"),
    "body-error": frame(BODY_ERROR, b"\1"),
    "value": frame(VALUE, b"\0"),
    # Payloads.
    "whole-without-times": frame(HEAD, b"", LAST),
    "short-end-first": frame(ERROR, struct.pack("<H", 500) + TIMES[:7]),
    "empty-head": frame(HEAD),
    "short-head": frame(HEAD, head()[:-5]),
    "many-headers": frame(HEAD, head(count=60000)),
    "status-65535": frame(HEAD, head(status=65535)),
    "status-line": frame(HEAD, head(line=b"200 OK\r\nX-Split: 1")),
    "status-short": frame(HEAD, head(line=b"2")),
    "header-split": frame(HEAD, head(headers=[(b"X", b"1\r\nX-Split: 1")])),
    "header-name-split": frame(HEAD, head(headers=[(b"X\r\nX-Split", b"1")])),
    "header-nul": frame(HEAD, head(headers=[(b"X", b"1\0")])),
    "header-empty": frame(HEAD, head(headers=[(b"", b"1")])),
    "header-long": frame(
        HEAD, struct.pack("<HH", 200, 6) + b"200 OK\1\0\1\0X" + b"\xff\xff\xff\x7f"
    ),
    "short-pull": frame(PULL, b"\1\2"),
    "short-error": frame(ERROR, b"\1"),
    "error-200": frame(ERROR, struct.pack("<H", 200) + TIMES),
    "error-999": frame(ERROR, struct.pack("<H", 999) + TIMES),
    "reject-unknown": frame(REJECT, b"\7"),
    "reject-empty": frame(REJECT),
    "log-empty": frame(LOG),
    "log-level": frame(LOG, b"\xffx"),
    "file-no-descriptor": BEGUN + frame(FILE, struct.pack("<QQ", 0, 10)),
}


def descriptors_of(name: str) -> list[int]:
    if name == "directory":
        return [os.open("/", os.O_RDONLY)]
    if name == "socket":
        return [socket.socket(socket.AF_UNIX).detach()]
    if name == "pipe":
        return list(os.pipe())[:1]
    if name == "device":
        return [os.open("/dev/zero", os.O_RDONLY)]
    if name == "write-only":
        return [os.open("/dev/null", os.O_WRONLY)]
    return [os.open(__file__, os.O_RDONLY)]


def send_with(connection: socket.socket, data: bytes, numbers: list[int]) -> None:
    rights = array.array("i", numbers)
    try:
        connection.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    finally:
        for number in set(numbers):
            os.close(number)


def file_frame(offset: int, length: int) -> bytes:
    return frame(FILE, struct.pack("<QQ", offset & (2**64 - 1), length & (2**64 - 1)))


def answer(connection: socket.socket, name: str) -> None:
    """Sends what `name` says."""
    if name in SENT:
        connection.sendall(SENT[name])
    elif name.startswith("file-of-"):
        connection.sendall(BEGUN)
        send_with(connection, file_frame(0, 10), descriptors_of(name.removeprefix("file-of-")))
        connection.sendall(frame(END, TIMES))
    elif name == "file-first":
        send_with(connection, file_frame(0, 10), descriptors_of("file"))
    elif name == "file-beyond":
        connection.sendall(BEGUN)
        send_with(connection, file_frame(-1, 10), descriptors_of("file"))
        connection.sendall(frame(END, TIMES))
    elif name == "file-absurd":
        connection.sendall(BEGUN)
        send_with(connection, file_frame(0, -1), descriptors_of("file"))
        connection.sendall(frame(END, TIMES))
    elif name == "descriptors":
        for _ in range(200):
            number = descriptors_of("file")[0]
            try:
                send_with(connection, frame(LOG, b"\7"), [number] * 250)
            except OSError as error:
                # The kernel bounds what is on its way; what is received makes room.
                if error.errno != errno.ETOOMANYREFS:
                    raise
                time.sleep(0.01)
    elif name == "descriptor-left-over":
        send_with(connection, WHOLE, descriptors_of("file"))
    elif name == "left-over":
        connection.sendall(WHOLE + WHOLE)
    elif name == "bytewise":
        for number in range(len(WHOLE)):
            connection.sendall(WHOLE[number : number + 1])
            time.sleep(0.001)
    elif name in ("half-header", "half-head", "half-data", "nothing"):
        connection.sendall(half(name))
        connection.shutdown(socket.SHUT_WR)
    elif name in ("stall", "stall-half-header", "stall-half-head", "stall-half-data"):
        connection.sendall(half(name.removeprefix("stall").removeprefix("-")))
    elif name == "pulls":
        for _ in range(100):
            connection.sendall(frame(PULL, struct.pack("<I", 0xFFFFFFFF)))
            connection.recv(65536)
        connection.sendall(WHOLE)
    elif name == "logs":
        for level in range(8):
            connection.sendall(frame(LOG, bytes([level]) + b"DOUBLE\0said\r" + b"x" * 1000))
        connection.sendall(WHOLE)
    else:
        connection.sendall(frame(ERROR, struct.pack("<H", 404) + TIMES))


def half(name: str) -> bytes:
    return {
        "half-header": WHOLE[:5],
        "half-head": WHOLE[:20],
        "half-data": BEGUN + frame(DATA, b"some", length=1000),
    }.get(name, b"")


def receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def mark_started(memory: mmap.mmap, payload: bytes, path: bytes) -> None:
    """Says that the request has begun, in the slot that describes it."""
    (mark,) = struct.unpack_from("<I", payload, 4)
    found = memory.find(path)
    assert found >= 0, path
    struct.pack_into("<I", memory, found // SLOT_SIZE * SLOT_SIZE, mark)


def serve(connection: socket.socket, memory: mmap.mmap) -> None:
    with connection, contextlib.suppress(EOFError, ConnectionError):
        while True:
            length, kind, _, _ = struct.unpack("<IBBH", receive(connection, 8))
            assert kind == REQUEST, kind
            payload = receive(connection, length)
            # The number makes the path one that no earlier request had.
            found = re.search(rb"/bad/([a-z0-9-]+)/[0-9]+", payload)
            assert found, payload
            name = found[1].decode()
            if not name.startswith("unstarted-"):
                mark_started(memory, payload, found[0])
            answer(connection, name.removeprefix("unstarted-"))


def main() -> None:
    control = socket.socket(fileno=CONTROL)
    control.recv(1 << 20)
    listener = socket.socket(fileno=LISTENER)
    listener.setblocking(True)
    memory = mmap.mmap(REGION, os.fstat(REGION).st_size)
    control.send(struct.pack("<IIQ", 1, CONTROL + 2, 0))

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, memory), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    while True:
        message = control.recv(64)
        if not message or struct.unpack_from("<I", message)[0] in (16, 17):
            break
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
