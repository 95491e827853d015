"""Logs stay small: whoever writes, rotates or is killed meanwhile, every line is there once and in order."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from sandbox import DEADLINE, REPOSITORY, wait_for

from remediation.primitives import file, rotate

LIMIT = 40_000
TEXT = b"".join(b"line %d\n" % number for number in range(10_000))
MEMORY = Path("/dev/shm")
# Numbered lines of lengths that go around, until SIGTERM; then it tells how many there were. It is as fast as can be,
# but waits while the log takes more than is kept, and can never fill the disk.
WRITER = """
import os, resource, signal, sys, time
from itertools import cycle
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000_000, 50_000_000))
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
number = 0
for length in cycle(map(int, sys.argv[1:])):
    while min((log := os.fstat(1)).st_blocks * 512, log.st_size) > 300_000 and not ended:
        time.sleep(0.001)
    if ended:
        break
    os.write(1, b"%d" % number + b"x" * length + b"\\n")
    number += 1
print(number, file=sys.stderr)
"""
# Rotates, but is killed where it takes a step for the first time after the given file exists.
KILLED = """
import os, signal, sys
from pathlib import Path
from unittest.mock import patch
from remediation.primitives import rotate
step, log, reached = sys.argv[1:]
real = os.fsync if step == "os.fsync" else rotate._remove_head
deadly = lambda *args: os.kill(os.getpid(), signal.SIGKILL) if Path(reached).exists() else real(*args)
with patch("remediation.primitives.rotate." + step, deadly):
    rotate.running(Path(log), 40_000)
"""
Way = Callable[[Path, int], bool]
EITHER = pytest.mark.parametrize("way", [rotate.running, rotate.idle])


@pytest.fixture(params=["disk", "memory"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Return where a log is to be: where tests usually write, and on a tmpfs, which only gives space back."""
    if request.param == "disk":
        yield tmp_path / "log"
        return
    if not MEMORY.is_dir():
        pytest.skip(f"there is no {MEMORY}")
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder, "log")


