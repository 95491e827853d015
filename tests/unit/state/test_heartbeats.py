"""A heartbeat is stored whole and readable by all; its age does not depend on the clock; their number is bounded."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from remediation.state import heartbeats
from remediation.state.heartbeats import Heartbeat, HeartbeatError, last, send
from remediation.system.capabilities import boot_id


def test_what_was_sent_is_what_is_found(tmp_path: Path) -> None:
    before = time.time()

    send(tmp_path / "state", "backup", 3)
    found = last(tmp_path / "state", "backup")

    assert found is not None
    assert found.code == 3
    assert before <= found.at <= time.time()
    assert 0 <= found.age < 30


def test_another_user_may_read_it(tmp_path: Path) -> None:
    send(tmp_path, "backup")

    assert (tmp_path / ".beat-backup.json").stat().st_mode & 0o777 == 0o644


def test_a_link_in_its_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("mine")
    (tmp_path / ".beat-backup.json").symlink_to(other)

    assert last(tmp_path, "backup") is None
    send(tmp_path, "backup")

    assert other.read_text() == "mine"
    assert last(tmp_path, "backup") is not None


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b'{"at": "now"}', b"\xff", b"1" * 2_000, b'{"at": 1e300}', b'{"at": -1}',
        b'{"at": 1, "code": 256}', b'{"at": 1, "code": -1}',
    ],
)  # fmt: skip
def test_a_corrupt_file_is_no_heartbeat(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".beat-backup.json").write_bytes(content)

    assert last(tmp_path, "backup") is None


@pytest.mark.parametrize("steady", [1e300, -1e300])
def test_a_moment_that_this_boot_cannot_have_had_is_measured_by_the_clock(steady: float) -> None:
    beat = Heartbeat(time.time() - 100, 0, boot_id(), steady)

    assert 99 < beat.age < 160


@pytest.mark.parametrize("name", ["", "a b", "../../etc/cron", "-a", "a.b", "x" * 65, "ü"])
def test_a_name_that_could_be_a_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(HeartbeatError):
        send(tmp_path, name)

    assert list(tmp_path.iterdir()) == []


def test_the_names_of_a_project_are_bounded_and_those_that_exist_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "MOST", 2)
    send(tmp_path, "a")
    send(tmp_path, "b")

    with pytest.raises(HeartbeatError, match="there are heartbeats of 2 names already"):
        send(tmp_path, "c")
    send(tmp_path, "a", 1)

    assert last(tmp_path, "c") is None
    assert last(tmp_path, "a") != last(tmp_path, "b")


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop all clocks: the time is 1000, and 50 seconds have passed since the boot `now`."""
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    monkeypatch.setattr(heartbeats, "boot_id", lambda: "now")
    monkeypatch.setattr(heartbeats, "steady", lambda: 50.0)


@pytest.mark.usefixtures("clocks")
@pytest.mark.parametrize(
    ("beat", "age"),
    [
        (Heartbeat(990.0, 0, "now", 30.0), 20.0),
        (Heartbeat(5000.0, 0, "now", 30.0), 20.0),
        (Heartbeat(990.0, 0, "before", 900.0), 10.0),
        (Heartbeat(1500.0, 0, "before", 900.0), -500.0),
        (Heartbeat(990.0), 10.0),
    ],
    ids=["same boot", "clock set back", "earlier boot", "of the future", "no boot id"],
)
def test_within_a_boot_no_change_of_the_clock_changes_the_age(beat: Heartbeat, age: float) -> None:
    assert beat.age == age
