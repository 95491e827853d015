"""The probe of a heartbeat returns its age, or says in one sentence what is wrong with it."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from remediation.probes import heartbeat
from remediation.probes.heartbeat import OverdueError
from remediation.state.heartbeats import Heartbeat, HeartbeatError, send

HOUR = 3_600.0


def stored(folder: Path, beat: Heartbeat) -> str:
    """Store a heartbeat of another moment, and return that moment as people read it."""
    (folder / ".beat-backup.json").write_bytes(msgspec.json.encode(beat))
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(beat.at))


def problem(folder: Path, name: str = "backup", within: float = 25 * HOUR) -> str:
    """Return why the probe fails."""
    with pytest.raises(OverdueError) as caught:
        heartbeat.age(folder, name, within=within)
    return str(caught.value)


def test_a_fresh_one_has_its_age(tmp_path: Path) -> None:
    send(tmp_path, "backup")

    assert 0 <= heartbeat.age(tmp_path, "backup", within=60) < 30


def test_none_yet_names_the_command_that_sends_one(tmp_path: Path) -> None:
    assert problem(tmp_path) == "backup: no heartbeat yet; `auto-heal beat backup` sends one"


@pytest.mark.parametrize(
    ("age", "within", "said"),
    [
        (26 * HOUR + 180, 25 * HOUR, "26h 3m, more than 25h"),
        (3 * HOUR, HOUR, "3h, more than 1h"),
        (75 * HOUR, 48 * HOUR, "3d 3h, more than 2d"),
    ],
)
def test_a_late_one_is_told_with_its_age_the_limit_and_its_moment(
    tmp_path: Path, age: float, within: float, said: str
) -> None:
    moment = stored(tmp_path, Heartbeat(time.time() - age))

    assert problem(tmp_path, within=within) == f"backup: no heartbeat for {said}; last {moment}"


def test_one_of_the_future_does_not_count_as_fresh(tmp_path: Path) -> None:
    moment = stored(tmp_path, Heartbeat(time.time() + HOUR))

    assert problem(tmp_path) == f"backup: its last heartbeat is of the future, {moment}: the clock was set back since"


def test_a_clock_that_was_adjusted_is_no_fault(tmp_path: Path) -> None:
    stored(tmp_path, Heartbeat(time.time() + 5))

    assert heartbeat.age(tmp_path, "backup", within=60) == 0


def test_work_that_failed_fails_at_once(tmp_path: Path) -> None:
    moment = stored(tmp_path, Heartbeat(time.time(), 3))

    assert problem(tmp_path) == f"backup: its work failed with exit code 3, by its heartbeat of {moment}"


def test_a_wrong_name_is_told(tmp_path: Path) -> None:
    with pytest.raises(HeartbeatError, match=r"^a/b: no name of a heartbeat"):
        heartbeat.age(tmp_path, "a/b", within=60)
