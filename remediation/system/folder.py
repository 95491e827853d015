"""A folder for files that nobody else has a say in: no link on its way is followed, nothing in it is replaced."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from remediation.system.files import PRIVATE, make_folder

if TYPE_CHECKING:
    from typing_extensions import Self

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o700


class Folder:
    """A folder held open by a descriptor, so that it stays the same one whatever becomes of its path."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def at(cls, path: Path) -> Folder:
        """Open a folder, made if need be. OSError if it is a symbolic link, no folder, or another user's."""
        make_folder(path.parent)
        with suppress(FileExistsError):
            path.mkdir(mode=_MODE)
        return cls._own(path, os.open(path, _OPEN))

    @classmethod
    def _own(cls, path: Path, fd: int) -> Folder:
        if os.fstat(fd).st_uid != os.geteuid():
            os.close(fd)
            raise PermissionError(errno.EPERM, "belongs to another user", str(path))
        return cls(path, fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._fd)

    def _open(self, name: str) -> Folder:
        return self._own(self.path / name, os.open(name, _OPEN, dir_fd=self._fd))

    def new(self, name: str) -> Folder:
        """Make a folder in this one and open it. FileExistsError if the name is taken."""
        os.mkdir(name, _MODE, dir_fd=self._fd)
        return self._open(name)

    def write(self, name: str, data: bytes) -> None:
        """Make a file that only its owner reads. FileExistsError if the name is taken."""
        fd = os.open(name, _CREATE, PRIVATE, dir_fd=self._fd)
        with os.fdopen(fd, "wb") as file:
            file.write(data)

    def folders(self) -> list[str]:
        """Return the names of the folders in this one."""
        with os.scandir(self._fd) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]

    def bytes_of_files(self) -> int:
        """Return the bytes of the files in this folder, but not in folders of it."""
        with os.scandir(self._fd) as entries:
            found = [entry.stat(follow_symlinks=False) for entry in entries]
        return sum(one.st_size for one in found if stat.S_ISREG(one.st_mode))

    def clear(self) -> None:
        """Remove the files in this folder; no link is followed. OSError if it has folders."""
        for entry in os.listdir(self._fd):  # noqa: PTH208 - of a descriptor
            os.unlink(entry, dir_fd=self._fd)

    def size(self, name: str) -> int:
        """Return the bytes of the files in a folder of this one."""
        with self._open(name) as inner:
            return inner.bytes_of_files()

    def remove(self, name: str) -> None:
        """Remove a folder in this one with the files in it."""
        with self._open(name) as inner:
            inner.clear()
        os.rmdir(name, dir_fd=self._fd)
