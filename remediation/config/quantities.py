"""Quantities as text in the configuration and in checks: durations, sizes and shares."""

from __future__ import annotations

import argparse
import re

from remediation.messages import formatting

# IEC 80000-13 for KiB and its like, SI for kB; `500M`, as in Docker and systemd, is not clear about which it means.
_SIZES = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4} | {
    "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}  # fmt: skip
_UNITS = {unit.lower(): size for unit, size in _SIZES.items()}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([a-z]+)", re.ASCII)
_SHARE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*%", re.ASCII)


def seconds(text: str) -> float:
    """Return the seconds of a duration such as `30s`, `10m`, `25h` or `14d`. ValueError in one sentence."""
    try:
        return formatting.duration(text)
    except argparse.ArgumentTypeError as error:
        raise ValueError(str(error)) from None


def size(text: str) -> int:
    """Return the bytes of a size such as `500 MiB` or `2 GB`. ValueError in one sentence."""
    match = _SIZE.fullmatch(text.strip().lower())
    if not match or match[2] not in _UNITS:
        raise ValueError(f"{text!r} is no size such as 500 MiB or 2 GB; the units are {', '.join(_SIZES)}")
    return round(float(match[1]) * _UNITS[match[2]])


def share(text: str) -> float:
    """Return the percent of a share such as `80%`. ValueError in one sentence."""
    match = _SHARE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is no share such as 80%")
    return float(match[1])


def spoken_size(count: float) -> str:
    """Format bytes with three digits: `1.46 GiB`, `512 B`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if count >= _SIZES[unit]:
            return (
                f"{count / _SIZES[unit]:.3g} {unit}"
                if count < 1000 * _SIZES[unit]
                else f"{count / _SIZES[unit]:.0f} {unit}"
            )
    return f"{count:.0f} B"
