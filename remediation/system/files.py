"""One file: read without surprises, written whole or not at all, appended by many, locked by one.

No function here follows a symbolic link in the last part of a path, writes into a file that has another name as well,
or blocks on a FIFO planted there.
"""

from __future__ import annotations

import errno
import glob
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

PRIVATE = 0o600
PUBLIC = 0o644

# A lock file that was replaced while the lock on it was waited for is so again only if somebody does nothing else.
_LOCK_ATTEMPTS = 100

# Folders that are found and never made, such as a project's.
_found: set[Path] = set()

# Who is held up between opening a log and writing to it, while others fill and drop it, is not so again at once.
_APPEND_ATTEMPTS = 2

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_UPDATE = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class LockTimeoutError(TimeoutError):
    """The lock was held by somebody else for longer than we wait."""


class LockLostError(OSError):
    """The file that we hold a lock on is not the one at its path any more, so that somebody else may hold that one."""


class FolderGoneError(FileNotFoundError):
    """A folder that is not to be made anew was renamed or removed."""


def never_make(folder: Path) -> None:
    """Let no function here bring a folder back that others rename or remove while we are at work in it."""
    _found.add(folder)


def make_folder(folder: Path) -> None:
    """See that there is a folder; FolderGoneError if it would lie in one that is not to be made."""
    if folder.is_dir():
        return
    root = next((one for one in _found if one == folder or one in folder.parents), None)
    if root is None:
        folder.mkdir(parents=True, exist_ok=True)
        return
    if not root.is_dir():
        raise FolderGoneError(errno.ENOENT, os.strerror(errno.ENOENT), str(root))
    # One by one: the root can go at any moment, and `parents=True` would bring it back.
    for name in (*reversed(folder.relative_to(root).parents), folder.relative_to(root)):
        (root / name).mkdir(exist_ok=True) if name.parts else None


def _regular(fd: int, path: Path) -> int:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{path} is not a regular file")
    return fd


def _ours(fd: int, path: Path) -> int:
    """Return the descriptor of a regular file that has no other name, by which it could be somebody else's."""
    if os.fstat(_regular(fd, path)).st_nlink > 1:
        os.close(fd)
        raise OSError(f"{path} is a hard link to a file that has another name")
    return fd


def read(path: Path, *, limit: int) -> bytes:
    """Return at most `limit` bytes of a regular file; OSError for anything else."""
    with os.fdopen(_regular(os.open(path, _READ), path), "rb") as file:
        return file.read(limit)


def tail(path: Path, *, start: int, limit: int) -> bytes:
    """Return the last `limit` bytes at most of what a log holds from offset `start` on.

    One that ends before `start` was rotated meanwhile: then all that it holds came later. The hole that a rotation
    can leave at its beginning is left out.
    """
    with os.fdopen(_regular(os.open(path, _READ), path), "rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(start if start <= end else 0, end - limit))
        return file.read(limit).lstrip(b"\0")


@contextmanager
def replacement(path: Path, *, mode: int = PRIVATE) -> Iterator[Path]:
    """Lend a file beside `path` that takes its place in one step when the block ends, and is removed if it raises.

    A reader of `path` sees the old content or the new, never a part.
    """
    make_folder(path.parent)
    with _told_as(path):
        fd, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        draft = Path(name)
        try:
            try:
                os.fchmod(fd, mode)
            finally:
                os.close(fd)
            yield draft
            draft.replace(path)
        except BaseException:
            with suppress(OSError):
                draft.unlink()
            raise


@contextmanager
def _told_as(path: Path) -> Iterator[None]:
    """Let an error of a draft, or of no file, name the file that people know."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename).startswith(str(path.with_name(f".{path.name}."))):
            error.filename = str(path)
            del error.filename2
        raise


def sweep(path: Path) -> None:
    """Remove the drafts of `path` that killed writers left behind; only for who keeps other writers away."""
    for draft in path.parent.glob(f".{glob.escape(path.name)}.????????.tmp"):
        with suppress(OSError):
            draft.unlink()


def write(path: Path, data: bytes, *, mode: int = PRIVATE) -> None:
    """Replace a file's content in one step."""
    with replacement(path, mode=mode) as draft:
        draft.write_bytes(data)


def open_update(path: Path) -> int:
    """Return a descriptor that reads and writes a regular file of one name that exists; OSError for anything else."""
    return _ours(os.open(path, _UPDATE), path)


def open_append(path: Path, *, mode: int = PRIVATE) -> int:
    """Return a descriptor that appends to a regular file of one name, made if need be; OSError for anything else."""
    make_folder(path.parent)
    return _ours(os.open(path, _APPEND, mode), path)


def create(path: Path, *, mode: int = PRIVATE) -> None:
    """See that there is a regular file; OSError for anything else at its place."""
    os.close(open_append(path, mode=mode))


def append(path: Path, line: bytes) -> None:
    """Append one line by one write, which O_APPEND keeps whole among several writers, write(2).

    A file that was removed between our opening it and our writing takes the line with it; the line is then
    written once more.
    """
    for _ in range(_APPEND_ATTEMPTS):
        fd = open_append(path)
        try:
            left = line
            while left:
                # A disk that has just become full takes a part first, and says so only then.
                left = left[os.write(fd, left) :]
            if os.fstat(fd).st_nlink:
                return
        finally:
            os.close(fd)


class Lock:
    """A lock that is held, on the file that was at a path when it was taken."""

    def __init__(self, path: Path, found: os.stat_result) -> None:
        """Keep which file it is."""
        self.path = path
        self._found = found

    @property
    def is_lost(self) -> bool:
        """Whether another file, or none, is at the path by now: then somebody else can have the lock as well."""
        try:
            return not os.path.samestat(self._found, self.path.lstat())
        except OSError:
            return True


@contextmanager
def locked(path: Path, *, timeout: float) -> Iterator[Lock]:
    """Hold an advisory lock that the kernel drops when we die, however we die.

    It is a lock on the file that is at the path once it is held: whoever waited for that of a file which was removed
    meanwhile asks again. Raises LockTimeoutError after `timeout` seconds.
    """
    from filelock import FileLock, Timeout

    deadline = time.monotonic() + timeout
    for _ in range(_LOCK_ATTEMPTS):
        make_folder(path.parent)
        left = max(0.0, deadline - time.monotonic())
        lock = FileLock(path, timeout=left, poll_interval=0.02, mode=PRIVATE, thread_local=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise LockTimeoutError(str(path)) from error
        except FileNotFoundError:
            # The folder went between our making it and the lock.
            continue
        try:
            # filelock's own question is only whether the file has a name at all; whether it is this one is ours.
            fd = lock._context.lock_file_fd  # noqa: SLF001 - there is no public way to it
            held = Lock(path, path.lstat() if fd is None else os.fstat(fd))
            if not held.is_lost:
                yield held
                return
        finally:
            lock.release()
    raise LockTimeoutError(str(path))


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
