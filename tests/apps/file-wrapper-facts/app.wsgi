"""Answers with facts about wsgi.file_wrapper."""

import io
import json


def raised(call):
    try:
        return repr(call())
    except Exception as error:
        return type(error).__name__


class Fussy(io.BytesIO):
    def close(self):
        super().close()
        raise OSError("closed, but not willingly")


def assign(wrapper):
    wrapper.blksize = 1


def application(environ, start_response):
    wrapper = environ["wsgi.file_wrapper"]
    file = io.BytesIO(b"x" * 20000)
    made = wrapper(file)
    closed = wrapper(io.BytesIO(b"data"))
    closed.close()
    closed.close()
    import mod_wsgi

    facts = {
        "is a class": isinstance(wrapper, type),
        "is mod_wsgi.FileWrapper": wrapper is mod_wsgi.FileWrapper,
        "default block": made.blksize,
        "filelike": made.filelike is file,
        "first block": len(next(iter(made))),
        "keywords": raised(lambda: wrapper(filelike=file, blksize=10).blksize),
        "negative": raised(lambda: wrapper(file, -1)),
        "filelike after close": raised(lambda: closed.filelike),
        "block is read only": raised(lambda: assign(made)),
        "close that raises": raised(lambda: wrapper(Fussy(b"data")).close()),
        "without read": raised(lambda: next(iter(wrapper(object())))),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(facts).encode()]
