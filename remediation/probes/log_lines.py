"""Look for lines in what a program wrote to its log, whatever became of the file meanwhile.

A log may be huge, cut or replaced, and one of its lines may never end. The memory for it is bounded, and so is the part
that is looked at.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from remediation.probes.deadline_io import left, within
from remediation.state.log_positions import Position, position
from remediation.system import files, logrotate

# Bytes at the end of a log that nobody has looked at yet.
FIRST_LOOK = 1 << 20
# The most bytes of a file to look at at once, the last ones.
MOST = 16 << 20
# Bytes to read at once; a line that is longer is looked at in parts that overlap.
_BLOCK, _OVERLAP = 1 << 16, 1 << 10


class Look(NamedTuple):
    """What a log holds from a position on."""

    lines: int
    found: int
    """How many lines match."""
    first: str
    """The first of these; empty if there is none."""
    end: Position


def look(
    path: Path, pattern: re.Pattern[str], *, start: Position | None, least: Position | None, deadline: float
) -> Look:
    """Count the lines since a position, and those of them that match.

    Without `start`, the last 1 MiB of the log is looked at, but nothing before `least`. If the log was
    rotated since, the rest of what is now NAME.1 is looked at first. OSError if the log cannot be read before
    `deadline`, on the monotonic clock.
    """
    return within(deadline, lambda: _look(path, pattern, start, least, deadline))


def _look(
    path: Path, pattern: re.Pattern[str], start: Position | None, least: Position | None, deadline: float
) -> Look:
    with files.open_read(path) as log:
        size = log.seek(0, os.SEEK_END)
        begun = least.offset if least and _is_at(log, least.offset, least.before) else 0
        if start is None:
            return _scan(log, pattern, max(begun, size - FIRST_LOOK), deadline)
        if _is_at(log, start.offset, start.before):
            return _scan(log, pattern, max(begun, start.offset), deadline)
        return _after_rotation(path, log, pattern, start, deadline)


def _after_rotation(path: Path, log: BinaryIO, pattern: re.Pattern[str], start: Position, deadline: float) -> Look:
    """Look at the rest of NAME.1 and at the whole log, or at the rest of the log if only its seen part was moved."""
    hole = logrotate.data_start(log.fileno())
    with suppress(OSError), files.open_read(logrotate.rotated(path)) as older:
        moved = older.seek(0, os.SEEK_END)
        # NAME.1 may begin where the log began, or where a hole ended that an earlier rotation had left.
        for offset in (start.offset, start.offset - (hole - moved)):
            if _is_at(older, offset, start.before):
                rest, new = _scan(older, pattern, offset, deadline), _scan(log, pattern, hole, deadline)
                return Look(rest.lines + new.lines, rest.found + new.found, rest.first or new.first, new.end)
        if _is_at(log, start.offset - moved, start.before):
            return _scan(log, pattern, start.offset - moved, deadline)
    return _scan(log, pattern, hole, deadline)


def _is_at(log: BinaryIO, offset: int, before: bytes) -> bool:
    """Return whether a file is long enough for an offset, and has these bytes, or their end, before it."""
    if not 0 <= offset <= log.seek(0, os.SEEK_END):
        return False
    before = before[-offset:] if offset else b""
    log.seek(offset - len(before))
    return log.read(len(before)) == before


def _scan(log: BinaryIO, pattern: re.Pattern[str], start: int, deadline: float) -> Look:
    size = log.seek(0, os.SEEK_END)
    at = log.seek(max(start, size - MOST))
    lines, found, carried = 0, list[str](), b""
    count = 0
    while at < size and (block := log.read(min(_BLOCK, size - at))):
        left(deadline)
        at += len(block)
        # A rotation can leave a hole at the beginning.
        head, line_end, carried = (carried + block).lstrip(b"\0").rpartition(b"\n")
        texts = _text(head).split("\n") if line_end else []
        lines += len(texts)
        if len(carried) >= _BLOCK:
            # A part of a long line; the next part repeats the end of it.
            texts.append(_text(carried))
            carried = carried[-_OVERLAP:]
        matching = [text for text in texts if pattern.search(text)]
        found, count = found or matching[:1], count + len(matching)
    end = at - len(carried)
    if carried and pattern.search(last := _text(carried)):
        # Any other line that is still being written is looked at again.
        found, count, end = found or [last], count + 1, at
    return Look(lines, count, found[0] if found else "", position(log, end))


def _text(data: bytes) -> str:
    # Other handlers of errors take a thousand times longer.
    return data.replace(b"\r\n", b"\n").removesuffix(b"\r").decode("utf-8", "replace")
