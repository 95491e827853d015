"""Files planted where auto-heal writes: it follows no link, never hangs, and reports the reason."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from recording import configured, rows
from recording import run as recorded
from sandbox import Sandbox
from surroundings import LINKS, SPECIAL, Victim
from watching import kill

from remediation.config.load import load_project
from remediation.state.history import HistoryError
from remediation.state.service_state import Pause, Store
from remediation.system import logrotate

# Where something else than a file of ours keeps nobody from being healed.
HARMLESS = [
    ".api-server.pid", "auto-heal.log", "auto-heal.log.1", ".auto-heal.log.lock", ".api-server.log.lock",
    ".auto-heal/api.json", ".auto-heal/.history.new.lock", ".auto-heal/.reserve", ".auto-heal/.monitor.lock",
]  # fmt: skip
# Of these, a folder is in the way of a file that has to be written.
NO_FOLDERS = [".api-server.pid", ".auto-heal/api.json"]
COMMANDS = ["check", "plan", "monitor", "start", "stop", "status", "pause", "resume", "report"]


@pytest.fixture
def victim(tmp_path_factory: pytest.TempPathFactory) -> Victim:
    """A file outside of the project."""
    return Victim(tmp_path_factory.mktemp("outside") / "victim")


@pytest.mark.parametrize("kind", LINKS + SPECIAL)
def test_what_is_planted_is_not_touched_and_the_service_is_healed(project: Sandbox, victim: Victim, kind: str) -> None:
    for name in HARMLESS:
        if kind != "directory" or name not in NO_FOLDERS:
            victim.plant(project.root / name, kind)

    result = project.auto_heal("check")

    assert result.code == 0, result
    assert project.answers()
    victim.is_untouched()


@pytest.mark.parametrize("name", NO_FOLDERS)
def test_a_folder_in_the_place_of_a_file_is_named_and_nothing_started(project: Sandbox, name: str) -> None:
    (project.root / name).mkdir(parents=True)

    result = project.auto_heal("check")

    assert result.code == 1, result
    assert f"api: {project.root}/{name}: Is a directory" in result.output
    assert project.family() == []


@pytest.mark.parametrize("kind", ["symlink", "dangling symlink", "fifo", "directory"])
def test_a_service_whose_log_or_lock_is_planted_is_not_started_and_the_reason_told(
    project: Sandbox, victim: Victim, kind: str
) -> None:
    log, lock = project.root / "api-server.log", project.root / ".auto-heal" / "api.lock"
    victim.plant(log, kind)

    first = project.auto_heal("start")
    log.rmdir() if kind == "directory" else log.unlink()
    lock.unlink()
    victim.plant(lock, kind)
    second = project.auto_heal("start")

    assert first.code == 1, first
    assert f"api: its log_file {log} cannot be written: " in first.output
    if kind == "fifo":
        # Nothing is written to a lock, or read from it.
        assert second.code == 0, second
    else:
        assert second.code == 1, second
        assert f"{lock}: " in second.output
        assert project.family() == []
    victim.is_untouched()


def test_a_log_that_has_another_name_becomes_history_and_is_not_written_any_more(
    project: Sandbox, victim: Victim
) -> None:
    project.configure('env = { CRASH = "1" }')
    for name in ("auto-heal.log", "api-server.log"):
        victim.plant(project.root / name, "hard link")

    project.auto_heal("start")

    victim.is_untouched()
    for name in ("auto-heal.log", "api-server.log"):
        assert (project.root / f"{name}.1").samefile(victim.path)
        assert (project.root / name).stat().st_size > 0
        assert stat.S_IMODE((project.root / name).stat().st_mode) == 0o600


def test_a_running_log_that_has_another_name_is_not_cut(tmp_path: Path) -> None:
    log, other = tmp_path / "log", tmp_path / "other"
    log.write_bytes(b"line\n" * 100_000)
    other.hardlink_to(log)

    assert not logrotate.running(log, 1_000)

    assert other.read_bytes() == b"line\n" * 100_000
    assert sorted(tmp_path.iterdir()) == [log, other]


@pytest.mark.parametrize("kind", LINKS + SPECIAL)
def test_a_pause_that_is_planted_is_a_pause(project: Sandbox, victim: Victim, kind: str) -> None:
    victim.plant(project.root / ".auto-heal" / ".pause.json", kind)

    assert Store(load_project(project.root, {})).paused() == Pause()

    victim.is_untouched()


# The history.


@pytest.mark.parametrize("kind", LINKS + SPECIAL)
@pytest.mark.parametrize("end", ["", "-wal", "-shm"])
def test_a_history_beside_which_something_is_planted_is_not_written(
    tmp_path: Path, victim: Victim, end: str, kind: str
) -> None:
    history = configured(tmp_path)
    history.record_run(recorded(1.0))
    if not end:
        history.path.unlink()
    victim.plant(history.path.with_name(f"history.db{end}"), kind)

    with pytest.raises(HistoryError, match=r"is not a regular file|is a hard link to a file that has another name"):
        history.record_run(recorded(2.0))
    with pytest.raises(HistoryError, match="cannot be read: "):
        rows(history, "SELECT 1")

    victim.is_untouched()


# The report, and folders.


@pytest.mark.parametrize("kind", ["dangling symlink", "hard link"])
def test_a_report_takes_the_place_of_a_link(healthy: Sandbox, victim: Victim, kind: str) -> None:
    victim.plant(healthy.root / "reports" / "health.xml", kind)

    assert healthy.auto_heal("check").code == 0

    assert healthy.property("verdict") == "healthy"
    victim.is_untouched()


@pytest.mark.parametrize("kind", SPECIAL)
def test_a_report_that_is_no_file_is_left_alone_and_nothing_is_checked(project: Sandbox, kind: str) -> None:
    Victim(project.root / "victim").plant(project.root / "reports" / "health.xml", kind)

    result = project.auto_heal("check")

    assert result.code == 4, result
    assert "is no regular file; it is not replaced" in result.output
    assert project.family() == []


@pytest.mark.parametrize(
    ("kind", "code", "reason"),
    [
        ("symlink", 4, "is a symbolic link, which is not followed"),
        ("dangling symlink", 4, "is a symbolic link, which is not followed"),
        ("fifo", 3, "cannot be replaced: "),
        ("socket", 3, "cannot be replaced: "),
    ],
)
def test_a_folder_of_reports_that_is_none_is_told(
    project: Sandbox, tmp_path_factory: pytest.TempPathFactory, kind: str, code: int, reason: str
) -> None:
    outside = Victim(tmp_path_factory.mktemp("outside") / "victim", folder=True)
    outside.plant(project.root / "reports", kind)

    result = project.auto_heal("check")

    assert result.code == code, result
    assert reason in result.output
    assert project.family() == []
    outside.is_untouched()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_memory_that_is_a_link_is_refused_by_every_command(
    project: Sandbox, tmp_path_factory: pytest.TempPathFactory, command: str
) -> None:
    outside = Victim(tmp_path_factory.mktemp("outside") / "victim", folder=True)
    outside.plant(project.root / ".auto-heal", "symlink")

    result = project.auto_heal(command)

    assert result.code == 4, result
    assert f"{project.root}/.auto-heal is a symbolic link, which is not followed; " in result.output
    assert project.family() == []
    outside.is_untouched()


@pytest.mark.parametrize("kind", ["dangling symlink", "fifo", "socket", "file"])
def test_a_memory_that_is_no_folder_is_refused(project: Sandbox, victim: Victim, kind: str) -> None:
    victim.plant(project.root / ".auto-heal", kind)

    result = project.check()

    assert result.code == 4, result
    assert "/.auto-heal is " in result.output
    assert project.family() == []
    victim.is_untouched()


def test_what_is_planted_while_the_service_runs_is_not_touched_either(healthy: Sandbox, victim: Victim) -> None:
    kill(healthy)
    for name in (".api-server.pid", ".auto-heal/api.json"):
        (healthy.root / name).unlink()
        victim.plant(healthy.root / name, "symlink")

    result = healthy.auto_heal("check")

    assert result.code == 0, result
    assert healthy.servers() == [healthy.pid]
    victim.is_untouched()