@contextmanager
def service(log: Path, program: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """Lend a process whose output is appended to a log, as that of a service is."""
    fd = file.open_append(log)
    try:
        command = [sys.executable, "-c", program, *map(str, arguments)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=fd, stderr=subprocess.PIPE)
    finally:
        os.close(fd)
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def as_a_user() -> Iterator[None]:
    """Give up root's right to write everywhere for a while, if we have it."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(before)


def lines(total: int, lengths: list[int]) -> bytes:
    """Return what the writer has written after so many lines."""
    return b"".join(b"%d%s\n" % (number, b"x" * lengths[number % len(lengths)]) for number in range(total))


def history(log: Path) -> Path:
    """Return where the lines go."""
    return log.with_name("log.1")


def lively(log: Path) -> bytes:
    """Return what a log holds without the hole at its beginning."""
    return log.read_bytes().lstrip(b"\0")


def both(log: Path) -> bytes:
    """Return what the log and its history hold."""
    return history(log).read_bytes() + lively(log)


def on_disk(path: Path) -> int:
    """Return the space that a file takes, without what the file system allocates ahead."""
    found = path.stat()
    return min(found.st_blocks * 512, found.st_size)


# While somebody writes.


@pytest.mark.parametrize("lengths", [[20], [0, 100, 3], [9000, 40_000], [4090, 1]], ids=str)
def test_every_line_of_a_running_service_is_there_once_and_in_order(log: Path, lengths: list[int]) -> None:
    generations = []

    with service(log, WRITER, *lengths) as writer:
        for _ in range(25):
            wait_for(lambda: rotate.running(log, LIMIT))
            generations.append(history(log).read_bytes())
        writer.send_signal(signal.SIGTERM)
        assert writer.stderr is not None
        total = int(writer.stderr.read())

    generations.append(lively(log))
    assert b"".join(generations) == lines(total, lengths)


def test_a_log_stays_small_however_much_its_service_writes(log: Path) -> None:
    talk = "import os\nwhile wanted := os.read(0, 1):\n    os.write(1, b'x' * 6999 + b'\\n')\n    os.write(2, b'.')\n"
    block, most, rotations = os.statvfs(log.parent).f_bsize, 0, 0

    with service(log, talk) as talker:
        assert talker.stdin is not None
        assert talker.stderr is not None
        for _ in range(100):
            os.write(talker.stdin.fileno(), b".")
            talker.stderr.read(1)
            rotations += rotate.running(log, LIMIT)
            most = max(most, on_disk(log))

    assert rotations >= 100 * 7000 // (LIMIT + 7000) - 1
    assert most < LIMIT + 2 * block
    assert on_disk(history(log)) < LIMIT + 7000 + 2 * block


def test_a_log_below_its_limit_is_left_alone(log: Path) -> None:
    log.write_bytes(b"x" * (LIMIT - 1))

    assert not rotate.running(log, LIMIT)
    assert not rotate.idle(log, LIMIT)

    assert [path.name for path in log.parent.iterdir()] == ["log"]


def test_a_hole_is_not_taken_for_lines(log: Path) -> None:
    block = os.statvfs(log.parent).f_bsize
    log.write_bytes(TEXT)

    assert rotate.running(log, LIMIT)
    assert on_disk(log) <= LIMIT // 4 + block
    with log.open("ab") as writer:
        writer.write(b"x" * 3 * block)
    assert not rotate.running(log, LIMIT)

    assert both(log) == TEXT + b"x" * 3 * block


def test_the_last_lines_are_found_whether_or_not_the_log_was_rotated_meanwhile(log: Path) -> None:
    log.write_bytes(TEXT)
    rotate.running(log, LIMIT)

    assert file.tail(log, start=50_000, limit=100_000) == lively(log)
    assert file.tail(log, start=50_000, limit=200) == TEXT[-200:]


@pytest.mark.parametrize("blocks", range(20, 25))
def test_a_log_is_cut_after_a_line_if_one_of_the_last_blocks_ends_with_one(log: Path, blocks: int) -> None:
    block = os.statvfs(log.parent).f_bsize
    log.write_bytes(b"x" * (blocks * block - 1) + b"\n" + b"y" * (25 * block - blocks * block))

    rotate.running(log, 24 * block)

    assert history(log).read_bytes() == b"x" * (blocks * block - 1) + b"\n"
    assert lively(log) == b"y" * (25 * block - blocks * block)


def test_a_log_is_cut_in_the_last_line_if_no_block_ends_with_one(log: Path) -> None:
    block = os.statvfs(log.parent).f_bsize
    log.write_bytes(b"x\n" + b"y" * (20 * block))

    rotate.running(log, 20 * block)

    assert history(log).read_bytes() == b"x\n" + b"y" * (20 * block - 2)
    assert lively(log) == b"yy"


def test_of_a_log_that_is_far_too_big_the_end_is_kept(log: Path) -> None:
    log.write_bytes(TEXT)

    rotate.running(log, 5000)

    kept = both(log)
    assert TEXT.endswith(kept)
    assert 50_000 <= len(kept) <= 50_000 + 5000 + 2 * os.statvfs(log.parent).f_bsize


def test_what_was_in_the_log_can_be_read_by_its_owner_alone(log: Path) -> None:
    log.write_bytes(TEXT)
    log.chmod(0o644)

    rotate.running(log, LIMIT)

    assert stat.S_IMODE(history(log).stat().st_mode) == file.PRIVATE
    assert stat.S_IMODE(log.stat().st_mode) == 0o644


# Killed, refused, hindered.


@pytest.mark.parametrize(("step", "reached"), [("os.fsync", "log"), ("_remove_head", "log.1")])
def test_one_that_is_killed_loses_no_line_and_the_next_one_leaves_none_double(
    log: Path, step: str, reached: str
) -> None:
    log.write_bytes(TEXT)

    killed = subprocess.run([sys.executable, "-c", KILLED, step, log, log.with_name(reached)], cwd=REPOSITORY)

    assert killed.returncode == -signal.SIGKILL
    assert log.read_bytes() == TEXT
    assert rotate.running(log, LIMIT)
    assert both(log) == TEXT
    assert {path.name for path in log.parent.iterdir()} <= {"log", "log.1", ".log.lock"}


def test_where_neither_can_be_done_that_is_said_and_nothing_is_touched(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace())
    log.write_bytes(TEXT)

    with pytest.raises(OSError, match=r"cannot shorten a log that is written: '.*log'") as told:
        rotate.running(log, LIMIT)

    assert told.value.errno == errno.EOPNOTSUPP
    assert log.read_bytes() == TEXT
    assert {path.name for path in log.parent.iterdir()} <= {"log", ".log.lock"}


@EITHER
def test_a_history_that_cannot_be_written_is_told_and_the_log_stays(log: Path, way: Way) -> None:
    log.write_bytes(TEXT)
    history(log).mkdir()

    with pytest.raises(IsADirectoryError):
        way(log, LIMIT)

    assert log.read_bytes() == TEXT
    assert list(history(log).iterdir()) == []


@EITHER
def test_a_folder_that_cannot_be_written_is_told_and_the_log_stays(way: Way) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        log.write_bytes(TEXT)
        log.chmod(0o666)
        log.parent.chmod(0o555)
        with as_a_user(), pytest.raises(PermissionError):
            way(log, LIMIT)
        log.parent.chmod(0o700)

        assert log.read_bytes() == TEXT
        assert list(log.parent.iterdir()) == [log]


@EITHER
@pytest.mark.parametrize("kind", ["missing", "missing folder", "symlink", "dangling symlink", "fifo", "directory"])
def test_only_a_regular_file_is_rotated_and_nothing_is_followed(tmp_path: Path, way: Way, kind: str) -> None:
    path, victim = tmp_path / "log", tmp_path / "victim"
    victim.write_bytes(TEXT)
    match kind:
        case "missing folder":
            path = tmp_path / "folder" / "log"
        case "symlink":
            path.symlink_to(victim)
        case "dangling symlink":
            path.symlink_to(tmp_path / "made")
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
    before = sorted(tmp_path.iterdir())

    assert not way(path, 1)

    assert victim.read_bytes() == TEXT
    assert sorted(tmp_path.iterdir()) == before


@EITHER
def test_what_somebody_else_rotates_is_left_to_them_without_waiting(log: Path, way: Way) -> None:
    log.write_bytes(TEXT)

    with file.locked(log.with_name(".log.lock"), timeout=DEADLINE):
        assert not way(log, LIMIT)

    assert log.read_bytes() == TEXT
    assert not history(log).exists()


@EITHER
def test_of_several_at_once_one_rotates(log: Path, way: Way) -> None:
    for _ in range(20):
        log.unlink(missing_ok=True)
        log.write_bytes(TEXT)
        with ThreadPoolExecutor(6) as pool:
            done = list(pool.map(lambda _: way(log, LIMIT), range(6)))

        assert sum(done) == 1
        assert history(log).read_bytes() + (lively(log) if log.exists() else b"") == TEXT


# When nobody writes.


def test_a_log_that_nobody_writes_becomes_history_as_it_is(log: Path) -> None:
    log.write_bytes(TEXT)
    history(log).write_bytes(b"older")
    inode = log.stat().st_ino

    assert rotate.idle(log, len(TEXT))

    assert history(log).read_bytes() == TEXT
    assert history(log).stat().st_ino == inode
    assert not log.exists()


def test_what_remained_after_a_hole_does_not_displace_the_history(log: Path) -> None:
    log.write_bytes(TEXT)
    rotate.running(log, LIMIT)
    rest = lively(log)

    assert not rotate.idle(log, LIMIT)

    assert log.read_bytes() == rest
    assert both(log) == TEXT


def test_a_full_log_with_a_hole_becomes_history_without_it(log: Path) -> None:
    log.write_bytes(TEXT)
    rotate.running(log, LIMIT)
    rest = lively(log)
    with log.open("ab") as writer:
        writer.write(TEXT)

    assert rotate.idle(log, LIMIT)

    assert history(log).read_bytes() == rest + TEXT
    assert not log.exists()


def test_a_log_that_is_nothing_but_a_hole_is_emptied(log: Path) -> None:
    with log.open("wb") as hole:
        hole.truncate(10**8)

    assert not rotate.running(log, LIMIT)
    assert not rotate.idle(log, LIMIT)

    assert log.read_bytes() == b""
    assert not history(log).exists()
