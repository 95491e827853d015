"""Read, replace, append to and lock files safely.

No function here follows a symbolic link in the last part of a path, writes into a file with a second hard link, or
blocks on a planted FIFO.
"""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from typing_extensions import Self

PRIVATE = 0o600
PUBLIC = 0o644

# A lock file can be replaced while we wait for its lock. More replacements in a row than this are deliberate.
_LOCK_ATTEMPTS = 100

# Existing folders that must never be created anew, such as a project's.
_never_made: set[Path] = set()

# A log can be rotated and removed between our open and our write. That does not happen twice in a row.
_APPEND_ATTEMPTS = 2

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_UPDATE = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class LockTimeoutError(TimeoutError):
    """Another process holds the lock for longer than we wait."""


class LockLostError(OSError):
    """Our locked file is no longer the one at its path, so another process may hold a lock there."""


class FolderGoneError(FileNotFoundError):
    """A folder that must not be created anew was renamed or removed."""


def never_make(folder: Path) -> None:
    """Forbid every function here to create a folder anew after another program has renamed or removed it."""
    _never_made.add(folder)


def make_folder(folder: Path) -> None:
    """Create a folder if it is missing; raise FolderGoneError if that needs one that must not be created."""
    if folder.is_dir():
        return
    root = next((path for path in _never_made if path == folder or path in folder.parents), None)
    if root is None:
        folder.mkdir(parents=True, exist_ok=True)
        return
    if not root.is_dir():
        raise FolderGoneError(errno.ENOENT, os.strerror(errno.ENOENT), str(root))
    # Create each level by itself: the root can vanish at any moment, and `parents=True` would create it anew.
    for name in (*reversed(folder.relative_to(root).parents), folder.relative_to(root)):
        (root / name).mkdir(exist_ok=True) if name.parts else None


def _regular(fd: int, path: Path) -> int:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{path} is not a regular file")
    return fd


def _ours(fd: int, path: Path) -> int:
    """Return the descriptor of a regular file without a second hard link, which could be another user's file."""
    if os.fstat(_regular(fd, path)).st_nlink > 1:
        os.close(fd)
        raise OSError(f"{path} is a hard link to a file that has another name")
    return fd


def open_read(path: Path) -> BinaryIO:
    """Open a regular file for reading; raise OSError for anything else."""
    return os.fdopen(_regular(os.open(path, _READ), path), "rb")


def read(path: Path, *, limit: int) -> bytes:
    """Return at most `limit` bytes of a regular file; raise OSError for anything else."""
    with open_read(path) as file:
        return file.read(limit)


def tail(path: Path, *, start: int, limit: int) -> bytes:
    """Return at most the last `limit` bytes of a log after offset `start`.

    A log that ends before `start` was rotated meanwhile, so all its bytes are newer. The result leaves out the hole
    that a rotation can leave at the beginning.
    """
    with open_read(path) as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(start if start <= end else 0, end - limit))
        return file.read(limit).lstrip(b"\0")


