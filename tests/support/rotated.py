"""A log on disk or in memory, and its content and history after a rotation."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

LIMIT = 40_000
TEXT = b"".join(b"line %d\n" % number for number in range(10_000))
_MEMORY = Path("/dev/shm")


@contextmanager
def log_on(medium: str, disk: Path) -> Iterator[Path]:
    """Yield the path of a log: in the usual folder of tests, or on a tmpfs, which only gives space back."""
    if medium == "disk":
        yield disk / "log"
        return
    if not _MEMORY.is_dir():
        pytest.skip(f"there is no {_MEMORY}")
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        yield Path(folder, "log")


def history(log: Path) -> Path:
    """Return the path of the older lines."""
    return log.with_name("log.1")


def lively(log: Path) -> bytes:
    """Return the content of a log without the hole at its beginning."""
    return log.read_bytes().lstrip(b"\0")


def both(log: Path) -> bytes:
    """Return the content of the log and of its history."""
    return history(log).read_bytes() + lively(log)
