"""Calls write() with what is not bytes; answers with the name of what it raised."""


def application(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    raised = []
    for block in ("text", bytearray(b"bytearray"), memoryview(b"view"), 7, None):
        try:
            write(block)
            raised.append("nothing")
        except Exception as error:
            raised.append(type(error).__name__)
    return [" ".join(raised).encode()]
