"""Writes blocks without end, until write() raises; tells the log what it raised."""


def application(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        while True:
            write(b"x" * 10000)
    except Exception as error:
        print("ENDLESS-WRITE-APP", isinstance(error, OSError), file=environ["wsgi.errors"])
        raise
