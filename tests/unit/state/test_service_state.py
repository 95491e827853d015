"""The stored state of a service: no file content raises an error, and no other process passes for the service."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from remediations import remediation
from sandbox import DEADLINE, Sandbox

from remediation.config.load import load_project
from remediation.config.model import Budget, Service
from remediation.state import service_state
from remediation.state.service_state import ServiceState, Store
from remediation.system import files
from remediation.system.environment import SERVICE_MARK
from remediation.system.files import LockTimeoutError
from remediation.system.process import Identity, terminate

QUICK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def memory_file(project: Sandbox) -> Path:
    """Return the file with the stored state of the service."""
    (project.root / ".auto-heal").mkdir()
    return project.root / ".auto-heal" / "api.json"


def identity_of(pid: int) -> Identity:
    """Return the identity of a live process."""
    identity = Identity.of(pid)
    assert identity is not None
    return identity


def plant(path: Path, kind: str) -> None:
    """Plant something in place of a file."""
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "symlink":
            target = path.with_name("target")
            target.write_text(f"{os.getpid()}\n")
            path.symlink_to(target)


# What is kept.


def test_nothing_is_remembered_of_a_service_that_never_ran(store: Store, service: Service) -> None:
    assert store.recall(service) == ServiceState()
    assert store.proven_process(service) is None


def test_a_state_without_values_knows_nothing() -> None:
    assert not any(msgspec.structs.asdict(ServiceState()).values())
    assert ServiceState().identity is None


def test_what_is_kept_is_recalled_and_private(store: Store, service: Service, memory_file: Path) -> None:
    state = ServiceState(
        pid=7, born="born", stopped_by_hand=True, restarts=[1.0, 2.0], delay=5.0, not_before=6.0, troubled_at=7.0,
        heals=3, command=(8, "b"), last_heal=remediation(at=4.0, ok=False, cause="", reason="Ж\x00"),
    )  # fmt: skip

    store.keep(service, state)

    assert store.recall(service) == state
    assert stat.S_IMODE(memory_file.stat().st_mode) == 0o600


def test_a_process_that_is_remembered_is_proven_until_it_dies(project: Sandbox, store: Store, service: Service) -> None:
    process = project.stranger("sleep", "600")
    identity = identity_of(process.pid)

    store.remember_process(service, store.recall(service), identity)

    assert service.pid_file.read_text() == f"{process.pid}\n"
    assert stat.S_IMODE(service.pid_file.stat().st_mode) == 0o644
    assert store.proven_process(service) == identity
    assert store.pid_file_problem(service) is None
    terminate(lambda: [identity], timeout=DEADLINE)
    assert store.proven_process(service) is None
    assert store.pid_file_problem(service) == f"PID file .api-server.pid is stale: process {process.pid} is gone"


def test_a_process_that_is_forgotten_is_not_proven_though_it_lives(store: Store, service: Service) -> None:
    state = ServiceState(heals=3, stopped_by_hand=True)
    store.remember_process(service, state, identity_of(os.getpid()))

    store.forget_process(service, state)
    store.forget_process(service, state)

    assert not service.pid_file.exists()
    assert store.recall(service) == ServiceState(heals=3, stopped_by_hand=True)
    assert store.proven_process(service) is None


@pytest.mark.parametrize("kind", ["symlink", "fifo"])
def test_the_pid_file_is_written_in_place_of_what_is_planted(store: Store, service: Service, kind: str) -> None:
    plant(service.pid_file, kind)

    store.remember_process(service, ServiceState(), identity_of(os.getppid()))

    assert not service.pid_file.is_symlink()
    assert service.pid_file.read_text() == f"{os.getppid()}\n"
    if kind == "symlink":
        assert service.pid_file.with_name("target").read_text() == f"{os.getpid()}\n"


# Who is mistaken for whom.


def test_whoever_got_the_pid_of_the_service_is_not_the_service(
    project: Sandbox, store: Store, service: Service
) -> None:
    stranger = project.stranger("sleep", "600")
    former = Identity(stranger.pid, identity_of(stranger.pid).born + "0")

    store.remember_process(service, ServiceState(), former)

    assert store.proven_process(service) is None
    assert store.pid_file_problem(service) == f"PID file .api-server.pid is stale: process {stranger.pid} is gone"


def test_a_suspended_process_is_still_proven(project: Sandbox, store: Store, service: Service) -> None:
    process = project.stranger("sleep", "600")
    store.remember_process(service, ServiceState(), identity_of(process.pid))

    os.kill(process.pid, signal.SIGSTOP)

    assert store.proven_process(service) == Identity.of(process.pid)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty; ignored"),
        (b" \n\t", "is empty; ignored"),
        (b"nonsense", "holds no PID; ignored"),
        (b"-1\n", "holds no PID; ignored"),
        (b"+1\n", "holds no PID; ignored"),
        (b"1_0\n", "holds no PID; ignored"),
        (b"1 2\n", "holds no PID; ignored"),
        (b"1\n2\n", "holds no PID; ignored"),
        (b"0x10", "holds no PID; ignored"),
        (b"1.0", "holds no PID; ignored"),
        (b"\x00" * 9, "holds no PID; ignored"),
        (b"\xff\xfe", "holds no PID; ignored"),
        ("٣".encode(), "holds no PID; ignored"),
        (b"9" * 400, "holds no PID; ignored"),
        (b"9" * 32, "holds no PID; ignored"),
        (b"9" * 31, f"is stale: there is no process {'9' * 31}"),
        (b"0\n", "is stale: there is no process 0"),
        (b"4194305\n", "is stale: there is no process 4194305"),
    ],
)
def test_a_pid_file_of_no_use_is_told_in_one_sentence(
    store: Store, service: Service, content: bytes, problem: str
) -> None:
    service.pid_file.write_bytes(content)

    assert store.pid_file_problem(service) == f"PID file .api-server.pid {problem}"


def test_a_missing_pid_file_is_told(store: Store, service: Service) -> None:
    assert store.pid_file_problem(service) == "there is no PID file .api-server.pid"


@pytest.mark.parametrize(
    ("kind", "why"),
    [("fifo", "not a regular file"), ("directory", "not a regular file"), ("symlink", os.strerror(errno.ELOOP))],
)
def test_what_is_planted_as_a_pid_file_is_ignored(store: Store, service: Service, kind: str, why: str) -> None:
    plant(service.pid_file, kind)

    assert store.pid_file_problem(service) == f"PID file .api-server.pid cannot be read ({why}); ignored"


def test_a_stranger_in_the_pid_file_is_named_and_left_alone(store: Store, service: Service) -> None:
    service.pid_file.write_text(f"{os.getpid()}\n")

    problem = store.pid_file_problem(service) or ""

    assert f"(PID {os.getpid()}, user " in problem
    assert problem.endswith("which auto-heal did not start; left alone")
    assert store.proven_process(service) is None


def test_a_pid_file_of_another_process_than_the_one_that_we_started_is_foreign(store: Store, service: Service) -> None:
    store.keep(service, ServiceState(pid=os.getpid(), born=identity_of(os.getpid()).born))
    service.pid_file.write_text(f"{os.getppid()}\n")

    assert (store.pid_file_problem(service) or "").endswith("which auto-heal did not start; left alone")


@pytest.mark.parametrize("kind", ["fifo", "directory", "symlink"])
def test_what_is_planted_as_a_memory_is_an_empty_memory(
    store: Store, service: Service, memory_file: Path, kind: str
) -> None:
    plant(memory_file, kind)

    assert store.recall(service) == ServiceState()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"null", b"[]", b"{", b'{"pid": "1"}', b'{"pid": true}', b'{"pid": 1.5}', b'{"restarts": [null]}',
        b'{"last_heal": {}}', b'{"born": "\\ud800"}', b'{"born": "\xff"}', b'{"pid": ' + b"9" * 5000 + b"}",
        b'{"restarts": [1e999]}', b'{"unknown": ' + b"[" * 100_000, b"[" * 100_000, b"\x00" * 2_000_000,
    ],
    ids=lambda content: repr(content[:20]),
)  # fmt: skip
def test_a_broken_memory_is_an_empty_one(store: Store, service: Service, memory_file: Path, content: bytes) -> None:
    memory_file.write_bytes(content)

    assert store.recall(service) == ServiceState()
    assert store.proven_process(service) is None


def test_a_memory_that_is_larger_than_any_of_ours_is_an_empty_one(
    store: Store, service: Service, memory_file: Path
) -> None:
    memory_file.write_bytes(b'{"heals": 3'.ljust(1_000_000) + b"}")

    assert store.recall(service) == ServiceState()


# The folder of the project.


@pytest.fixture
def copied(project: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Callable[[ServiceState], ServiceState]:
    """Return a function that keeps a state, copies the folder of the project, and recalls the state there."""

    def recalled(state: ServiceState) -> ServiceState:
        here = load_project(project.root, {})
        Store(here).keep(here.services["api"], state)
        there = load_project(shutil.copytree(project.root, tmp_path_factory.mktemp("copy") / "project"), {})
        return Store(there).recall(msgspec.structs.replace(there.services["api"], root=here.root))

    return recalled


def test_in_a_copy_of_the_folder_the_processes_are_those_of_another_project(
    copied: Callable[[ServiceState], ServiceState],
) -> None:
    own = identity_of(os.getpid())

    state = copied(ServiceState(pid=own.pid, born=own.born, start="mark", command=(own.pid, own.born), heals=3))

    assert state == ServiceState(heals=3)


def test_in_a_copy_of_the_folder_there_may_be_no_process(
    service: Service, copied: Callable[[ServiceState], ServiceState], monkeypatch: pytest.MonkeyPatch
) -> None:
    # psutil takes None for the PID of this process, which may itself bear the mark.
    monkeypatch.setattr(service_state, "value_of", lambda _variable, _pid: service.mark)

    assert copied(ServiceState(start="mark", heals=3)) == ServiceState(heals=3)


def test_a_process_with_the_mark_of_this_very_project_is_ours_also_if_the_folder_is_another(
    project: Sandbox, service: Service, copied: Callable[[ServiceState], ServiceState]
) -> None:
    found = identity_of(project.stranger("sleep", "600", **{SERVICE_MARK: service.mark}).pid)

    state = copied(ServiceState(pid=found.pid, born=found.born, start="mark", command=(found.pid, found.born)))

    assert state == ServiceState(pid=found.pid, born=found.born, start="mark")


def test_a_memory_without_a_folder_is_that_of_this_one(store: Store, service: Service, memory_file: Path) -> None:
    memory_file.write_text('{"pid": 7, "born": "b", "command": [8, "c"]}')

    assert store.recall(service) == ServiceState(pid=7, born="b", command=(8, "c"))


@pytest.mark.usefixtures("memory_file")
def test_a_memory_is_kept_also_while_the_folder_cannot_be_looked_at(
    store: Store, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, root = Path.stat, store.project.root

    def refused(path: Path, **options: bool) -> os.stat_result:
        if path == root:
            raise PermissionError
        return look(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", refused)
        store.keep(service, ServiceState(pid=7, born="b"))

    assert store.recall(service) == ServiceState(pid=7, born="b")


# A full disk.


@pytest.fixture
def reserve(store: Store, memory_file: Path) -> Path:
    """Return the file of the reserve."""
    store.reserve.attend()
    return memory_file.with_name(".reserve")


def test_on_a_full_disk_the_reserve_makes_room(
    store: Store, service: Service, reserve: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = files.write

    def limited(path: Path, data: bytes, *, mode: int = files.PRIVATE) -> None:
        if reserve.exists():
            raise OSError(errno.ENOSPC, "full")
        write(path, data, mode=mode)

    monkeypatch.setattr(files, "write", limited)
    store.remember_process(service, ServiceState(heals=3), Identity(7, "b"))

    assert service.pid_file.read_text() == "7\n"
    assert stat.S_IMODE(service.pid_file.stat().st_mode) == 0o644
    assert store.recall(service) == ServiceState(pid=7, born="b", heals=3)


def test_a_disk_that_fails_in_another_way_is_told_and_the_reserve_is_kept(
    store: Store, service: Service, reserve: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures, write = [OSError(errno.EIO, "broken")], files.write

    def flaky(path: Path, data: bytes, *, mode: int = files.PRIVATE) -> None:
        if failures:
            raise failures.pop()
        write(path, data, mode=mode)

    monkeypatch.setattr(files, "write", flaky)
    with pytest.raises(OSError, match="broken"):
        store.keep(service, ServiceState())

    assert reserve.exists()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
LIVE = st.sampled_from([1, os.getppid(), os.getpid()])
FORGED = st.fixed_dictionaries(
    {"pid": LIVE | ANYTHING, "born": st.text(max_size=60) | ANYTHING},
    optional={"started_at": ANYTHING, "restarts": ANYTHING, "heals": ANYTHING, "last_heal": ANYTHING},
)


@QUICK
@given(state=st.binary() | FORGED.map(lambda table: json.dumps(table).encode()), pid_file=st.binary(max_size=40))
def test_no_content_of_the_files_raises_or_proves_a_process(
    store: Store, service: Service, state: bytes, pid_file: bytes
) -> None:
    path = service.pid_file.with_name(".auto-heal") / "api.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(state)
    service.pid_file.write_bytes(pid_file)

    assert store.proven_process(service) is None
    assert store.pid_file_problem(service)


# The budget and the lock.


@pytest.mark.parametrize(
    ("ages", "window", "counted"),
    [([], 60.0, 0), ([1, 2, 3], 60.0, 3), ([1, 61, 600], 60.0, 1), ([100], 1.0, 0), ([-1000, 1], 60.0, 2)],
)
def test_the_restarts_of_the_window_count_and_older_ones_are_forgotten(
    ages: list[float], window: float, counted: int
) -> None:
    now = time.time()
    state = ServiceState(restarts=[now - age for age in ages])

    assert state.restarts_within(Budget(5, window, calm=window)) == counted

    assert len(state.restarts) == counted
    # A clock that was set back must not make a restart count until the old time comes again.
    assert all(moment <= time.time() for moment in state.restarts)


def test_a_restart_that_is_as_old_as_the_window_counts_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    state = ServiceState(restarts=[400.0, 400.5])

    assert state.restarts_within(Budget(5, 600.0, calm=600.0)) == 1
    assert state.restarts == [400.5]


def test_a_service_has_one_healer_at_a_time_and_another_service_its_own(project: Sandbox) -> None:
    project.configure(more='[services.other]\ncommand = "true"\n')
    found = load_project(project.root, {})
    store, api, other = Store(found), found.services["api"], found.services["other"]
    results: list[Any] = []

    def second() -> None:
        try:
            with store.lock(other, timeout=DEADLINE), store.lock(api, timeout=0.05):
                results.append("both")
        except LockTimeoutError as error:
            results.append(error)

    with store.lock(api, timeout=DEADLINE):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()

    assert isinstance(results[0], LockTimeoutError)
    with store.lock(api, timeout=DEADLINE):
        pass
