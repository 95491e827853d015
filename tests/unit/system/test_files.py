"""One file: whatever is planted at its path, nothing hangs, no link is followed, no data is torn or leaked."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import pytest
from sandbox import DEADLINE, REPOSITORY

from remediation.system import files

KINDS = ["missing", "symlink", "dangling symlink", "fifo", "fifo with both ends open", "directory", "socket"]
NOT_MISSING = KINDS[1:]


@pytest.fixture
def planted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Plant the requested thing in place of a file."""
    path, victim = tmp_path / "file", tmp_path / "victim"
    victim.write_bytes(b"untouched")
    victim.chmod(0o640)
    opened: list[int] = []
    match request.param:
        case "symlink":
            path.symlink_to(victim)
        case "dangling symlink":
            path.symlink_to(tmp_path / "made")
        case "fifo" | "fifo with both ends open":
            os.mkfifo(path)
            opened = [os.open(path, os.O_RDWR)] if "open" in request.param else []
        case "directory":
            path.mkdir()
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                here = Path.cwd()
                os.chdir(tmp_path)
                server.bind("file")
                os.chdir(here)
    yield path
    for fd in opened:
        os.close(fd)
    assert victim.read_bytes() == b"untouched"
    assert stat.S_IMODE(victim.stat().st_mode) == 0o640
    assert not (tmp_path / "made").exists()


