"""Rotate full logs: their lines replace NAME.1, and none is lost.

A log that no process holds open is renamed. A running service keeps writing to the same descriptor, so its lines
are moved out of the open file.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from remediation.system import files
from remediation.system.capabilities import can_cut_files

# Modes of fallocate(2).
_KEEP_SIZE, _PUNCH_HOLE, _COLLAPSE_RANGE = 0x01, 0x02, 0x08
# Its errors if the file system, or the size of its blocks, does not allow a mode.
_REFUSED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)

# A service can write faster than we copy. A rotation keeps at most the last this many times the limit.
_MOST_KEPT = 10
_CHUNK = 1 << 20
# The unit of st_blocks, stat(2).
_STAT_BLOCK = 512


def idle(path: Path, limit: int) -> bool:
    """Rename a log that has grown to `limit` bytes to NAME.1, and return whether it was renamed.

    Use this for a log that no process holds open, or whose writers open it for each line by `files.append`. It does
    nothing while another process rotates the log. It first closes the hole that `running` can leave, which does not
    count. Raises OSError if the log cannot be rotated.
    """
    if part(path):
        return True
    if not _is_full(path, limit, holes=True):
        return False
    with suppress(files.LockTimeoutError), files.locked(_lock(path), timeout=0):
        # Another process may have rotated the log before we got the lock.
        if _is_full(path, limit, holes=True):
            _close_hole(path)
        if _is_full(path, limit, holes=True):
            path.replace(rotated(path))
            return True
    return False


def running(path: Path, limit: int) -> bool:
    """Move the lines of a log to NAME.1 while others append to it, and return whether they were moved.

    The log is rotated when it takes `limit` bytes on disk, unless another process is rotating it. The cut is at a
    block boundary of the file system: after the end of a line if the last quarter of `limit` has such a boundary,
    otherwise at the last one. The rest stays. So NAME.1 and NAME together are always complete and in order, but a
    line may begin in one and end in the other. If the log has grown beyond ten times `limit`, its oldest lines are
    dropped, as earlier rotations would have done.

    Where the file system cannot remove blocks (tmpfs, btrfs), it frees their space: the log keeps its apparent size,
    and begins with a hole.

    A log with a second hard link is left alone.

    If the rotation is killed, both files may hold the same lines until the next one. Writers must use O_APPEND.
    Raises OSError if the log cannot be rotated; the log is then unchanged.
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
    """Rename a log with a second hard link to NAME.1, and return whether it was renamed.

    Otherwise all that we write to the log would go to the other name as well, whether planted or left by a copy with
    hard links. Does nothing while another process rotates the log. Raises OSError if the log cannot be renamed.
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
        log = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(log.st_mode) and log.st_nlink > 1


def rotated(path: Path) -> Path:
    """Return the path of a log's earlier lines."""
    return path.with_name(f"{path.name}.1")


def _lock(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _is_full(path: Path, limit: int, *, holes: bool) -> bool:
    """Return whether a log has grown to `limit` bytes, with or without holes; False unless it is a regular file."""
    try:
        log = path.lstat()
    except FileNotFoundError:
        return False
    size = log.st_size if holes else _on_disk(log)
    return stat.S_ISREG(log.st_mode) and log.st_nlink == 1 and size >= limit


def _on_disk(log: os.stat_result) -> int:
    """Return the bytes that a log takes on disk, without blocks that some file systems preallocate."""
    return min(log.st_blocks * _STAT_BLOCK, log.st_size)


def _close_hole(path: Path) -> None:
    log = files.open_update(path)
    try:
        if start := data_start(log):
            _save(log, path, start, os.fstat(log).st_size)
    finally:
        os.close(log)


def _move(log: int, path: Path, limit: int) -> bool:
    log_stat, block, start = os.fstat(log), os.fstatvfs(log).f_bsize, data_start(log)
    if min(_on_disk(log_stat), log_stat.st_size - start) < limit:
        return False
    cut = _cut(log, start, log_stat.st_size, block=block, search=limit // 4)
    if cut <= start:
        return False
    _check_removable(path, block)
    _save(log, rotated(path), max(start, cut - _MOST_KEPT * limit), cut)
    _remove_head(log, cut)
    return True


def data_start(log: int) -> int:
    """Return the end of the hole at the beginning of an open log, lseek(2); 0 if there is none."""
    if not can_cut_files():
        # Then `running` has left no hole.
        return 0
    try:
        return os.lseek(log, 0, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return os.fstat(log).st_size


def _cut(log: int, start: int, size: int, *, block: int, search: int) -> int:
    """Return the last block boundary within `search` bytes at which a line begins, otherwise the last boundary.

    The result lies before the end, since a file cannot be collapsed to nothing.
    """
    last = (size - 1) // block * block
    for boundary in range(last, max(start, last - search), -block):
        if os.pread(log, 1, boundary - 1) == b"\n":
            return boundary
    return last


def _save(log: int, target: Path, start: int, end: int) -> None:
    """Replace `target` by a part of the log, and sync it to disk before anything is removed."""
    files.sweep(target)
    with files.replacement(target) as draft, draft.open("wb") as copy:
        while start < end and (data := os.pread(log, min(_CHUNK, end - start), start)):
            copy.write(data)
            start += len(data)
        copy.flush()
        os.fsync(copy.fileno())


def _check_removable(path: Path, block: int) -> None:
    """Raise OSError unless a file beside the log can be shortened, so that the log is not copied in vain."""
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
    """Remove the first bytes of a file atomically while others append; if impossible, free their space."""
    try:
        _fallocate(log, _COLLAPSE_RANGE, length)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        _fallocate(log, _PUNCH_HOLE | _KEEP_SIZE, length)


def _fallocate(log: int, mode: int, length: int) -> None:
    """Call fallocate(2) for the first bytes of a file; Python itself offers only posix_fallocate."""
    if not can_cut_files():
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    # On 32-bit systems, glibc takes 64-bit offsets only in fallocate64. musl may have only fallocate.
    call = getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if call(log, mode, 0, length):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
