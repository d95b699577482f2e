"""Returns the kind of object that the query string names."""


class Indexed:
    """Iterable only by __getitem__."""

    def __getitem__(self, index):
        return [b"in", b"dex", b"ed"][index]


def application(environ, start_response):
    kind = environ["QUERY_STRING"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return {
        "none": None,
        "str": "text",
        "bytes": b"bytes",
        "int": 5,
        "list-of-str": ["text"],
        "list-of-bytearray": [bytearray(b"text")],
        "list-of-memoryview": [memoryview(b"text")],
        "list-of-int": [1],
        "tuple": (b"tu", b"ple"),
        "iterator": iter([b"iter", b"ator"]),
        "map": map(bytes, [b"ma", b"p"]),
        "indexed": Indexed(),
        "set": {b"set"},
        "empty-list": [],
        "empty-tuple": (),
        "empty-blocks": [b"", b""],
        "empty-iterator": iter([]),
        "blocks-with-empty": [b"", b"a", b"", b"b", b""],
        "bytes-subclass": [type("Sub", (bytes,), {})(b"sub")],
        "good-then-str": iter([b"good", "bad"]),
    }[kind]
