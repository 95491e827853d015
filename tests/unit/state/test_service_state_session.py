"""Which session is the service's: the one that we made for its last start, and never a person's."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import msgspec
import pytest
from sandbox import Sandbox

from remediation.config.model import Service
from remediation.state.service_state import ServiceState, Store
from remediation.system.process import Identity


@pytest.fixture
def leader() -> Iterator[Identity]:
    """A process that leads a session of its own, as everything does that we start."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        identity = Identity.of(process.pid)
        assert identity
        yield identity
        process.kill()


@pytest.fixture
def member(project: Sandbox) -> Identity:
    """A process that leads no session."""
    identity = Identity.of(project.stranger("sleep", "600").pid)
    assert identity
    return identity


def test_a_process_that_we_started_leads_its_session(store: Store, service: Service, leader: Identity) -> None:
    store.remember_process(service, ServiceState(), leader)

    assert store.recall(service).session_leader == leader


@pytest.mark.parametrize("adopted", [False, True])
def test_the_session_of_an_earlier_start_is_forgotten(
    store: Store, service: Service, leader: Identity, *, adopted: bool
) -> None:
    state = ServiceState(session=(leader.pid, "long ago"))

    store.remember_process(service, state, leader, adopted=adopted)

    assert store.recall(service).session == (None if adopted else (leader.pid, leader.born))


def test_a_successor_is_in_the_session_of_the_process_that_we_started(
    store: Store, service: Service, leader: Identity, member: Identity
) -> None:
    state = ServiceState()
    store.remember_process(service, state, leader)

    store.remember_process(service, state, member)

    recalled = store.recall(service)
    assert (recalled.identity, recalled.session_leader) == (member, leader)


def test_the_session_of_an_adopted_process_is_not_ours(store: Store, service: Service, leader: Identity) -> None:
    state = ServiceState()
    store.remember_process(service, state, leader, adopted=True)

    assert store.recall(service).session_leader is None
    store.forget_process(service, state)
    assert store.recall(service) == msgspec.structs.replace(ServiceState(), heals=state.heals)


def test_a_state_of_the_first_version_names_the_session_by_its_process(leader: Identity) -> None:
    assert ServiceState(pid=leader.pid, born=leader.born).session_leader == leader


def test_a_successor_of_a_process_of_the_first_version_is_in_its_session(
    store: Store, service: Service, leader: Identity, member: Identity
) -> None:
    store.remember_process(service, ServiceState(pid=leader.pid, born=leader.born), member)

    assert store.recall(service).session_leader == leader
