# SPDX-License-Identifier: Apache-2.0
"""httpd's error log: reading it, waiting for lines, and auditing what a test left there.

A line of level warn or worse, a line with a WSGI number, and a line that is no httpd record at all
must have been declared by the test; each declaration must have been seen.
"""

import contextlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from harness.waiting import DEADLINE, wait_until

_RECORD = re.compile(
    r"\[[^\]]*\] \[(?P<module>[^:\]]*):(?P<level>\w+)\] "
    r"\[pid (?P<pid>\d+)(?::tid (?P<tid>\d+))?\] (?P<message>.*)",
    re.DOTALL,
)
_NUMBER = re.compile(r"\bWSGI\d{4}\b")
_GRAVE = ("emerg", "alert", "crit", "error", "warn")


@dataclass(frozen=True)
class LogRecord:
    text: str
    """The whole line."""
    module: str
    level: str
    """As in LogLevel; "raw" for a line that httpd did not write."""
    pid: int
    tid: int
    message: str

    @staticmethod
    def parse(text: str) -> "LogRecord":
        match = _RECORD.fullmatch(text)
        if not match:
            return LogRecord(text, "", "raw", 0, 0, text)
        return LogRecord(
            text,
            match["module"],
            match["level"],
            int(match["pid"]),
            int(match["tid"] or 0),
            match["message"],
        )

    @property
    def number(self) -> str | None:
        match = _NUMBER.search(self.message)
        return match[0] if match else None

    @property
    def must_be_declared(self) -> bool:
        return self.level in _GRAVE or self.level == "raw" or self.number is not None


class ErrorLog:
    """All lines of some log files so far, in the order in which they were read."""

    def __init__(self, *paths: Path) -> None:
        self.paths = list(paths)
        self._offsets: dict[Path, int] = {}
        self._records: list[LogRecord] = []

    def records(self, start: int = 0) -> list[LogRecord]:
        """Complete lines from index `start` on."""
        for path in self.paths:
            offset = self._offsets.get(path, 0)
            try:
                with open(path, "rb") as file:
                    file.seek(offset)
                    data = file.read()
            except FileNotFoundError:
                continue
            data = data[: data.rfind(b"\n") + 1]
            self._offsets[path] = offset + len(data)
            for line in data.split(b"\n")[:-1]:
                if line:
                    self._records.append(LogRecord.parse(line.decode("utf-8", "backslashreplace")))
        return self._records[start:]

    @property
    def length(self) -> int:
        return len(self.records())

    def find(self, pattern: str, start: int = 0) -> list[LogRecord]:
        """Records from index `start` on whose line has the regular expression."""
        return [record for record in self.records(start) if re.search(pattern, record.text)]

    def wait(self, pattern: str, start: int = 0, deadline: float = DEADLINE) -> LogRecord:
        """The first record with the pattern, once it is there."""
        found = wait_until(
            lambda: self.find(pattern, start),
            lambda: f"the log line {pattern!r}; the log has\n{self.text(start)}",
            deadline,
        )
        return found[0]

    def text(self, start: int = 0) -> str:
        return "\n".join(record.text for record in self.records(start))


@dataclass
class Expectation:
    """Lines that a test declared."""

    pattern: str
    count: int | None
    """How many there must be; None for one or more."""
    required: bool
    matches: list[LogRecord] = field(default_factory=list)

    def take(self, records: list[LogRecord]) -> set[int]:
        """Remember the records that match; return their places in the list."""
        places = {
            place for place, record in enumerate(records) if re.search(self.pattern, record.text)
        }
        self.matches = [records[place] for place in sorted(places)]
        return places

    @property
    def fulfilled(self) -> bool:
        if self.count is not None:
            return len(self.matches) >= self.count
        return bool(self.matches) or not self.required

    @property
    def overfulfilled(self) -> bool:
        return self.count is not None and len(self.matches) > self.count

    def __str__(self) -> str:
        times = (
            "" if self.count is None else f" {self.count} times (seen {len(self.matches)} times)"
        )
        return f"{self.pattern!r}{times}"


@dataclass
class TracebackExpectation(Expectation):
    """A numbered record and the traceback after it, up to the line that names the exception.

    Between the two only records of the same thread count: others may write at the same time.
    """

    exception: str = ""
    """Regular expression found in the last line of the traceback."""
    lines: list[str] = field(default_factory=list)
    """Messages of the traceback's lines, the last one included, as of the last check."""

    def take(self, records: list[LogRecord]) -> set[int]:
        places: set[int] = set()
        self.matches = []
        for head, record in enumerate(records):
            if head in places or not re.search(self.pattern, record.text):
                continue
            taken = [head]
            found = bool(re.search(self.exception, record.message))
            for place in range(head + 1, len(records)):
                other = records[place]
                if (other.pid, other.tid) != (record.pid, record.tid):
                    continue
                if other.number is not None or other.level != record.level:
                    break
                taken.append(place)
                if re.search(self.exception, other.message):
                    found = True
                    break
            if found:
                places.update(taken)
                self.matches.append(record)
                self.lines = [records[place].message for place in taken[1:]]
        return places

    def __str__(self) -> str:
        return f"{super().__str__()} with a traceback that ends in {self.exception!r}"


class LogAudit:
    """What one test declared about one server's log, from one place in it on."""

    def __init__(self, log: ErrorLog) -> None:
        self.log = log
        self.start = log.length
        self._expectations: list[Expectation] = []

    def expect(self, pattern: str, count: int | None = None) -> Expectation:
        expectation = Expectation(pattern, count, required=True)
        self._expectations.append(expectation)
        return expectation

    def expect_traceback(
        self, number: str, exception: str, count: int | None
    ) -> TracebackExpectation:
        expectation = TracebackExpectation(number, count, required=True, exception=exception)
        self._expectations.append(expectation)
        return expectation

    def tolerate(self, pattern: str) -> None:
        self._expectations.append(Expectation(pattern, None, required=False))

    def check(self, deadline: float = DEADLINE) -> list[str]:
        """What is wrong, as lines of text. Waits for declared lines which are not there yet."""
        # What is missing in the end is reported below.
        with contextlib.suppress(AssertionError):
            wait_until(self._all_fulfilled, "the declared log lines", deadline)
        records = self.log.records(self.start)
        declared: set[int] = set()
        wrong = []
        for expectation in self._expectations:
            declared |= expectation.take(records)
            if not expectation.fulfilled:
                wrong.append(f"declared but not logged: {expectation}")
            if expectation.overfulfilled:
                wrong.append(f"logged too often: {expectation}")
        for place, record in enumerate(records):
            if record.must_be_declared and place not in declared:
                wrong.append(f"not declared: {record.text}")
        self.start += len(records)
        self._expectations.clear()
        return wrong

    def look(self) -> None:
        """Bring the expectations up to date."""
        self._all_fulfilled()

    def _all_fulfilled(self) -> bool:
        records = self.log.records(self.start)
        for expectation in self._expectations:
            expectation.take(records)
        return all(expectation.fulfilled for expectation in self._expectations)
