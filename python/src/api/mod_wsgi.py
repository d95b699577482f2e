# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F821 - `_support` is put into the namespace before this runs
"""The module `mod_wsgi` as applications import it."""

version = _support["settings"]["version"]
process_group = _support["settings"]["process_group"]
application_group = _support["application_group"]
maximum_processes = _support["settings"]["processes"]
threads_per_process = _support["settings"]["threads"]

event_callbacks = []
shutdown_callbacks = []
signal_callbacks = []


class RequestTimeout(BaseException):
    """Raised in the thread of a request that ran for too long."""


class ClientDisconnected(ConnectionAbortedError):
    """Raised by reading `wsgi.input` when the client went away before its body was there."""


class FileWrapper:
    """Wraps a file-like object for `wsgi.file_wrapper` (PEP 3333)."""

    __slots__ = ("__weakref__", "_blksize", "_closed", "_filelike")

    def __init__(self, filelike, blksize=8192):
        # A range raises for what is no integer, and its length for what is beyond sizes.
        size = len(range(blksize))
        if blksize < 0:
            raise ValueError("blksize must not be negative")
        self._filelike = filelike
        self._blksize = size
        self._closed = False

    @property
    def filelike(self):
        if self._closed:
            raise ValueError("I/O operation on closed file")
        return self._filelike

    @property
    def blksize(self):
        return self._blksize

    def __iter__(self):
        return self

    def __next__(self):
        data = self.filelike.read(self._blksize)
        if type(data) is not bytes and not isinstance(data, bytes):
            raise TypeError(f"file wrapper read() must return bytes, not {type(data).__name__}")
        if not data:
            raise StopIteration
        return data

    def close(self):
        if self._closed:
            return
        self._closed = True
        close = getattr(self._filelike, "close", None)
        if close is not None:
            try:  # noqa: SIM105 - contextlib is not imported for this
                close()
            except Exception:
                pass


def subscribe_events(callback, /):
    event_callbacks.append(callback)
    return callback


def subscribe_shutdown(callback, /):
    shutdown_callbacks.append(callback)
    return callback


def subscribe_signals(callback, /):
    if _support["settings"]["is_daemon"]:
        signal_callbacks.append(callback)
    else:
        _support["functions"].log(6, "subscription to signals ignored: not in a daemon process")
    return callback


request_data = _support["functions"].request_data


# Of the process, whichever interpreter asks; None before somebody has called
# start_recording_metrics().
process_metrics = _support["process_metrics"]
request_metrics = _support["request_metrics"]


def start_recording_metrics():
    _support["functions"].start_metrics()


# httpd's scoreboard; None where the configuration does not allow it.
server_metrics = _support["server_metrics"]


def _log_handler():
    import logging

    functions = _support["functions"]

    class LogHandler(logging.Handler):
        """Writes records of `logging` to httpd's log, at its levels."""

        def emit(self, record):
            number = record.levelno
            if number >= 50:
                level = 2
            elif number >= 40:
                level = 3
            elif number >= 30:
                level = 4
            elif number >= 20:
                level = 6
            else:
                level = 7
            if not functions.logs(level):
                return
            try:
                text = self.format(record)
                functions.log(level, text, str(record.pathname), record.lineno)
            except Exception:
                self.handleError(record)

    LogHandler.__module__ = "mod_wsgi"
    LogHandler.__qualname__ = "LogHandler"
    return LogHandler


def __dir__():
    return sorted({*globals(), "LogHandler", "active_requests"})


def __getattr__(name):
    # Made when first asked for: `logging` can be imported only when the interpreter is set up, and
    # requests are not registered while nobody looks.
    if name == "LogHandler":
        value = _log_handler()
    elif name == "active_requests":
        value = {}
    else:
        raise AttributeError(f"module 'mod_wsgi' has no attribute {name!r}")
    globals()[name] = value
    return value
