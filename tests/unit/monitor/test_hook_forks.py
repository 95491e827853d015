"""Hooks learn of events in their order, in a process that ends by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sandbox import wait_for

from remediation.healing.hooks import HealEvent
from remediation.monitor import hook_forks as module
from remediation.monitor.hook_forks import HookForks

Make = Callable[[Callable[[HealEvent], None]], HookForks]


@pytest.fixture
def make() -> Iterator[Make]:
    """Make forks that call a hook, and wait for their end."""
    made: list[HookForks] = []

    def make(notify: Callable[[HealEvent], None]) -> HookForks:
        made.append(HookForks(notify, lambda: None))
        return made[-1]

    yield make
    for forks in made:
        wait_for(lambda forks=forks: not forks.attend())  # type: ignore[misc]


def event(name: str) -> HealEvent:
    """Return an event."""
    return HealEvent("sick", name, "title", "text", "")


def test_events_are_told_in_their_order_and_nobody_waits(make: Make, tmp_path: Path) -> None:
    def notify(event: HealEvent) -> None:
        time.sleep(0.1 if event.name == "a" else 0)
        with (tmp_path / "told").open("a") as file:
            file.write(event.name)

    forks = make(notify)
    forks.tell(event("a"))
    assert forks.attend()
    for name in "bc":
        forks.tell(event(name))
    assert forks.attend()

    wait_for(lambda: not forks.attend())
    assert (tmp_path / "told").read_text() == "abc"
    assert forks.moment is None


def test_one_that_hangs_ends_and_the_oldest_events_behind_it_are_dropped(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HOOK_SECONDS", 0.1)
    monkeypatch.setattr(module, "_GRACE", 0.1)

    def notify(event: HealEvent) -> None:
        if event.name == "first":
            time.sleep(600)
        (tmp_path / event.name).touch()

    forks = make(notify)
    forks.tell(event("first"))
    forks.attend()
    for number in range(30):
        forks.tell(event(str(number)))

    wait_for(lambda: not forks.attend())
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == list(range(10, 30))
