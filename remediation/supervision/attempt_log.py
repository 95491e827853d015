"""The log of a session's attempts, so that a crash in the middle of a check loses no earlier findings.

The session appends to a file, and its supervisor reads it. Reports are pickled. Only the session that takes over loads
them, since this may import modules of the project.
"""

from __future__ import annotations

import os
import struct
import tempfile
from copy import copy
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

if TYPE_CHECKING:
    import pytest

# The attribute of a report for our data. The data is a plain value, so an xdist worker can send it to its controller.
NOTE = "auto_heal"
_LENGTH = struct.Struct("I")


class ReportOutcome(Enum):
    """The outcome of one phase of an attempt at a check, as pytest and rerunfailures name it."""

    PASSED = "passed"
    FAILED = "failed"
    """Failed for good: no other attempt follows."""
    REPEATED = "rerun"
    """Failed, and another attempt follows."""
    SKIPPED = "skipped"
    OTHER = ""
    """The name of another plugin, such as `retried` of pytest-retry."""

    @classmethod
    def _missing_(cls, value: object) -> ReportOutcome:  # noqa: ARG003 - as Enum calls it
        return cls.OTHER


class Begun(msgspec.Struct, frozen=True, tag=True):
    """An attempt at a check begins."""

    nodeid: str
    location: tuple[str, int | None, str]
    check: str
    services: list[str]
    heals: dict[str, int]
    """The services that a failure may heal, each with the number of heals that had ended."""
    number: int
    """The number of the attempt, from 0 on."""
    attempts: int
    """The highest number of attempts."""
    delay: float
    """Seconds between two attempts."""
    started: float
    """In epoch seconds."""


class Reported(msgspec.Struct, frozen=True, tag=True):
    """A report on a phase of an attempt."""

    nodeid: str
    when: str | None
    outcome: ReportOutcome
    data: bytes

    def load(self) -> pytest.TestReport:
        """Return the report."""
        import pickle

        report: pytest.TestReport = pickle.loads(self.data)  # noqa: S301 - of a fork of the same process
        return report


class Collecting(msgspec.Struct, frozen=True, tag=True):
    """The collection of a module begins, or has a `problem`."""

    nodeid: str
    problem: str = ""
    is_folder: bool = False
    """Whether it is no module, but a folder of modules."""


class Claimed(msgspec.Struct, frozen=True, tag=True):
    """A group of checks begins, named by its index."""

    group: int


Record = Begun | Reported | Collecting | Claimed
_decoder = msgspec.msgpack.Decoder(Record)


class AttemptLog:
    """The log of one session."""

    def __init__(self, path: Path | None = None) -> None:
        """Begin a log, at a `path` if other processes have to find it."""
        # Imported now, since a check may change the search path of modules.
        import pickle  # noqa: F401

        self._file: BinaryIO = (
            path.open("a+b", buffering=0) if path else tempfile.TemporaryFile("a+b", buffering=0)  # noqa: SIM115
        )

    def note(self, record: Record) -> None:
        """Append a record."""
        try:
            data = msgspec.msgpack.encode(record)
        except UnicodeEncodeError:
            # A file name that is not UTF-8. No session can take over from a check in such a file.
            return
        self._file.write(_LENGTH.pack(len(data)) + data)

    def report(self, report: pytest.TestReport) -> None:
        """Append a report."""
        import pickle

        try:
            data = pickle.dumps(report, pickle.HIGHEST_PROTOCOL)
        except Exception:  # noqa: BLE001 - a plugin or a check has added something that cannot be pickled
            data = pickle.dumps(_plain(report), pickle.HIGHEST_PROTOCOL)
        self.note(Reported(report.nodeid, report.when, ReportOutcome(report.outcome), data))

    def read(self) -> list[Record]:
        """Return all complete records."""
        number = self._file.fileno()
        # With pread(2), since the session shares the position in the file.
        data = os.pread(number, os.fstat(number).st_size, 0)
        return list(_records(data))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_log(path: Path) -> list[Record]:
    """Return the records of a log. An unreadable or missing log has none."""
    try:
        return list(_records(path.read_bytes()))
    except OSError:
        return []


def _records(data: bytes) -> list[Record]:
    records: list[Record] = []
    at = 0
    while at + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if at + length > len(data):
            break
        records.append(_decoder.decode(data[at : at + length]))
        at += length
    return records


def _plain(report: pytest.TestReport) -> pytest.TestReport:
    """Return a copy of a report with nothing but what pytest itself needs."""
    plain = copy(report)
    needed = {"nodeid", "location", "outcome", "when", "duration", "start", "stop", "rerun", NOTE}
    for name in set(vars(report)) - needed:
        delattr(plain, name)
    plain.keywords = dict.fromkeys(map(str, report.keywords), 1)
    plain.longrepr = None if report.longrepr is None else str(report.longrepr)
    plain.sections = [(str(title), str(text)) for title, text in report.sections]
    plain.user_properties = [(str(name), str(value)) for name, value in report.user_properties]
    return plain
