"""The lock that a command inherits: valid only while the healer that runs it lives."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest
from sandbox import DEADLINE, Sandbox

from remediation.config.model import Service
from remediation.state import lock_grants
from remediation.state.service_state import Store
from remediation.system.environment import HELD_LOCKS
from remediation.system.files import LockTimeoutError
from remediation.system.process import Identity


def grant(identity: Identity, *marks: str) -> str:
    """Return the lock grant in the environment of a command."""
    return json.dumps([identity.pid, identity.born, list(marks)])


def of(pid: int) -> Identity:
    """Return the identity of a live process."""
    identity = Identity.of(pid)
    assert identity is not None
    return identity


Forge = Callable[[Service, Identity], str]


@pytest.mark.parametrize(
    "forge",
    [
        lambda service, stranger: grant(stranger, service.mark),
        lambda service, _: grant(of(os.getpid()), service.mark),
        lambda service, _: grant(Identity(os.getppid(), "long ago"), service.mark),
        lambda service, _: grant(Identity(2**40, "never"), service.mark),
        lambda service, _: grant(Identity(0, ""), service.mark),
        lambda service, _: grant(of(os.getppid()), f"{service.mark}2"),
        lambda service, _: grant(of(os.getppid())),
        lambda service, _: json.dumps([os.getppid(), of(os.getppid()).born, service.mark]),
        lambda service, _: json.dumps([str(os.getppid()), of(os.getppid()).born, [service.mark]]),
        lambda service, _: json.dumps({"pid": os.getppid()}),
        lambda *_: "nonsense",
        lambda *_: "[" * 100_000,
        lambda *_: "1" * 10_000,
        lambda *_: "",
    ],
    ids=[
        "no ancestor", "oneself", "another birth", "no process", "process 0", "another service", "no service",
        "a mark that is no list", "a PID that is no number", "another shape", "no JSON", "deep", "long", "empty",
    ],
)  # fmt: skip
def test_what_is_forged_or_stale_locks_as_ever(
    project: Sandbox, service: Service, store: Store, monkeypatch: pytest.MonkeyPatch, forge: Forge
) -> None:
    stranger = of(project.stranger("sleep", "600").pid)
    with store.lock(service, timeout=DEADLINE):
        monkeypatch.setenv(HELD_LOCKS, forge(service, stranger))

        with pytest.raises(LockTimeoutError), store.lock(service, timeout=0):
            pass


def test_a_dead_holder_grants_nothing(
    project: Sandbox, service: Service, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = project.stranger("sleep", "600")
    monkeypatch.setenv(HELD_LOCKS, grant(of(process.pid), service.mark))
    process.kill()
    process.wait()

    with store.lock(service, timeout=DEADLINE), pytest.raises(LockTimeoutError), store.lock(service, timeout=0):
        pass


def test_an_ancestor_grants_its_lock_to_one_at_a_time(
    service: Service, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.lock(service, timeout=DEADLINE):
        monkeypatch.setenv(HELD_LOCKS, grant(of(os.getppid()), "other", service.mark))

        with store.lock(service, timeout=0), pytest.raises(LockTimeoutError), store.lock(service, timeout=0):
            pass


def test_what_an_ancestor_grants_and_nobody_holds_is_taken(
    service: Service, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HELD_LOCKS, grant(of(os.getppid()), service.mark))

    with store.lock(service, timeout=0):
        assert store.is_locked(service)

    assert not store.is_locked(service)


def test_a_grant_names_us_and_the_services(service: Service) -> None:
    pid, born, marks = json.loads(lock_grants.granted([service])[HELD_LOCKS])

    assert Identity(pid, born) == Identity.of(os.getpid())
    assert marks == [service.mark]
