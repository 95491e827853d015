"""How far each log has been looked at, kept from one run to the next in `.auto-heal/log-positions.json`."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import msgspec

from remediation.config.model import Project
from remediation.system import files

# A position takes about two hundred bytes.
_LIMIT = 1_000_000
# How many bytes before a position to remember.
_REMEMBERED = 64
# The logs that were looked at last; a check that is gone leaves its position behind.
_MOST = 1_000


class Position(msgspec.Struct, frozen=True):
    """A place in a log, recognized by the bytes before it."""

    offset: int
    before: bytes = b""
    """The bytes that end at the offset, so that a file that was replaced or cut is noticed."""


def at(path: Path, offset: int) -> Position | None:
    """Return the position at an offset of a log; None if the log cannot be read."""
    try:
        with files.open_read(path) as log:
            return position(log, offset)
    except OSError:
        return None


def position(log: BinaryIO, offset: int) -> Position:
    """Return the position at an offset of an open log."""
    start = max(0, offset - _REMEMBERED)
    log.seek(start)
    return Position(offset, log.read(offset - start))


def recall(project: Project, key: str) -> Position | None:
    """Return how far a log was looked at; None if it never was, or if the file cannot be read."""
    return _read(project).get(key)


def keep(project: Project, key: str, position: Position, *, timeout: float) -> None:
    """Remember how far a log was looked at. OSError if that is not possible, also within `timeout` seconds."""
    path = project.state_folder / "log-positions.json"
    with files.locked(path.with_name(".log-positions.lock"), timeout=timeout):
        positions = _read(project)
        positions.pop(key, None)
        positions[key] = position
        files.write(path, msgspec.json.encode(dict(list(positions.items())[-_MOST:])))


def _read(project: Project) -> dict[str, Position]:
    try:
        data = files.read(project.state_folder / "log-positions.json", limit=_LIMIT)
        return msgspec.json.decode(data, type=dict[str, Position])
    except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError):
        return {}