@contextmanager
def replacement(path: Path, *, mode: int = PRIVATE) -> Iterator[Path]:
    """Yield a draft that atomically replaces `path` when the block ends, or is removed if the block raises.

    A reader of `path` sees the old or the new content, never a mixture.
    """
    make_folder(path.parent)
    with _errors_named_after(path):
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
def _errors_named_after(path: Path) -> Iterator[None]:
    """Put `path` into errors that name its draft or no file."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename).startswith(str(path.with_name(f".{path.name}."))):
            error.filename = str(path)
            del error.filename2
        raise


def sweep(path: Path) -> None:
    """Remove the drafts of `path` that killed writers left behind; the caller must keep other writers out."""
    for draft in matching(path.parent, f".{glob.escape(path.name)}.????????.tmp"):
        with suppress(OSError):
            draft.unlink()


def matching(folder: Path, pattern: str) -> list[Path]:
    """Return the paths in a folder that match a pattern of fnmatch; none if the folder is missing.

    Path.glob checks for the folder before it lists it, and so fails if another process removes it in between.
    """
    try:
        names = os.listdir(folder)  # noqa: PTH208 - iterdir opens the folder later, in a generator
    except FileNotFoundError:
        return []
    return [folder / name for name in fnmatch.filter(names, pattern)]


def write(path: Path, data: bytes, *, mode: int = PRIVATE) -> None:
    """Replace the content of a file atomically."""
    with replacement(path, mode=mode) as draft:
        draft.write_bytes(data)


def open_update(path: Path) -> int:
    """Open an existing regular file with one link for reading and writing; raise OSError for anything else."""
    return _ours(os.open(path, _UPDATE), path)


def open_append(path: Path, *, mode: int = PRIVATE) -> int:
    """Open or create a regular file with one link for appending; raise OSError for anything else."""
    make_folder(path.parent)
    return _ours(os.open(path, _APPEND, mode), path)


def create(path: Path, *, mode: int = PRIVATE) -> None:
    """Create an empty regular file if there is none; raise OSError if the path is anything else."""
    os.close(open_append(path, mode=mode))


def append(path: Path, line: bytes) -> None:
    """Append a line by a single write, which O_APPEND keeps whole among several writers, write(2).

    If the file was removed between our open and our write, the line is lost with it and is written again.
    """
    for _ in range(_APPEND_ATTEMPTS):
        fd = open_append(path)
        try:
            rest = line
            while rest:
                # A disk that has just become full accepts a part first, and fails only at the next write.
                rest = rest[os.write(fd, rest) :]
            if os.fstat(fd).st_nlink:
                return
        finally:
            os.close(fd)


class Lock:
    """A held lock on the file that was at a path when we took it."""

    def __init__(self, path: Path, locked_file: os.stat_result) -> None:
        """Remember which file is locked."""
        self.path = path
        self._locked_file = locked_file

    @property
    def is_lost(self) -> bool:
        """Whether another file or none is at the path now, so that another process can hold the lock too."""
        try:
            return not os.path.samestat(self._locked_file, self.path.lstat())
        except OSError:
            return True


@contextmanager
def locked(path: Path, *, timeout: float) -> Iterator[Lock]:
    """Hold an advisory lock, which the kernel releases when we die for any reason.

    The locked file is the one at the path at that moment: if the file was removed while we waited, we try again.
    Raises LockTimeoutError after `timeout` seconds.
    """
    from filelock import FileLock, Timeout

    deadline = time.monotonic() + timeout
    for _ in range(_LOCK_ATTEMPTS):
        make_folder(path.parent)
        remaining = max(0.0, deadline - time.monotonic())
        lock = FileLock(path, timeout=remaining, poll_interval=0.02, mode=PRIVATE, thread_local=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise LockTimeoutError(str(path)) from error
        except FileNotFoundError:
            # The folder vanished after we created it.
            continue
        try:
            # filelock only checks that the file still has some name. We check that it has this one.
            fd = lock._context.lock_file_fd  # noqa: SLF001 - there is no public access
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
    """A folder held open by a descriptor, so that it stays the same when its path changes."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def at(cls, path: Path) -> Folder:
        """Open a folder, and create it if it is missing.

        Raises OSError if it is a symbolic link, not a folder, or another user's.
        """
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
        """Create and open a folder in this one; raise FileExistsError if the name is taken."""
        os.mkdir(name, _MODE, dir_fd=self._fd)
        return self._open(name)

    def write(self, name: str, data: bytes) -> None:
        """Create a file that only its owner can read; raise FileExistsError if the name is taken."""
        fd = os.open(name, _CREATE, PRIVATE, dir_fd=self._fd)
        with os.fdopen(fd, "wb") as file:
            file.write(data)

    def folders(self) -> list[str]:
        """Return the names of the folders in this folder."""
        with os.scandir(self._fd) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]

    def bytes_of_files(self) -> int:
        """Return the total bytes of the files directly in this folder."""
        with os.scandir(self._fd) as entries:
            entry_stats = [entry.stat(follow_symlinks=False) for entry in entries]
        return sum(entry_stat.st_size for entry_stat in entry_stats if stat.S_ISREG(entry_stat.st_mode))

    def clear(self) -> None:
        """Remove the files in this folder without following links; raise OSError if it holds folders."""
        for entry in os.listdir(self._fd):  # noqa: PTH208 - pathlib cannot list a descriptor
            os.unlink(entry, dir_fd=self._fd)

    def size(self, name: str) -> int:
        """Return the total bytes of the files in a folder in this one."""
        with self._open(name) as inner:
            return inner.bytes_of_files()

    def remove(self, name: str) -> None:
        """Remove a folder in this one with its files."""
        with self._open(name) as inner:
            inner.clear()
        os.rmdir(name, dir_fd=self._fd)
