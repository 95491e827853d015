"""How far a log was looked at is kept from one run to the next, and never read from or written to a link."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from remediation.config.load import load_project
from remediation.config.model import Project
from remediation.state import log_positions
from remediation.state.log_positions import Position

POSITION = Position(7, b"\xff before")


@pytest.fixture
def ours(tmp_path: Path) -> Project:
    """A project."""
    (tmp_path / "auto-heal.toml").write_text('[services.api]\ncommand = "true"\n')
    return load_project(tmp_path, {})


def file_of(ours: Project) -> Path:
    """Return the file of the positions."""
    return ours.state_folder / "log-positions.json"


def test_a_position_is_kept_for_its_owner_alone(ours: Project) -> None:
    log_positions.keep(ours, "a", POSITION, timeout=5)
    log_positions.keep(ours, "b", Position(0), timeout=5)

    assert log_positions.recall(ours, "a") == POSITION
    assert log_positions.recall(ours, "b") == Position(0)
    assert log_positions.recall(ours, "c") is None
    assert stat.S_IMODE(file_of(ours).stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}', b"\xff", b"[" * 100_000])
def test_a_file_that_is_not_ours_is_no_position_and_is_replaced(ours: Project, content: bytes) -> None:
    ours.state_folder.mkdir()
    file_of(ours).write_bytes(content)

    assert log_positions.recall(ours, "a") is None
    log_positions.keep(ours, "a", POSITION, timeout=5)
    assert log_positions.recall(ours, "a") == POSITION


def test_a_link_is_replaced_and_not_followed(ours: Project, tmp_path: Path) -> None:
    ours.state_folder.mkdir()
    victim = tmp_path / "victim"
    victim.write_text('{"a": {"offset": 1}}')
    file_of(ours).symlink_to(victim)

    assert log_positions.recall(ours, "a") is None
    log_positions.keep(ours, "a", POSITION, timeout=5)

    assert victim.read_text() == '{"a": {"offset": 1}}'
    assert log_positions.recall(ours, "a") == POSITION


def test_the_positions_that_were_kept_last_stay(ours: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_positions, "_MOST", 2)

    for key in ("a", "b", "a", "c"):
        log_positions.keep(ours, key, POSITION, timeout=5)

    assert [key for key in "abc" if log_positions.recall(ours, key)] == ["a", "c"]


def test_threads_that_keep_at_once_lose_nothing(ours: Project) -> None:
    threads = [
        threading.Thread(target=log_positions.keep, args=(ours, str(number), POSITION), kwargs={"timeout": 10})
        for number in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(log_positions.recall(ours, str(number)) for number in range(10))
