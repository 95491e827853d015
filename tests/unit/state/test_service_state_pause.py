"""A pause of healing: it ends when it should, whatever becomes of the clock, and an unreadable one does not end."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from remediation.messages.message import Message
from remediation.state import service_state
from remediation.state.service_state import Pause, Store
from remediation.system import capabilities

BOOT_CLOCK = 77


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop all clocks: the time is 1000, and 50 seconds have passed since the boot `now`, 40 of them awake."""
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", BOOT_CLOCK, raising=False)
    monkeypatch.setattr(time, "clock_gettime", {BOOT_CLOCK: 50.0, time.CLOCK_MONOTONIC: 40.0}.__getitem__)
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    monkeypatch.setattr(service_state, "boot_id", lambda: "now")
    monkeypatch.setattr(capabilities, "has_boot_clock", lambda: True)


@pytest.fixture
def pause_file(store: Store) -> Path:
    """Return the file of the pause, whose folder exists."""
    store.project.state_folder.mkdir()
    return store.project.state_folder / ".pause.json"


def test_a_pause_without_values_has_no_end() -> None:
    assert not any(msgspec.structs.asdict(Pause()).values())


@pytest.mark.usefixtures("clocks")
def test_a_pause_lasts_so_many_seconds_on_both_clocks() -> None:
    assert Pause.lasting(10.0) == Pause(1010.0, "now", 60.0)


@pytest.mark.usefixtures("clocks")
def test_without_a_clock_since_the_boot_a_pause_is_measured_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "has_boot_clock", lambda: False)

    assert Pause.lasting(10.0) == Pause(1010.0, "now", 50.0)


@pytest.mark.usefixtures("clocks")
@pytest.mark.parametrize(
    ("pause", "is_over"),
    [
        (Pause(), False), (Pause(1000.0), True), (Pause(1000.1), False),
        (Pause(9999.0, "now", 50.0), True), (Pause(1.0, "now", 50.1), False),
        (Pause(1000.0, "before", 99.0), True), (Pause(1000.1, "before", 1.0), False),
    ],
    ids=[
        "no end", "its moment", "before its moment", "its moment, and the clock was set back",
        "before its moment, and the clock was set forward", "of an earlier boot", "of an earlier boot, before",
    ],
)  # fmt: skip
def test_a_pause_is_over_when_so_much_time_has_passed(pause: Pause, *, is_over: bool) -> None:
    assert pause.is_over is is_over


@pytest.mark.usefixtures("clocks")
def test_where_boots_have_no_id_the_time_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_state, "boot_id", lambda: "")

    assert Pause(1000.1, "", 1.0).is_over is False


def test_a_pause_says_until_when() -> None:
    moment = time.mktime((2026, 1, 2, 3, 4, 5, 0, 0, -1))

    assert Pause(moment).message == Message("paused", {"until": "2026-01-02 03:04:05"})
    assert Pause().message == Message("paused_openly", {})


def test_a_pause_is_kept_until_a_user_ends_it(store: Store, pause_file: Path) -> None:
    pause = Pause.lasting(1000.0)

    store.pause(pause)

    assert pause_file.is_file()
    assert store.paused() == pause
    store.resume()
    store.resume()
    assert store.paused() is None


def test_a_pause_that_is_over_is_none(store: Store) -> None:
    store.pause(Pause(1.0))

    assert store.paused() is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"until": "soon"}', b'{"boot": "\xff"}', b'{"x": ' + b"[" * 100_000],
    ids=lambda content: repr(content[:20]),
)
def test_a_pause_that_cannot_be_understood_has_no_end(store: Store, pause_file: Path, content: bytes) -> None:
    pause_file.write_bytes(content)

    assert store.paused() == Pause()


def test_what_is_no_file_in_place_of_a_pause_is_one_without_an_end(store: Store, pause_file: Path) -> None:
    pause_file.mkdir()

    assert store.paused() == Pause()


def test_a_pause_of_one_service_is_independent_of_that_of_all(store: Store) -> None:
    store.pause(Pause(), "api")

    alone = store.paused(), store.why_paused("api"), store.why_paused("db")
    store.pause(Pause(9e9))
    store.resume("api")
    together = store.paused("api"), store.why_paused("api"), store.why_paused("db")
    store.resume()

    assert alone == (None, Message("paused_one_openly", {"name": "api"}), None)
    assert together == (None, Pause(9e9).message, Pause(9e9).message)
    assert store.why_paused("api") is None


def test_a_pause_of_one_service_that_cannot_be_read_has_no_end(store: Store) -> None:
    store.project.state_folder.mkdir()
    (store.project.state_folder / ".api.pause.json").write_text("{")

    assert store.paused("api") == Pause()


def test_a_pause_of_one_service_names_it_and_its_end() -> None:
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1000))

    assert str(Pause(1000.0).message_of("api")) == f"api: healing is paused until {moment}"
