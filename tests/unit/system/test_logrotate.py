"""Log rotation: every line stays, once and in order, even if a process writes meanwhile."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rotated import LIMIT, TEXT, both, history, lively, log_on
from sandbox import wait_for
from systems import needs_cuts

from remediation.system import files, logrotate

pytestmark = needs_cuts

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


@pytest.fixture(params=["disk", "memory"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Return the path of a log."""
    with log_on(request.param, tmp_path) as path:
        yield path


@contextmanager
def service(log: Path, program: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process whose output is appended to a log, as that of a service is."""
    fd = files.open_append(log)
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


def lines(total: int, lengths: list[int]) -> bytes:
    """Return the writer's output after this many lines."""
    return b"".join(b"%d%s\n" % (number, b"x" * lengths[number % len(lengths)]) for number in range(total))


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
            wait_for(lambda: logrotate.running(log, LIMIT))
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
            rotations += logrotate.running(log, LIMIT)
            most = max(most, on_disk(log))

    assert rotations >= 100 * 7000 // (LIMIT + 7000) - 1
    assert most < LIMIT + 2 * block
    assert on_disk(history(log)) < LIMIT + 7000 + 2 * block


def test_a_log_below_its_limit_is_left_alone(log: Path) -> None:
    log.write_bytes(b"x" * (LIMIT - 1))

    assert not logrotate.running(log, LIMIT)
    assert not logrotate.idle(log, LIMIT)

    assert [path.name for path in log.parent.iterdir()] == ["log"]


def test_a_hole_is_not_taken_for_lines(log: Path) -> None:
    block = os.statvfs(log.parent).f_bsize
    log.write_bytes(TEXT)

    assert logrotate.running(log, LIMIT)
    assert on_disk(log) <= LIMIT // 4 + block
    with log.open("ab") as writer:
        writer.write(b"x" * 3 * block)
    assert not logrotate.running(log, LIMIT)

    assert both(log) == TEXT + b"x" * 3 * block


def test_the_last_lines_are_found_whether_or_not_the_log_was_rotated_meanwhile(log: Path) -> None:
    log.write_bytes(TEXT)
    logrotate.running(log, LIMIT)

    assert files.tail(log, start=50_000, limit=100_000) == lively(log)
    assert files.tail(log, start=50_000, limit=200) == TEXT[-200:]


@pytest.mark.parametrize("blocks", range(20, 25))
def test_a_log_is_cut_after_a_line_if_one_of_the_last_blocks_ends_with_one(log: Path, blocks: int) -> None:
    block = os.statvfs(log.parent).f_bsize
    log.write_bytes(b"x" * (blocks * block - 1) + b"\n" + b"y" * (25 * block - blocks * block))

    logrotate.running(log, 24 * block)

    assert history(log).read_bytes() == b"x" * (blocks * block - 1) + b"\n"
    assert lively(log) == b"y" * (25 * block - blocks * block)


def test_a_log_is_cut_in_the_last_line_if_no_block_ends_with_one(log: Path) -> None:
    block = os.statvfs(log.parent).f_bsize
    log.write_bytes(b"x\n" + b"y" * (20 * block))

    logrotate.running(log, 20 * block)

    assert history(log).read_bytes() == b"x\n" + b"y" * (20 * block - 2)
    assert lively(log) == b"yy"


def test_of_a_log_that_is_far_too_big_the_end_is_kept(log: Path) -> None:
    log.write_bytes(TEXT)

    logrotate.running(log, 5000)

    kept = both(log)
    assert TEXT.endswith(kept)
    assert 50_000 <= len(kept) <= 50_000 + 5000 + 2 * os.statvfs(log.parent).f_bsize


def test_what_was_in_the_log_can_be_read_by_its_owner_alone(log: Path) -> None:
    log.write_bytes(TEXT)
    log.chmod(0o644)

    logrotate.running(log, LIMIT)

    assert stat.S_IMODE(history(log).stat().st_mode) == files.PRIVATE
    assert stat.S_IMODE(log.stat().st_mode) == 0o644


# When nobody writes.


def test_a_log_that_nobody_writes_becomes_history_as_it_is(log: Path) -> None:
    log.write_bytes(TEXT)
    history(log).write_bytes(b"older")
    inode = log.stat().st_ino

    assert logrotate.idle(log, len(TEXT))

    assert history(log).read_bytes() == TEXT
    assert history(log).stat().st_ino == inode
    assert not log.exists()


def test_what_remained_after_a_hole_does_not_displace_the_history(log: Path) -> None:
    log.write_bytes(TEXT)
    logrotate.running(log, LIMIT)
    rest = lively(log)

    assert not logrotate.idle(log, LIMIT)

    assert log.read_bytes() == rest
    assert both(log) == TEXT


def test_a_full_log_with_a_hole_becomes_history_without_it(log: Path) -> None:
    log.write_bytes(TEXT)
    logrotate.running(log, LIMIT)
    rest = lively(log)
    with log.open("ab") as writer:
        writer.write(TEXT)

    assert logrotate.idle(log, LIMIT)

    assert history(log).read_bytes() == rest + TEXT
    assert not log.exists()


def test_a_log_that_is_nothing_but_a_hole_is_emptied(log: Path) -> None:
    with log.open("wb") as hole:
        hole.truncate(10**8)

    assert not logrotate.running(log, LIMIT)
    assert not logrotate.idle(log, LIMIT)

    assert log.read_bytes() == b""
    assert not history(log).exists()
