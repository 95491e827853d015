"""Logs that stay small: what a full one holds becomes NAME.1 in place of an older NAME.1, and no line is lost.

Renaming is enough for a log that nobody holds open. A service writes to the same descriptor for as long as it
lives, so the lines of a running one are taken out of the file under its hands.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from remediation.system import files

# Modes of fallocate(2).
_KEEP_SIZE, _PUNCH_HOLE, _COLLAPSE_RANGE = 0x01, 0x02, 0x08
# What it answers when a file system, or the size of its blocks, does not allow a mode.
_REFUSED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)

# A service can write faster than we copy: of a log so many times too big, only the end is worth the time and space.
_MOST_KEPT = 10
_CHUNK = 1 << 20
# The unit of st_blocks, stat(2).
_STAT_BLOCK = 512


def idle(path: Path, limit: int) -> bool:
    """Rename a log that has grown to `limit` bytes to NAME.1, and return whether that was done.

    For a log that nobody holds open, or whose writers open it anew for each line by `file.append`. Who finds somebody
    else at it leaves it to them. The hole that `running` can leave is closed first, and does not count. OSError if it
    cannot be done.
    """
    if part(path):
        return True
    if not _is_full(path, limit, holes=True):
        return False
    with suppress(files.LockTimeoutError), files.locked(_lock(path), timeout=0):
        # Who comes second finds the new, small file.
        if _is_full(path, limit, holes=True):
            _close_hole(path)
        if _is_full(path, limit, holes=True):
            path.replace(rotated(path))
            return True
    return False


def running(path: Path, limit: int) -> bool:
    """Move what a log holds to NAME.1 while others append to it, and return whether that was done.

    It is done when the log takes `limit` bytes on disk, and skipped when somebody else is at it. The log is cut
    between two blocks of the file system, after the end of a line if there is such a place in the last quarter of
    `limit`, else in the last line; the rest stays. So NAME.1 and NAME together are always complete and in order, but
    a line may begin in the one and end in the other. Of what has grown to more than ten times `limit` unseen the
    oldest is dropped, as rotations in time would have done.

    Where blocks cannot be removed (tmpfs, btrfs) they are given back: the log keeps its apparent size, and begins
    with a hole that takes no space.

    A log that is known by another name as well is left alone.

    Killed half-way, lines may stand in both files, until the next rotation. Writers have to append, as O_APPEND does.
    OSError if it cannot be done; the log is then as it was.
    """
    if not _is_full(path, limit, holes=False):
        return False
    with suppress(files.LockTimeoutError), files.locked(_lock(path), timeout=0):
        log = files.open_update(path)
        try:
            return _move(log, path, limit)
        finally:
            os.close(log)
    return False


def part(path: Path) -> bool:
    """Rename a log that is known by another name as well to NAME.1, so that nothing more is written there.

    By a hard link, whoever plants it or copies by links, what is written to the one file is written to the other.
    Returns whether that was done; who finds somebody else at it leaves it to them. OSError if it cannot be done.
    """
    if not _has_other_name(path):
        return False
    with suppress(files.LockTimeoutError), files.locked(_lock(path), timeout=0):
        if _has_other_name(path):
            path.replace(rotated(path))
            return True
    return False


def _has_other_name(path: Path) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_nlink > 1


def rotated(path: Path) -> Path:
    """Return where the earlier lines of a log are."""
    return path.with_name(f"{path.name}.1")


def _lock(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _is_full(path: Path, limit: int, *, holes: bool) -> bool:
    """Return whether a log has grown to `limit`, with or without its holes; what is no regular file never has."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    size = found.st_size if holes else _on_disk(found)
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and size >= limit


def _on_disk(found: os.stat_result) -> int:
    """Return the bytes that a log takes on disk, without what some file systems allocate ahead."""
    return min(found.st_blocks * _STAT_BLOCK, found.st_size)


def _close_hole(path: Path) -> None:
    log = files.open_update(path)
    try:
        if start := _data_start(log):
            _save(log, path, start, os.fstat(log).st_size)
    finally:
        os.close(log)


def _move(log: int, path: Path, limit: int) -> bool:
    found, block, start = os.fstat(log), os.fstatvfs(log).f_bsize, _data_start(log)
    if min(_on_disk(found), found.st_size - start) < limit:
        return False
    cut = _cut(log, start, found.st_size, block=block, search=limit // 4)
    if cut <= start:
        return False
    _try_out(path, block)
    _save(log, rotated(path), max(start, cut - _MOST_KEPT * limit), cut)
    _remove_head(log, cut)
    return True


def _data_start(log: int) -> int:
    """Return where the hole at the beginning ends, lseek(2); 0 if there is none."""
    seek_data = getattr(os, "SEEK_DATA", os.SEEK_SET)
    try:
        return os.lseek(log, 0, seek_data)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return os.fstat(log).st_size


def _cut(log: int, start: int, size: int, *, block: int, search: int) -> int:
    """Return the last boundary of blocks before the end at which a line begins, or the very last if all are farther.

    Something has to remain, since a file cannot be collapsed to nothing.
    """
    last = (size - 1) // block * block
    for boundary in range(last, max(start, last - search), -block):
        if os.pread(log, 1, boundary - 1) == b"\n":
            return boundary
    return last


def _save(log: int, target: Path, start: int, end: int) -> None:
    """Put a part of the log in place of `target`, on disk before anything is removed."""
    files.sweep(target)
    with files.replacement(target) as draft, draft.open("wb") as copy:
        while start < end and (data := os.pread(log, min(_CHUNK, end - start), start)):
            copy.write(data)
            start += len(data)
        copy.flush()
        os.fsync(copy.fileno())


def _try_out(path: Path, block: int) -> None:
    """Raise OSError unless a file beside the log can be shortened; the log is then not copied in vain."""
    with tempfile.TemporaryFile(dir=path.parent) as probe:
        probe.truncate(2 * block)
        try:
            _remove_head(probe.fileno(), block)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            reason = "this system cannot shorten a log that is written"
            raise OSError(errno.EOPNOTSUPP, reason, str(path)) from None


def _remove_head(log: int, length: int) -> None:
    """Remove the first bytes of a file in one step, whoever appends to it; where that cannot be, free their space."""
    try:
        _fallocate(log, _COLLAPSE_RANGE, length)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        _fallocate(log, _PUNCH_HOLE | _KEEP_SIZE, length)


def _fallocate(log: int, mode: int, length: int) -> None:
    """Call fallocate(2), of which Python knows only the part that POSIX has, for the first bytes of a file."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    # With 32 bits, glibc has offsets of 64 bits only under the second name; musl may have only the first.
    call = getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if call(log, mode, 0, length):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
