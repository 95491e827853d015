"""A rotation that is killed or refused loses no line, and touches no foreign file."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from rotated import LIMIT, TEXT, both, history, lively, log_on
from sandbox import DEADLINE, REPOSITORY
from systems import needs_cuts

from remediation.system import files, logrotate

pytestmark = needs_cuts

# Rotates, but is killed where it takes a step for the first time after the given file exists.
KILLED = """
import os, signal, sys
from pathlib import Path
from unittest.mock import patch
from remediation.system import logrotate
step, log, reached = sys.argv[1:]
real = os.fsync if step == "os.fsync" else logrotate._remove_head
deadly = lambda *args: os.kill(os.getpid(), signal.SIGKILL) if Path(reached).exists() else real(*args)
with patch("remediation.system.logrotate." + step, deadly):
    logrotate.running(Path(log), 40_000)
"""
Way = Callable[[Path, int], bool]
EITHER = pytest.mark.parametrize("way", [logrotate.running, logrotate.idle])


@pytest.fixture(params=["disk", "memory"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Return the path of a log."""
    with log_on(request.param, tmp_path) as path:
        yield path


@contextmanager
def as_a_user() -> Iterator[None]:
    """Give up root's right to write everywhere for a while, if the process has it."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize(("step", "reached"), [("os.fsync", "log"), ("_remove_head", "log.1")])
def test_one_that_is_killed_loses_no_line_and_the_next_one_leaves_none_double(
    log: Path, step: str, reached: str
) -> None:
    log.write_bytes(TEXT)

    killed = subprocess.run([sys.executable, "-c", KILLED, step, log, log.with_name(reached)], cwd=REPOSITORY)

    assert killed.returncode == -signal.SIGKILL
    assert log.read_bytes() == TEXT
    assert logrotate.running(log, LIMIT)
    assert both(log) == TEXT
    assert {path.name for path in log.parent.iterdir()} <= {"log", "log.1", ".log.lock"}


def test_where_neither_can_be_done_that_is_said_and_nothing_is_touched(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace())
    log.write_bytes(TEXT)

    with pytest.raises(OSError, match=r"cannot shorten a log that is written: '.*log'") as told:
        logrotate.running(log, LIMIT)

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

    with files.locked(log.with_name(".log.lock"), timeout=DEADLINE):
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
