"""What a session notes as it goes, so that its end in the middle of a check loses nothing that was found before.

A file that the session appends to, and that its supervisor reads. A report is in it as its pickled bytes, which only
the session that takes over looks into: to load them may import what the project brings along.
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

# On a report, what of ours goes with it; a plain value, so that it travels from a worker of xdist to its controller.
NOTE = "auto_heal"
_LENGTH = struct.Struct("I")


class ReportOutcome(Enum):
    """What a report says of one phase of an attempt at a check, as pytest and rerunfailures call it."""

    PASSED = "passed"
    FAILED = "failed"
    """For good: no other attempt follows."""
    REPEATED = "rerun"
    """It failed, and another attempt follows."""
    SKIPPED = "skipped"
    OTHER = ""
    """What another plugin calls it, such as the `retried` of pytest-retry."""

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
    """The services that a failure may heal, with the number of heals that had ended."""
    number: int
    """From 0 on."""
    attempts: int
    """How many there may be in all."""
    delay: float
    """Seconds between two of them."""
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


class Claimed(msgspec.Struct, frozen=True, tag=True):
    """A group of checks begins, by its index."""

    group: int


Record = Begun | Reported | Collecting | Claimed
_decoder = msgspec.msgpack.Decoder(Record)


class AttemptLog:
    """The notes of one session."""

    def __init__(self, path: Path | None = None) -> None:
        """Begin a log, at a `path` if others are to find it there."""
        # Now, since a check may do to the search path of modules what it likes.
        import pickle  # noqa: F401

        self._file: BinaryIO = (
            path.open("a+b", buffering=0) if path else tempfile.TemporaryFile("a+b", buffering=0)  # noqa: SIM115
        )

    def note(self, record: Record) -> None:
        """Append a record."""
        try:
            data = msgspec.msgpack.encode(record)
        except UnicodeEncodeError:
            # A file whose name is no UTF-8, where Python reads it as if it were: nobody can take over from there.
            return
        self._file.write(_LENGTH.pack(len(data)) + data)

    def report(self, report: pytest.TestReport) -> None:
        """Append a report."""
        import pickle

        try:
            data = pickle.dumps(report, pickle.HIGHEST_PROTOCOL)
        except Exception:  # noqa: BLE001 - a plugin or a check has put something into it that cannot be handed on
            data = pickle.dumps(_plain(report), pickle.HIGHEST_PROTOCOL)
        self.note(Reported(report.nodeid, report.when, ReportOutcome(report.outcome), data))

    def read(self) -> list[Record]:
        """Return all records, up to one that was not written to its end."""
        number = self._file.fileno()
        # Not by the position in the file, which the session shares.
        data = os.pread(number, os.fstat(number).st_size, 0)
        return list(_records(data))

    def close(self) -> None:
        """Let go of it."""
        self._file.close()


def read_log(path: Path) -> list[Record]:
    """Return the records of a log; none if there is none."""
    try:
        return list(_records(path.read_bytes()))
    except OSError:
        return []


def _records(data: bytes) -> list[Record]:
    found: list[Record] = []
    at = 0
    while at + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if at + length > len(data):
            break
        found.append(_decoder.decode(data[at : at + length]))
        at += length
    return found


def _plain(report: pytest.TestReport) -> pytest.TestReport:
    """Return a report with nothing but what pytest itself needs of it."""
    plain = copy(report)
    kept = {"nodeid", "location", "outcome", "when", "duration", "start", "stop", "rerun", NOTE}
    for name in set(vars(report)) - kept:
        delattr(plain, name)
    plain.keywords = dict.fromkeys(map(str, report.keywords), 1)
    plain.longrepr = None if report.longrepr is None else str(report.longrepr)
    plain.sections = [(str(title), str(text)) for title, text in report.sections]
    plain.user_properties = [(str(name), str(value)) for name, value in report.user_properties]
    return plain
