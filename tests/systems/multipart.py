# SPDX-License-Identifier: Apache-2.0
"""Bodies of multipart/form-data, as browsers send them."""

from collections.abc import Mapping

_BOUNDARY = "----frontier-of-the-tests"


def multipart(
    fields: Mapping[str, str], files: Mapping[str, tuple[str, str, bytes]]
) -> tuple[bytes, dict[str, str]]:
    """The body and its header. A file is its name, its type and its content."""
    parts = []
    for name, text in fields.items():
        parts.append(f'Content-Disposition: form-data; name="{name}"\r\n\r\n{text}'.encode())
    for name, (file, kind, content) in files.items():
        head = f'Content-Disposition: form-data; name="{name}"; filename="{file}"\r\n'
        parts.append(f"{head}Content-Type: {kind}\r\n\r\n".encode() + content)
    body = b"".join(b"--%s\r\n%s\r\n" % (_BOUNDARY.encode(), part) for part in parts)
    body += f"--{_BOUNDARY}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
