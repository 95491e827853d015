"""No content of the PID file or the state raises an error, and only the stored process is proven."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import looking_at
from sandbox import Sandbox, sandbox

from remediation.config.load import load_project
from remediation.config.model import Service
from remediation.engines.engine import Condition
from remediation.healing import liveness
from remediation.state.service_state import ServiceState, Store
from remediation.system.process import Identity

Kept = tuple[Store, Service]
HUGE = st.sampled_from([0, -1, 1, 2**31 - 1, 2**31, 2**63, 2**64, 10**40])
NUMBERS = st.none() | st.booleans() | st.integers() | HUGE | st.floats() | st.text(max_size=5)
# Processes that live, among them those that nobody may end.
PIDS = st.sampled_from(["own", "parent", "init"]).map(
    lambda name: {"own": os.getpid(), "parent": os.getppid()}.get(name, 1)
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """The store of a project whose service was never started."""
    for project in sandbox(tmp_path_factory.mktemp("project")):
        yield _kept(project)


def _kept(project: Sandbox) -> Kept:
    loaded = load_project(project.root, {})
    loaded.state_folder.mkdir(exist_ok=True)
    return Store(loaded), loaded.services["api"]


def remember(kept: Kept, state: bytes, pid_file: bytes) -> None:
    """Write both files, as any program could."""
    service = kept[1]
    (service.pid_file.parent / ".auto-heal" / "api.json").write_bytes(state)
    service.pid_file.write_bytes(pid_file)


def encoded(table: dict[str, Any]) -> bytes:
    """Write a state as JSON."""
    return json.dumps(table).encode()


@looking_at(200)
@given(
    state=st.binary(max_size=30)
    | st.dictionaries(st.sampled_from(ServiceState.__struct_fields__), NUMBERS).map(encoded),
    pid_file=st.binary(max_size=40) | (HUGE | PIDS).map(lambda pid: f"{pid}\n".encode()),
)
def test_no_content_is_raised_at_or_proves_a_process(kept: Kept, state: bytes, pid_file: bytes) -> None:
    store, service = kept
    remember(kept, state, pid_file)

    assert store.proven_process(service) is None
    assert store.pid_file_problem(service)
    assert liveness.condition(service, store) in Condition
    assert isinstance(store.recall(service), ServiceState)


@looking_at(150)
@given(pid=PIDS, born=st.text(max_size=12) | st.none() | st.just("same"), add=st.integers(1, 10**9))
def test_a_process_is_proven_by_its_birth_alone(kept: Kept, pid: int, born: str | None, add: int) -> None:
    store, service = kept
    true = Identity.of(pid)
    assert true
    claimed = f"{true.born}{add}" if born == "same" else born
    remember(kept, encoded({"pid": pid, "born": claimed}), str(pid).encode())

    assert store.proven_process(service) is None
    problem = store.pid_file_problem(service)

    assert problem
    assert str(pid) in problem
    assert psutil.pid_exists(pid)


@looking_at(50)
@given(
    before=st.sampled_from(["", " ", "\n", "\t"]),
    after=st.sampled_from(["", "\n", " \n", "0", "x", "\n1", "\0", ".0", "e0"]),
)
def test_a_pid_file_is_right_if_it_holds_the_remembered_pid_and_nothing_else(
    kept: Kept, before: str, after: str
) -> None:
    store, service = kept
    own = Identity.of(os.getpid())
    assert own
    remember(kept, encoded({"pid": own.pid, "born": own.born}), f"{before}{own.pid}{after}".encode())

    assert store.proven_process(service) == own
    assert (store.pid_file_problem(service) is None) == (not after.strip())


@looking_at(100)
@given(
    st.builds(ServiceState, pid=st.integers(1, 2**22), restarts=st.lists(st.floats(0, 1e12)), delay=st.floats(0, 3600))
)
def test_what_is_kept_is_recalled(kept: Kept, state: ServiceState) -> None:
    store, service = kept

    store.keep(service, state)

    assert store.recall(service) == state
