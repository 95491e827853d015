"""Give lines their priority in systemd's journal, so that `journalctl -p err` finds errors.

The prefixes are those of sd-daemon(3). The journal removes them, and everybody else would see them.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import TextIO

ERROR, WARNING, INFORMATION = "<3>", "<4>", "<6>"


def is_journal(fd: int, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether a descriptor is a stream of the journal.

    JOURNAL_STREAM names its device and inode, systemd.exec(5); children inherit the variable, but may write elsewhere.
    """
    stream = environ.get("JOURNAL_STREAM")
    if not stream:
        return False
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"


class Prioritized(io.TextIOBase):
    """A stream that gives each of its lines the same priority."""

    def __init__(self, stream: TextIO, prefix: str) -> None:
        """Write to `stream`."""
        self._stream = stream
        self._prefix = prefix
        self._begins_line = True

    def write(self, text: str) -> int:
        """Write a text, and the prefix in front of every line that begins in it."""
        for line in text.splitlines(keepends=True):
            self._stream.write(f"{self._prefix}{line}" if self._begins_line else line)
            self._begins_line = line.endswith("\n")
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()

    def fileno(self) -> int:
        """Return the descriptor of the stream."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """True: it can be written to."""
        return True
