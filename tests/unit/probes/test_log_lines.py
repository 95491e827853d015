"""What was written to a log since the last look is found, whatever became of the file."""

from __future__ import annotations

import os
import re
import time
import tracemalloc
from pathlib import Path

import pytest

from remediation.probes import log_lines
from remediation.probes.log_lines import Look
from remediation.state.log_positions import Position
from remediation.system import logrotate

ERROR = re.compile("ERROR")
MIB = 1 << 20


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """An empty log."""
    path = tmp_path / "app.log"
    path.touch()
    return path


def write(log: Path, text: str | bytes) -> None:
    """Append to a log."""
    with log.open("ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def look(
    log: Path, start: Position | None = None, *, least: Position | None = None, pattern: re.Pattern[str] = ERROR
) -> Look:
    """Look at a log."""
    return log_lines.look(log, pattern, start=start, least=least, deadline=time.monotonic() + 10)


def seen(log: Path) -> Position:
    """Return the position at the end of a log that was looked at."""
    return look(log).end


def test_lines_that_match_are_counted_and_the_first_is_told(log: Path) -> None:
    write(log, "well\nERROR one\r\nwell\nERROR two\n")

    found = look(log)

    assert (found.lines, found.found, found.first) == (4, 2, "ERROR one")


def test_only_what_came_since_is_looked_at(log: Path) -> None:
    write(log, "ERROR old\n")
    start = seen(log)
    write(log, "new\n")

    assert look(log, start)[:3] == (1, 0, "")
    assert look(log)[:2] == (2, 1)


def test_nothing_new_is_nothing_found(log: Path) -> None:
    write(log, "ERROR old\n")
    start = seen(log)

    assert look(log, start) == (0, 0, "", start)


def test_the_first_look_is_at_the_last_mebibyte(log: Path) -> None:
    write(log, "ERROR old\n" + "x" * 99 + "\n")
    write(log, b"well\n" * (MIB // 5))

    assert look(log).found == 0


def test_what_came_before_the_last_start_is_not_looked_at(log: Path) -> None:
    write(log, "well\n")
    start = seen(log)
    write(log, "ERROR of the one that was healed\n")
    least = seen(log)
    write(log, "well\n")

    assert look(log, start, least=least)[:2] == (1, 0)
    assert look(log, least=least)[:2] == (1, 0)


def test_a_start_in_a_log_that_was_replaced_since_hides_nothing(log: Path) -> None:
    write(log, "the log of the last start begins here\n")
    least = seen(log)
    log.write_text("ERROR, and a new file that is long enough for the old position\n")

    assert look(log, least=least).found == 1


# A line that is still being written.


def test_a_line_is_found_as_soon_as_it_matches_and_once(log: Path) -> None:
    write(log, "ERROR half")

    first = look(log)
    write(log, " and the rest\n")
    second = look(log, first.end)

    assert (first.found, second.found) == (1, 0)


def test_a_line_that_did_not_match_yet_is_looked_at_again(log: Path) -> None:
    write(log, "well\nERR")

    first = look(log)
    write(log, "OR\n")
    second = look(log, first.end)

    assert (first.found, second.found, second.first) == (0, 1, "ERROR")


# Rotation.


def test_the_rest_of_a_log_that_was_renamed_is_looked_at_before_the_new_one(log: Path) -> None:
    write(log, "ERROR old\n")
    start = seen(log)
    write(log, "ERROR last\n")
    log.replace(logrotate.rotated(log))
    write(log, "well\nERROR new\n")

    assert look(log, start)[:3] == (3, 2, "ERROR last")


def test_a_log_that_was_copied_and_emptied_is_looked_at_from_its_beginning(log: Path) -> None:
    write(log, "ERROR old\n" * 10)
    start = seen(log)
    logrotate.rotated(log).write_bytes(log.read_bytes())
    os.truncate(log, 0)
    write(log, "ERROR new\n")

    assert look(log, start)[:3] == (1, 1, "ERROR new")


def test_a_log_that_grew_past_its_old_end_after_it_was_emptied_is_noticed(log: Path) -> None:
    write(log, "ERROR old\n")
    start = seen(log)
    os.truncate(log, 0)
    write(log, "ERROR new, and longer than what was there before\n")

    assert look(log, start).first == "ERROR new, and longer than what was there before"


def test_a_log_that_vanished_and_came_again_is_looked_at_from_its_beginning(log: Path) -> None:
    write(log, "well\n" * 100)
    start = seen(log)
    log.unlink()
    write(log, "ERROR new\n")

    assert look(log, start).found == 1


@pytest.mark.parametrize("moved", ["before the cut", "after the cut"])
@pytest.mark.parametrize("times", [1, 2])
def test_our_own_rotation_hides_no_line_and_shows_none_twice(log: Path, moved: str, times: int) -> None:
    for _ in range(times):
        write(log, b"ERROR old\n" * 10_000)
        start = seen(log)
        if moved == "before the cut":
            write(log, b"well\n" * 20_000)
            write(log, "ERROR new\n" + "well\n" * 2_000)
        assert logrotate.running(log, 100_000)
        if moved == "after the cut":
            write(log, "well\nERROR new\n")

        assert look(log, start)[1:3] == (1, "ERROR new")


# Bounds.


def test_of_what_is_too_much_the_end_is_looked_at(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_lines, "MOST", 1_000)
    start = seen(log)
    write(log, "ERROR\n" + "well\n" * 1_000)

    found = look(log, start)

    assert found.found == 0
    assert 190 <= found.lines <= 201
    assert found.end.offset == log.stat().st_size


@pytest.mark.parametrize(
    ("content", "lines"),
    [(b"x", 0), (b"\0", 0), (b"\xff\xfe\n", 1 << 23), (b"\n", 1 << 23)],
    ids=["an endless line", "zeros", "binary data", "empty lines"],
)
def test_a_huge_log_takes_little_memory(log: Path, content: bytes, lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_lines, "MOST", MIB)
    start = seen(log)
    with log.open("wb") as file:
        for _ in range(8):
            file.write(content * (MIB // len(content)))
        file.write(b"\nERROR at last\n")
    tracemalloc.start()
    try:
        found = look(log, start)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert (found.found, found.first) == (1, "ERROR at last")
    assert found.lines >= min(lines, 2)
    assert most < 8 * MIB


def test_what_stands_across_two_parts_of_a_long_line_is_found(log: Path) -> None:
    write(log, b"x" * ((1 << 16) - 2) + b"ERROR" + b"x" * 1_000 + b"\n")

    assert look(log).found == 1


def test_a_log_with_a_hole_is_looked_at_after_it(log: Path) -> None:
    with log.open("wb") as file:
        file.seek(1 << 40)
        file.write(b"ERROR after\n")

    assert look(log)[1:3] == (1, "ERROR after")
    assert look(log, Position(5, b"gone\n"))[1:3] == (1, "ERROR after")


def test_the_clock_ends_a_look(log: Path) -> None:
    write(log, "well\n")

    with pytest.raises(TimeoutError):
        log_lines.look(log, ERROR, start=None, least=None, deadline=time.monotonic())


@pytest.mark.parametrize("kind", ["missing", "link", "fifo", "folder"])
def test_what_is_no_file_is_not_looked_at(log: Path, kind: str) -> None:
    log.unlink()
    if kind == "link":
        log.symlink_to("/etc/hostname")
    elif kind == "fifo":
        os.mkfifo(log)
    elif kind == "folder":
        log.mkdir()

    with pytest.raises(OSError, match=r"No such file|symbolic links|not a regular file|Is a directory"):
        look(log)
