"""Durations as people write and read them, and the rows of a table."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence

from remediation.messages.text import Language

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WRITTEN = {
    "en": {"d": "d", "h": "h", "m": "m", "s": "s", "ms": "ms"},
    "ru": {"d": " д", "h": " ч", "m": " мин", "s": " с", "ms": " мс"},
}
# Longer than anybody's history or pause; adding it to a clock is still a moment that can be written down.
_LONGEST = 100 * 365 * 86_400.0
# Below this many seconds a tenth of one matters to the reader.
_SHORT = 10.0
_NUMBER = r"\d+(?:\.\d+)?"
_PARTS = re.compile("".join(rf"(?:({_NUMBER}){unit})?" for unit in _UNITS), re.ASCII)
_PLAIN = re.compile(_NUMBER, re.ASCII)


def duration(text: str) -> float:
    """Return the seconds that `7d`, `12h`, `30m`, `90s`, `1d12h` or a plain number of seconds stand for.

    For argparse: raises ArgumentTypeError, whose text is one sentence, for anything else and for no time at all.
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
    found = _PARTS.fullmatch(text)
    if not text or not found:
        return None
    return math.fsum(float(part) * size for part, size in zip(found.groups("0"), _UNITS.values(), strict=True))


def spoken(seconds: float, language: Language = "en") -> str:
    """Return a duration in its two largest units, a short one with a fraction: `6d 23h`, `1m 5s`, `2.5s`, `40ms`."""
    written = _WRITTEN[language]
    if round(seconds, 3) < 1:
        return f"{max(0.0, seconds) * 1000:.0f}{written['ms']}"
    if round(seconds, 1) < _SHORT:
        return f"{seconds:.1f}{written['s']}"
    return whole(round(seconds), language)


def whole(seconds: int, language: Language = "en") -> str:
    """Return a duration of whole seconds in its two largest units: `6d 23h`, `1m 5s`, `0s`."""
    left = max(0, seconds)
    parts: list[str] = []
    for unit, size in _UNITS.items():
        if left >= size or (size == 1 and not parts):
            parts.append(f"{left // size}{_WRITTEN[language][unit]}")
            left %= size
    return " ".join(parts[:2])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each row, its cells under those of the row before; all have as many cells as the first."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
