"""Returns wsgi.file_wrapper as the query string says: `case=...`, see the table in it."""

import io
import os
import tempfile
from urllib.parse import parse_qs

CONTENT = bytes(range(256)) * 1000


class Tracked(io.BytesIO):
    """Tells the log that it was closed."""

    def __init__(self, data, errors):
        super().__init__(data)
        self.errors = errors

    def close(self):
        print("FILE-WRAPPER-APP closed", file=self.errors)
        super().close()


class Told(io.FileIO):
    """Tells the log where it stood when it was closed."""

    def __init__(self, errors):
        file = regular(1000)
        super().__init__(os.dup(file.fileno()))
        self.errors = errors

    def close(self):
        if not self.closed:
            print("FILE-WRAPPER-APP closed at", self.tell(), file=self.errors)
        super().close()


class OnlyRead:
    """Has nothing but read()."""

    def __init__(self, data):
        self.file = io.BytesIO(data)

    def read(self, size):
        return self.file.read(size)


def regular(offset=0):
    file = tempfile.TemporaryFile()
    file.write(CONTENT)
    file.seek(offset)
    return file


def pipe():
    reader, writer = os.pipe()
    os.write(writer, CONTENT[:5000])
    os.close(writer)
    return os.fdopen(reader, "rb")


def application(environ, start_response):
    query = parse_qs(environ["QUERY_STRING"])
    case = query["case"][0]
    wrapper = environ["wsgi.file_wrapper"]
    headers = [("Content-Type", "application/octet-stream")]
    if "length" in query:
        headers.append(("Content-Length", query["length"][0]))
    write = start_response("200 OK", headers)
    if case == "written-before":
        write(b"before")
        return wrapper(regular())
    if case == "inside-another":
        return (block for block in wrapper(regular(), 1000))
    if case == "subclass":
        return type("Sub", (wrapper,), {})(regular())
    if case == "str":
        return wrapper(io.StringIO("text"))
    return wrapper(
        {
            "regular": regular,
            "offset": lambda: regular(1000),
            "at-end": lambda: regular(len(CONTENT)),
            "bytesio": lambda: io.BytesIO(CONTENT),
            "tracked": lambda: Tracked(CONTENT, environ["wsgi.errors"]),
            "told": lambda: Told(environ["wsgi.errors"]),
            "only-read": lambda: OnlyRead(CONTENT),
            "pipe": pipe,
            "null": lambda: open("/dev/null", "rb"),
            "big": big,
        }[case]()
    )


def big():
    file = tempfile.TemporaryFile()
    for _ in range(40):
        file.write(CONTENT)
    file.seek(0)
    return file