def mode(path: Path) -> int:
    """Return the permissions of a file."""
    return stat.S_IMODE(path.lstat().st_mode)


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Run work in several threads at once, and assert that none failed."""
    errors: list[BaseException] = []

    def one(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


# What is planted.


@pytest.mark.parametrize("planted", KINDS, indirect=True)
def test_only_a_regular_file_is_read_and_the_refusal_leaks_nothing(planted: Path) -> None:
    before = sorted(Path("/dev/fd").iterdir())

    with pytest.raises(OSError, match="file"):
        files.read(planted, limit=10)
    with pytest.raises(OSError, match="file"):
        files.tail(planted, start=0, limit=10)
    with pytest.raises(OSError, match="file"):
        files.open_update(planted)

    assert sorted(Path("/dev/fd").iterdir()) == before


@pytest.mark.parametrize("planted", NOT_MISSING, indirect=True)
def test_only_a_regular_file_is_appended_to_and_the_refusal_leaks_nothing(planted: Path) -> None:
    before = sorted(Path("/dev/fd").iterdir())

    with pytest.raises(OSError, match="file"):
        files.open_append(planted)
    with pytest.raises(OSError, match="file"):
        files.append(planted, b"line\n")

    assert sorted(Path("/dev/fd").iterdir()) == before


@pytest.mark.parametrize("planted", [kind for kind in KINDS if kind != "directory"], indirect=True)
def test_a_file_is_written_in_place_of_what_is_planted(planted: Path) -> None:
    files.write(planted, b"new")

    assert planted.read_bytes() == b"new"
    assert not planted.is_symlink()
    assert mode(planted) == files.PRIVATE


@pytest.mark.parametrize("planted", ["directory"], indirect=True)
def test_a_write_that_fails_leaves_nothing_behind(planted: Path) -> None:
    before = sorted(planted.parent.iterdir())

    with pytest.raises(OSError, match="directory"):
        files.write(planted, b"new")

    assert sorted(planted.parent.iterdir()) == before


@pytest.mark.parametrize("planted", ["symlink", "dangling symlink", "directory"], indirect=True)
def test_a_lock_follows_nothing_that_is_planted(planted: Path) -> None:
    with pytest.raises(OSError, match="file"), files.locked(planted, timeout=1):
        pass


def test_drafts_of_a_writer_that_was_killed_are_swept_and_nothing_else(tmp_path: Path) -> None:
    others = [tmp_path / name for name in ("lo[g", ".lo[g.lock", ".lo[g.1.abcdefgh.tmp", ".log.abcdefgh.tmp")]
    for path in [*others, tmp_path / ".lo[g.abcd_f12.tmp"]:
        path.touch()

    files.sweep(tmp_path / "lo[g")

    assert sorted(tmp_path.iterdir()) == sorted(others)


# Reading and writing.


@pytest.mark.parametrize(("limit", "expected"), [(0, b""), (3, b"abc"), (6, b"abcdef"), (99, b"abcdef")])
def test_no_more_than_the_limit_is_read(tmp_path: Path, limit: int, expected: bytes) -> None:
    (tmp_path / "file").write_bytes(b"abcdef")

    assert files.read(tmp_path / "file", limit=limit) == expected


@pytest.mark.parametrize(
    ("start", "limit", "expected"),
    [(0, 99, b"abcdef"), (0, 2, b"ef"), (4, 99, b"ef"), (4, 1, b"f"), (6, 9, b""), (99, 9, b"abcdef"), (2, 4, b"cdef")],
)
def test_a_tail_begins_at_the_start_or_at_the_limit_and_anew_in_a_file_that_was_shortened(
    tmp_path: Path, start: int, limit: int, expected: bytes
) -> None:
    (tmp_path / "file").write_bytes(b"abcdef")

    assert files.tail(tmp_path / "file", start=start, limit=limit) == expected


@pytest.mark.parametrize("wanted", [files.PRIVATE, files.PUBLIC])
def test_a_written_file_has_the_mode_asked_for_whatever_the_umask_and_the_old_mode(tmp_path: Path, wanted: int) -> None:
    path = tmp_path / "new" / "folder" / "file"
    umask = os.umask(0o077)
    try:
        files.write(path, b"old", mode=0o666)
        files.write(path, b"new", mode=wanted)
    finally:
        os.umask(umask)

    assert path.read_bytes() == b"new"
    assert mode(path) == wanted
    assert list(path.parent.iterdir()) == [path]


def test_a_reader_sees_the_old_content_or_the_new_but_never_a_part(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([letter]) * 300_000 for letter in b"abc"]
    files.write(path, contents[0])

    def work(number: int) -> None:
        for _ in range(30):
            files.write(path, contents[number])
            assert files.read(path, limit=1_000_000) in contents

    in_threads(3, work)

    assert list(tmp_path.iterdir()) == [path]


def test_a_descriptor_for_appending_is_private_and_not_inherited(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    fd = files.open_append(path)
    try:
        assert not os.get_inheritable(fd)
        assert mode(path) == files.PRIVATE
    finally:
        os.close(fd)


# Appending.


def test_lines_of_several_writers_are_never_torn(tmp_path: Path) -> None:
    path = tmp_path / "log"
    script = (
        "import sys; from pathlib import Path; from remediation.system import files\n"
        "for n in range(200):\n"
        "    files.append(Path(sys.argv[1]), f'{sys.argv[2] * 300} {n}\\n'.encode())\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, path, w], cwd=REPOSITORY) for w in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]

    lines = path.read_text().splitlines()
    assert sorted(lines) == sorted(f"{letter * 300} {number}" for letter in "abc" for number in range(200))


@pytest.mark.parametrize("renamed", [False, True])
def test_a_line_for_a_file_that_was_removed_meanwhile_is_written_again_but_not_for_one_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, renamed: bool
) -> None:
    path, real = tmp_path / "log", files.open_append
    meanwhile = [lambda: path.rename(tmp_path / "log.1") if renamed else path.unlink()]

    def slow(path: Path) -> int:
        fd = real(path)
        while meanwhile:
            meanwhile.pop()()
        return fd

    monkeypatch.setattr(files, "open_append", slow)

    files.append(path, b"line\n")

    assert [left.read_bytes() for left in tmp_path.iterdir()] == [b"line\n"]
    assert path.exists() is not renamed


# Locking.


def test_a_lock_has_one_holder_at_a_time(tmp_path: Path) -> None:
    holders: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        with files.locked(tmp_path / "new" / "lock", timeout=DEADLINE):
            holders.append(number)
            most.append(len(holders))
            threading.Event().wait(0.01)
            holders.remove(number)

    in_threads(6, work)

    assert most == [1] * 6
    assert mode(tmp_path / "new" / "lock") == files.PRIVATE


def test_a_lock_is_waited_for_no_longer_than_asked_and_dropped_by_a_holder_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    script = (
        "import sys; from pathlib import Path; from remediation.system import files\n"
        "with files.locked(Path(sys.argv[1]), timeout=9):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"

        with pytest.raises(files.LockTimeoutError, match="lock"), files.locked(path, timeout=0.1):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()

        with files.locked(path, timeout=DEADLINE):
            pass


def test_a_lock_is_not_inherited_by_a_process_that_is_started_meanwhile(tmp_path: Path) -> None:
    with files.locked(tmp_path / "lock", timeout=1):
        child = subprocess.Popen(["sleep", "600"], close_fds=False)
    try:
        with files.locked(tmp_path / "lock", timeout=0.5):
            assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_a_lock_is_lost_when_its_file_is_not_at_its_path_any_more(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    with files.locked(path, timeout=1) as lock:
        assert not lock.is_lost
        path.parent.rename(tmp_path / "renamed")
        assert lock.is_lost
        with files.locked(path, timeout=1) as another:
            assert not another.is_lost
            assert lock.is_lost


def test_a_lock_on_a_file_that_was_replaced_in_the_meantime_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, replaced = tmp_path / "lock", filelock.FileLock.acquire, list[bool]()

    def slow(lock: filelock.FileLock) -> object:
        taken = real(lock)
        if len(replaced) < 3:
            path.unlink()
            replaced.append(True)
            path.touch()
        return taken

    monkeypatch.setattr(filelock.FileLock, "acquire", slow)

    with files.locked(path, timeout=DEADLINE) as lock:
        assert len(replaced) == 3
        assert not lock.is_lost


def test_a_folder_that_is_only_found_is_not_brought_back(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    files.never_make(root)
    files.write(root / "deep" / "down" / "file", b"there")
    root.rename(tmp_path / "renamed")

    for write in (
        lambda path: files.write(path, b""),
        lambda path: files.append(path, b""),
        files.create,
        files.make_folder,
    ):
        with pytest.raises(files.FolderGoneError):
            write(root / "deep" / "file")
    with pytest.raises(files.FolderGoneError), files.locked(root / "lock", timeout=1):
        pass
    assert not root.exists()
