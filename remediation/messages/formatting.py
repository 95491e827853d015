"""Parse and format durations, and align the rows of a table."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence

from remediation.messages.text import Language

# The width of a line of help, in characters.
HELP_WIDTH = 79
_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_UNIT_NAMES = {
    "en": {"d": "d", "h": "h", "m": "m", "s": "s", "ms": "ms"},
    "ru": {"d": " д", "h": " ч", "m": " мин", "s": " с", "ms": " мс"},
}
# Longer than any history or pause, yet short enough that a time in the future can still be formatted.
_LONGEST = 100 * 365 * 86_400.0
# Below this many seconds, tenths matter to the reader.
_SHORT = 10.0
_NUMBER = r"\d+(?:\.\d+)?"
_PARTS = re.compile("".join(rf"(?:({_NUMBER}){unit})?" for unit in _UNITS), re.ASCII)
_PLAIN = re.compile(_NUMBER, re.ASCII)


def duration(text: str) -> float:
    """Return the seconds of a duration: `7d`, `12h`, `30m`, `90s`, `1d12h` or a plain number of seconds.

    For argparse: raises ArgumentTypeError with a text of one sentence for anything else, and for zero.
    """
    seconds = _seconds(text.strip().lower())
    if seconds is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no duration such as 7d, 12h, 30m, 90s, 1d12h, or a number of seconds"
        )
    if not 0 < seconds <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: it must be more than 0 and at most 100 years")
    return seconds


def _seconds(text: str) -> float | None:
    if _PLAIN.fullmatch(text):
        return float(text)
    match = _PARTS.fullmatch(text)
    if not text or not match:
        return None
    return math.fsum(float(part) * size for part, size in zip(match.groups("0"), _UNITS.values(), strict=True))


def spoken(seconds: float, language: Language = "en") -> str:
    """Format a duration in its two largest units, a short one with a fraction: `6d 23h`, `1m 5s`, `2.5s`, `40ms`."""
    units = _UNIT_NAMES[language]
    if round(seconds, 3) < 1:
        return f"{max(0.0, seconds) * 1000:.0f}{units['ms']}"
    if round(seconds, 1) < _SHORT:
        return f"{seconds:.1f}{units['s']}"
    return whole(round(seconds), language)


def whole(seconds: int, language: Language = "en") -> str:
    """Format a duration of whole seconds in its two largest units: `6d 23h`, `1m 5s`, `0s`."""
    rest = max(0, seconds)
    parts: list[str] = []
    for unit, size in _UNITS.items():
        if rest >= size or (size == 1 and not parts):
            parts.append(f"{rest // size}{_UNIT_NAMES[language][unit]}")
            rest %= size
    return " ".join(parts[:2])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each row with its cells aligned in columns; all rows must have equally many cells."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
