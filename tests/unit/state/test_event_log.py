"""The event log: one safe line in the log and the same text on the terminal, with any other writers and readers."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sandbox import REPOSITORY

from remediation.messages.catalog import Language, Level
from remediation.messages.message import Message, printable
from remediation.state.event_log import EventLog, colourful, rule, terminal

EVIL = "a\x1b[31mred\r\n2025-01-01 00:00:00 [INFO] forged\x00\x07\x9b\x85\u2028\u202e\udcff\tb"

SPEAKER = """
import sys
from pathlib import Path
from remediation.state.event_log import EventLog
log, log_size, lines, name = sys.argv[1:]
event_log = EventLog(language="en", log_file=Path(log), named=False, log_size=int(log_size))
for number in range(int(lines)):
    event_log.log("sick", checks=f"{name * 60} {number}")
"""


def event_log(log_file: Path, language: Language = "en", *, named: bool = False) -> EventLog:
    """Return an event log without a terminal."""
    return EventLog(language=language, log_file=log_file, named=named)


# Safe lines.


@pytest.mark.parametrize(
    "text",
    ["Проверяем /api/health...", "⚠️ ✅ 🎉 👩\u200d💻", "{braces} 100% 'quotes' \"both\" back\\slash", "日本 é ß"],
)
def test_a_harmless_text_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_what_could_drive_a_terminal_or_forge_a_line_is_made_visible() -> None:
    assert printable(EVIL) == (
        r"a\x1b[31mred\r\n2025-01-01 00:00:00 [INFO] forged\x00\x07\x9b\x85\u2028\u202e\udcff\tb"
    )


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(), max_size=50))
def test_no_text_whatever_breaks_a_line(text: str) -> None:
    shown = printable(text)

    assert len(f".{shown}.".splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    shown.encode()


# The log.


def test_a_line_of_the_log_has_local_time_level_and_text(tmp_path: Path) -> None:
    before = time.strftime("%Y-%m-%d %H:%M:%S")
    speaker = event_log(tmp_path / "new" / "log")
    speaker.log("healed")
    speaker.log("sick", checks=EVIL)

    [first, second] = (tmp_path / "new" / "log").read_text(encoding="utf-8").split("\n")[:-1]

    assert speaker.lines == [first, second]
    assert before <= first[:19] <= time.strftime("%Y-%m-%d %H:%M:%S")
    assert first[19:] == " [SUCCESS] 🎉 Healed!"
    assert re.fullmatch(r"[-\d]{10} [:\d]{8} \[ERROR\] ❌ Still sick: a\\x1b.*", second)


def test_a_log_is_appended_to_and_rotated_when_it_is_full(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 999)
    speaker = EventLog(language="en", log_file=log, named=False, log_size=1000)

    speaker.log("healed")
    speaker.log("sick", checks="api")

    assert (tmp_path / "log.1").read_text(encoding="utf-8").endswith("🎉 Healed!\n")
    assert log.read_text(encoding="utf-8").endswith("❌ Still sick: api\n")


def test_a_log_that_cannot_be_rotated_is_appended_to(tmp_path: Path) -> None:
    (tmp_path / "log.1").mkdir()
    speaker = EventLog(language="en", log_file=tmp_path / "log", named=False, log_size=1)

    speaker.log("healed")
    speaker.log("healed")

    assert (tmp_path / "log").read_text(encoding="utf-8").splitlines() == speaker.lines


# With the larger size there is one rotation in all.
@pytest.mark.parametrize(("log_size", "complete"), [(40_000, True), (2000, False)])
def test_several_processes_tear_no_line_and_lose_none_but_those_of_dropped_history(
    tmp_path: Path, log_size: int, *, complete: bool
) -> None:
    log, names, lines_each = tmp_path / "log", "abcd", 150
    command = [sys.executable, "-c", SPEAKER, str(log), str(log_size), str(lines_each)]
    speakers = [subprocess.Popen([*command, name], cwd=REPOSITORY) for name in names]
    assert [speaker.wait() for speaker in speakers] == [0] * len(names)

    history = (tmp_path / "log.1").read_text(encoding="utf-8")
    said = [line.partition("] ")[2] for line in (history + log.read_text(encoding="utf-8")).splitlines()]
    everything = [f"❌ Still sick: {name * 60} {number}" for name in names for number in range(lines_each)]
    assert len(set(said)) == len(said)
    assert set(said) <= set(everything)
    if complete:
        assert len(said) == len(everything)


def test_a_voice_that_speaks_for_a_year_need_not_remember(tmp_path: Path) -> None:
    speaker = EventLog(language="en", log_file=tmp_path / "log", named=False, remember=False)

    speaker.log("healed")

    assert speaker.lines == []
    assert (tmp_path / "log").read_text(encoding="utf-8").endswith("🎉 Healed!\n")


def test_several_threads_never_mix_their_lines(tmp_path: Path) -> None:
    shown: list[str] = []
    speaker = EventLog(
        language="en", log_file=tmp_path / "log", named=False, terminal=lambda text, _: shown.append(text)
    )

    def speak() -> None:
        for _ in range(40):
            speaker.log("sick", checks="x" * 500)

    threads = [threading.Thread(target=speak) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert lines == speaker.lines
    assert {line.partition("] ")[2] for line in lines} == {"❌ Still sick: " + "x" * 500}
    assert len(shown) == len(lines) == 200


@pytest.mark.parametrize("planted", ["symlink", "directory", "fifo", "file for a folder"])
def test_a_log_that_cannot_be_written_is_told_once_and_stops_nothing(
    tmp_path: Path, planted: str, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "folder" / "log"
    if planted == "file for a folder":
        log.parent.write_text("")
    else:
        log.parent.mkdir()
    match planted:
        case "symlink":
            log.symlink_to(tmp_path / "victim")
        case "directory":
            log.mkdir()
        case "fifo":
            os.mkfifo(log)
    speaker = event_log(log)

    speaker.log("healed")
    speaker.log("healed")

    assert len(speaker.lines) == 2
    assert re.fullmatch(rf"auto-heal: cannot write {re.escape(str(log))}: .+\n", capfd.readouterr().err)
    assert not (tmp_path / "victim").exists()


# The terminal.


@contextmanager
def pseudo_terminal() -> Iterator[tuple[int, int]]:
    """Yield both ends of a terminal."""
    ours, theirs = pty.openpty()
    try:
        yield ours, theirs
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("environ", "on_terminal", "on_pipe"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": ""}, True, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, False, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
    ],
)
def test_colour_is_what_the_environment_says_and_then_what_the_terminal_is(
    environ: dict[str, str], *, on_terminal: bool, on_pipe: bool
) -> None:
    with pseudo_terminal() as (_, terminal_fd), Path(os.devnull).open("wb") as file:
        assert colourful(terminal_fd, environ) is on_terminal
        assert colourful(file.fileno(), environ) is on_pipe
    assert colourful(10**6, {}) is False


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (Level.INFO, b"text\r\n"),
        (Level.SUCCESS, b"\x1b[32mtext\x1b[0m\r\n"),
        (Level.WARN, b"\x1b[33mtext\x1b[0m\r\n"),
        (Level.ERROR, b"\x1b[31mtext\x1b[0m\r\n"),
    ],
)
def test_a_terminal_shows_the_level_as_a_colour(monkeypatch: pytest.MonkeyPatch, level: Level, shown: bytes) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with pseudo_terminal() as (ours, theirs):
        terminal(theirs)("text", level)

        assert os.read(ours, 100) == shown


@pytest.mark.parametrize(("columns", "width"), [(0, 60), (40, 40), (60, 60), (200, 60)])
def test_a_rule_is_as_wide_as_the_terminal_but_at_most_60_columns(columns: int, width: int) -> None:
    with pseudo_terminal() as (_, terminal_fd), Path(os.devnull).open("wb") as file:
        fcntl.ioctl(terminal_fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

        assert rule(terminal_fd) == "━" * width
        assert rule(file.fileno()) == ""


def test_a_rule_is_made_of_what_the_terminal_can_show() -> None:
    script = "import pty; from remediation.state.event_log import *; print(rule(pty.openpty()[1]))"
    environ = os.environ | {"PYTHONIOENCODING": "latin-1"}

    result = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, env=environ, capture_output=True, check=True
    )

    assert result.stdout == b"-" * 60 + b"\n"


def test_a_reader_that_went_away_is_ignored() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        terminal(writer)("text", Level.INFO)
    finally:
        os.close(writer)


def test_a_narrow_terminal_gets_escapes_for_what_it_cannot_show() -> None:
    script = "from remediation.state.event_log import *; terminal(1)('✅ é', Level.INFO)"
    environ = os.environ | {"PYTHONIOENCODING": "latin-1"}

    result = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, env=environ, capture_output=True, check=True
    )

    assert result.stdout == b"\\u2705 \xe9\n"


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (Level.ERROR, "<3>❌ x\n"),
        (Level.WARN, "<4>❌ x\n"),
        (Level.SUCCESS, "<6>❌ x\n"),
        (Level.INFO, "<6>❌ x\n"),
    ],
)
def test_the_journal_gets_the_level_as_a_priority_and_no_colour(
    monkeypatch: pytest.MonkeyPatch, level: Level, shown: str
) -> None:
    ours, its = os.pipe()
    try:
        status = os.fstat(its)
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        monkeypatch.setenv("FORCE_COLOR", "1")

        terminal(its)("❌ x", level)

        assert os.read(ours, 99).decode() == shown
    finally:
        os.close(ours)
        os.close(its)


# JSON.


def json_log(log_file: Path, language: Language = "en") -> EventLog:
    """Return an event log that writes JSON."""
    return EventLog(language=language, log_file=log_file, named=True, log_format="json")


def test_a_line_of_json_says_when_what_and_of_which_service(tmp_path: Path) -> None:
    before = datetime.now().astimezone()
    speaker = json_log(tmp_path / "log")
    speaker.incidents["api"] = "k3x7"

    speaker.log("freeing", name="api", port=8787, pid=12)
    speaker.log("pid", name="db", pid=13)
    speaker.log("healed")

    events = [json.loads(line) for line in (tmp_path / "log").read_text(encoding="utf-8").splitlines()]
    for event in events:
        moment = datetime.fromisoformat(event.pop("ts"))
        assert moment.utcoffset() == before.utcoffset()
        assert before - timedelta(seconds=1) <= moment <= datetime.now().astimezone()
    assert events == [
        {
            "level": "INFO", "event": "freeing", "text": "Freeing port 8787 (PID: 12)...", "service": "api",
            "incident": "k3x7", "values": {"port": 8787, "pid": 12},
        },
        {
            "level": "INFO", "event": "pid", "text": "db started with PID: 13", "service": "db", "values": {"pid": 13},
        },
        {"level": "SUCCESS", "event": "healed", "text": "🎉 Healed!"},
    ]  # fmt: skip
    assert speaker.lines[-1].endswith("[SUCCESS] 🎉 Healed!")


def test_json_has_the_text_in_the_language_and_the_event_in_none(tmp_path: Path) -> None:
    json_log(tmp_path / "log", "ru").log("process_died", names=["api", "db"])

    event = json.loads((tmp_path / "log").read_text(encoding="utf-8"))

    assert event["event"] == "process_died"
    assert event["text"].startswith("Процессы api, db")
    assert event["values"] == {"names": ["api", "db"]}
    assert "service" not in event


def test_json_holds_no_secret_and_one_line_whatever_is_logged(tmp_path: Path) -> None:
    speaker = json_log(tmp_path / "log")

    speaker.log("detail", line=f"{EVIL} password=hunter2xyz postgres://u:hunter2@db")
    speaker.log("died_saying", name="api", command="x", how=Message("exited", {"status": 3}), last=EVIL)

    text = (tmp_path / "log").read_text(encoding="utf-8")
    first, second = map(json.loads, text.splitlines())
    assert "hunter2" not in text
    assert "\\u001b" not in text
    assert first["values"]["line"].startswith(r"a\x1b[31mred\r\n2025")
    assert second["values"]["how"] == "exited with status 3"


def test_a_log_in_json_is_rotated_too(tmp_path: Path) -> None:
    speaker = EventLog(language="en", log_file=tmp_path / "log", named=False, log_size=1, log_format="json")

    speaker.log("healed")
    speaker.log("healed")

    for name in ("log", "log.1"):
        assert json.loads((tmp_path / name).read_text(encoding="utf-8"))["event"] == "healed"


def test_the_terminal_shows_text_beside_a_log_in_json(tmp_path: Path) -> None:
    shown: list[str] = []
    speaker = EventLog(
        language="en", log_file=tmp_path / "log", named=False, log_format="json",
        terminal=lambda text, _: shown.append(text),
    )  # fmt: skip

    speaker.log("healed")

    assert shown == ["🎉 Healed!"]
