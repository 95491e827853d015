"""Space on a disk: whether there is any, and some that is kept back while there is enough, and given up when not."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from remediation.system import files

# What says that there is no space left: for anybody, or for us.
_FULL = (errno.ENOSPC, errno.EDQUOT)
# Kept back only where so many times as much is free, so that it is never what fills the disk.
_PLENTY = 16


def is_full(error: OSError) -> bool:
    """Return whether an error says that there is no space left on a disk."""
    return error.errno in _FULL


def has_room(folder: Path, size: int) -> bool:
    """Return whether the disk under a folder takes so many bytes more; True if that cannot be known."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(size))
    except OSError as error:
        return not is_full(error)
    return True


class Reserve:
    """A file of so many bytes that nobody reads: its blocks are what counts."""

    def __init__(self, path: Path, size: int) -> None:
        """Keep `size` bytes at `path`, whose folder has to be there when they are to be kept or given up."""
        self._path = path
        self._size = size

    def attend(self) -> None:
        """Keep it back if there is plenty of space, give it up if there is less than a quarter of it left."""
        with suppress(OSError):
            found = os.statvfs(self._path.parent)
            free = found.f_bavail * found.f_frsize
            if free < self._size // 4:
                self.give_up()
            elif free >= _PLENTY * self._size and not self._is_kept():
                self._keep()

    def give_up(self) -> bool:
        """Free its space, and return whether there was any."""
        with suppress(OSError):
            is_kept = self._is_kept()
            self._path.unlink()
            return is_kept
        return False

    def frees(self, error: OSError) -> bool:
        """Return whether the error is that of a full disk, and there was a reserve, now given up: try again."""
        return is_full(error) and self.give_up()

    def _is_kept(self) -> bool:
        try:
            return self._path.lstat().st_size >= self._size
        except FileNotFoundError:
            return False

    def _keep(self) -> None:
        with files.replacement(self._path) as draft, draft.open("wb") as reserved:
            # Blocks of its own, which a file that was only made longer has not.
            os.posix_fallocate(reserved.fileno(), 0, self._size)
