"""Check for space on a disk, and keep a reserve that is freed when the disk is full."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from remediation.system import files
from remediation.system.capabilities import has_preallocation

# No space left on the disk, or none left in this user's quota.
_FULL = (errno.ENOSPC, errno.EDQUOT)
# Keep a reserve only if this many times its size is free, so that the reserve never fills the disk.
_PLENTY = 16


def is_full(error: OSError) -> bool:
    """Return whether an error means that a disk is full."""
    return error.errno in _FULL


def has_room(folder: Path, size: int) -> bool:
    """Return whether `size` more bytes fit on the disk of a folder; True if that cannot be determined."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(size))
    except OSError as error:
        return not is_full(error)
    return True


class Reserve:
    """A file that only occupies disk blocks; its content does not matter."""

    def __init__(self, path: Path, size: int) -> None:
        """Set the size in bytes and the path; its folder must exist when the reserve is kept or given up."""
        self._path = path
        self._size = size

    def attend(self) -> None:
        """Keep the reserve if there is plenty of space; give it up if less than a quarter of its size is free."""
        with suppress(OSError):
            disk = os.statvfs(self._path.parent)
            free = disk.f_bavail * disk.f_frsize
            if free < self._size // 4:
                self.give_up()
            elif free >= _PLENTY * self._size and not self._exists():
                self._create()

    def give_up(self) -> bool:
        """Free the space, and return whether there was any to free."""
        with suppress(OSError):
            exists = self._exists()
            self._path.unlink()
            return exists
        return False

    def frees(self, error: OSError) -> bool:
        """Give up the reserve if an error means a full disk; return whether that freed space for a retry."""
        return is_full(error) and self.give_up()

    def _exists(self) -> bool:
        try:
            return self._path.lstat().st_size >= self._size
        except FileNotFoundError:
            return False

    def _create(self) -> None:
        with files.replacement(self._path) as draft, draft.open("wb") as reserved:
            # Allocate real blocks: a file that is only truncated to a size has none.
            if has_preallocation():
                os.posix_fallocate(reserved.fileno(), 0, self._size)
            else:
                # Not zeros, for which some file systems allocate nothing.
                reserved.write(os.urandom(self._size))
