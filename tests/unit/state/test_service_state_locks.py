"""The lock of a service: one healer, one guest of its commands, and no write by a healer that has lost it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sandbox import DEADLINE

from remediation.config.model import Service
from remediation.state import lock_grants
from remediation.state.service_state import ServiceState, Store
from remediation.system import files
from remediation.system.files import Lock, LockLostError, LockTimeoutError
from remediation.system.process import Identity

OWN, GUESTS = "api.lock", ".api.guests.lock"


class Locking:
    """Notes which locks are asked for, and for how long; its clock goes on only while a guest is waited for."""

    def __init__(self, folder: Path) -> None:
        """Ask for none yet."""
        self._folder = folder
        self._locked = files.locked
        self.asked: list[tuple[str, float]] = []
        self.clock = 100.0
        self.waits = 0.0

    @contextmanager
    def locked(self, path: Path, *, timeout: float) -> Iterator[Lock]:
        """Lock without waiting."""
        self.asked.append((str(path.relative_to(self._folder)), timeout))
        with self._locked(path, timeout=0.0) as lock:
            if path.name == GUESTS:
                self.clock += self.waits
            yield lock


@pytest.fixture
def locking(store: Store, monkeypatch: pytest.MonkeyPatch) -> Locking:
    """Note the locks, none of which is waited for."""
    noted = Locking(store.project.state_folder)
    monkeypatch.setattr(files, "locked", noted.locked)
    monkeypatch.setattr(time, "monotonic", lambda: noted.clock)
    return noted


@pytest.fixture
def other(store: Store) -> Store:
    """Return the store of another process."""
    return Store(store.project)


@pytest.fixture
def lock_file(store: Store) -> Path:
    """Return the path of the lock."""
    return store.project.state_folder / OWN


def grant(monkeypatch: pytest.MonkeyPatch, *answers: bool) -> None:
    """Let a healer have granted its lock or not, each time that we ask; the last answer stays."""
    left = [*answers]
    monkeypatch.setattr(lock_grants, "is_granted", lambda _: left.pop(0) if len(left) > 1 else left[0])


# Who has it.


def test_nobody_has_the_lock_of_a_service_that_was_never_locked_and_looking_makes_no_file(
    store: Store, service: Service, lock_file: Path
) -> None:
    assert store.is_locked(service) is False
    assert not lock_file.exists()


def test_a_lock_is_held_until_its_healer_is_done_and_nobody_who_looks_waits(
    store: Store, other: Store, service: Service, locking: Locking
) -> None:
    with store.lock(service, timeout=DEADLINE):
        held = other.is_locked(service)
    after = other.is_locked(service)

    assert (held, after) == (True, False)
    assert locking.asked == [(OWN, DEADLINE), (OWN, 0.0), (OWN, 0.0)]


def test_a_healer_keeps_a_reserve_of_a_mebibyte(store: Store, service: Service) -> None:
    with store.lock(service, timeout=DEADLINE):
        pass

    assert (store.project.state_folder / ".reserve").stat().st_size == 1 << 20


# The guest.


def test_a_command_of_the_healer_is_the_only_guest_of_its_lock(
    store: Store, other: Store, service: Service, monkeypatch: pytest.MonkeyPatch, locking: Locking
) -> None:
    with store.lock(service, timeout=DEADLINE):
        grant(monkeypatch, True)

        with other.lock(service, timeout=7.0), pytest.raises(LockTimeoutError), store.lock(service, timeout=0.0):
            pass
        with other.lock(service, timeout=0.0):
            pass

    assert locking.asked[1:3] == [(OWN, 0.0), (GUESTS, 7.0)]


def test_what_a_healer_granted_and_does_not_hold_is_taken(
    store: Store, other: Store, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant(monkeypatch, True)

    with store.lock(service, timeout=0.0):
        assert other.is_locked(service)


def test_without_a_grant_nobody_looks_whether_the_lock_is_held(
    store: Store, service: Service, monkeypatch: pytest.MonkeyPatch, locking: Locking
) -> None:
    grant(monkeypatch, False)

    with store.lock(service, timeout=5.0), pytest.raises(LockTimeoutError), store.lock(service, timeout=4.0):
        pass

    assert locking.asked == [(OWN, 5.0), (OWN, 4.0)]


@pytest.mark.parametrize(("waits", "left"), [(3.0, 2.0), (9.0, 0.0)])
def test_a_guest_whose_command_ended_while_it_waited_has_the_rest_of_its_time_for_the_lock(
    store: Store, other: Store, service: Service, monkeypatch: pytest.MonkeyPatch, locking: Locking,
    waits: float, left: float,
) -> None:  # fmt: skip
    with store.lock(service, timeout=0.0):
        grant(monkeypatch, True, False)
        locking.waits = waits

        with pytest.raises(LockTimeoutError), other.lock(service, timeout=5.0):
            pass

    assert locking.asked[1:] == [(OWN, 0.0), (GUESTS, 5.0), (OWN, left)]


# A lock that is lost.


@pytest.fixture
def lost(store: Store, service: Service, lock_file: Path) -> Iterator[Store]:
    """Return a store that holds a lock whose file was removed."""
    with store.lock(service, timeout=DEADLINE):
        lock_file.unlink()
        yield store


def test_whoever_lost_the_lock_writes_nothing(lost: Store, service: Service) -> None:
    service.pid_file.write_text("1\n")
    state = ServiceState()

    with pytest.raises(LockLostError, match="was removed or replaced"):
        lost.keep(service, state)
    with pytest.raises(LockLostError):
        lost.remember_process(service, state, Identity(2, "born"))
    with pytest.raises(LockLostError):
        lost.forget_process(service, state)

    assert service.pid_file.read_text() == "1\n"
    assert not (lost.project.state_folder / "api.json").exists()


def test_whoever_holds_the_lock_writes(store: Store, service: Service) -> None:
    with store.lock(service, timeout=DEADLINE):
        store.keep(service, ServiceState(heals=1))

    assert store.recall(service).heals == 1


def test_whoever_is_done_with_a_lock_cannot_lose_it(store: Store, service: Service, lock_file: Path) -> None:
    with store.lock(service, timeout=DEADLINE):
        pass
    lock_file.unlink()

    store.require_lock(service)


def test_a_lost_lock_is_taken_again(lost: Store, other: Store, service: Service) -> None:
    lost.retake_lock(service)

    lost.require_lock(service)
    assert other.is_locked(service)


def test_a_lost_lock_that_another_was_quicker_to_take_stays_lost_and_is_not_waited_for(
    lost: Store, other: Store, service: Service, locking: Locking
) -> None:
    with other.lock(service, timeout=0.0):
        lost.retake_lock(service)

        with pytest.raises(LockLostError):
            lost.require_lock(service)

    assert locking.asked[-1] == (OWN, 0.0)


def test_a_lock_that_is_held_or_not_ours_is_not_taken_again(store: Store, service: Service, locking: Locking) -> None:
    store.retake_lock(service)
    with store.lock(service, timeout=0.0):
        store.retake_lock(service)

    assert len(locking.asked) == 1
