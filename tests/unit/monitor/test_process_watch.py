"""A death is noticed at once, and once; a process that no longer belongs to a service is not watched."""

from __future__ import annotations

import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing

import psutil
import pytest
from sandbox import DEADLINE, Sandbox, wait_for

from remediation.config.load import load_project
from remediation.config.model import Project, Service
from remediation.monitor.process_watch import POLL_SECONDS, Watch
from remediation.state.service_state import Store
from remediation.system.capabilities import has_pidfd
from remediation.system.process import Identity

needs_pidfd = pytest.mark.skipif(not has_pidfd(), reason="this system has no pidfd")
Start = Callable[[Service], "subprocess.Popen[bytes]"]


@pytest.fixture
def loaded(project: Sandbox) -> Project:
    """A project with two services and an empty state."""
    project.configure(more="[services.db]\ncommand = 'sleep 600'\n")
    return load_project(project.root, {})


@pytest.fixture
def watch(loaded: Project) -> Iterator[Watch]:
    """A watch that watches no process yet."""
    with closing(Watch(Store(loaded))) as made:
        yield made


@pytest.fixture
def start(project: Sandbox, loaded: Project) -> Start:
    """Return a function that starts a process and stores it as that of a service."""
    store = Store(loaded)

    def begin(service: Service) -> subprocess.Popen[bytes]:
        process = project.stranger("sleep", "600")
        identity = Identity.of(process.pid)
        assert identity is not None
        store.remember_process(service, store.recall(service), identity)
        return process

    return begin


def tells(watch: Watch, *, seconds: float) -> bool:
    """Return whether a descriptor reports a death within this many seconds."""
    return bool(select.select(watch.fds, [], [], seconds)[0])


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process, and wait until it has ended."""
    process.kill()
    process.wait(DEADLINE)


@needs_pidfd
def test_a_death_makes_a_descriptor_readable_and_is_told_once(loaded: Project, watch: Watch, start: Start) -> None:
    process = start(loaded.services["api"])
    watch.refresh(loaded.services.values())
    before = tells(watch, seconds=0), watch.dead()

    process.kill()

    assert before == (False, [])
    assert tells(watch, seconds=DEADLINE)
    assert watch.dead() == ["api"]
    assert (watch.dead(), watch.fds) == ([], [])
    assert watch.poll_seconds is None


@needs_pidfd
def test_of_two_services_the_one_that_died_is_told(loaded: Project, watch: Watch, start: Start) -> None:
    start(loaded.services["api"])
    database = start(loaded.services["db"])
    watch.refresh(loaded.services.values())

    end(database)

    assert watch.dead() == ["db"]
    assert len(watch.fds) == 1


@pytest.mark.usefixtures("only_posix")
def test_without_a_pidfd_it_asks_to_be_woken_now_and_then(loaded: Project, watch: Watch, start: Start) -> None:
    process = start(loaded.services["api"])
    watch.refresh(loaded.services.values())
    before = watch.fds, watch.poll_seconds

    end(process)

    assert before == ([], POLL_SECONDS)
    assert watch.dead() == ["api"]
    assert watch.poll_seconds is None


def test_a_zombie_is_dead(loaded: Project, watch: Watch, start: Start) -> None:
    process = start(loaded.services["api"])
    watch.refresh(loaded.services.values())

    process.kill()
    wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)

    assert watch.dead() == ["api"]


def test_a_process_that_was_replaced_while_it_lived_is_watched_no_longer(
    loaded: Project, watch: Watch, start: Start
) -> None:
    api = loaded.services["api"]
    old = start(api)
    watch.refresh([api])
    new = start(api)
    watch.refresh([api])

    end(old)
    of_the_old = watch.dead()
    end(new)

    assert of_the_old == []
    assert watch.dead() == ["api"]


def test_a_death_before_the_next_look_is_not_lost(loaded: Project, watch: Watch, start: Start) -> None:
    api = loaded.services["api"]
    old = start(api)
    watch.refresh([api])

    end(old)
    new = start(api)
    watch.refresh([api])

    assert watch.dead() == ["api"]
    watch.refresh([api])
    assert watch.dead() == []
    end(new)
    assert watch.dead() == ["api"]


def test_a_service_that_is_no_longer_asked_for_is_let_go(loaded: Project, watch: Watch, start: Start) -> None:
    process = start(loaded.services["api"])
    watch.refresh(loaded.services.values())

    watch.refresh([loaded.services["db"]])
    end(process)

    assert (watch.fds, watch.dead()) == ([], [])


def test_a_service_that_never_ran_is_nobody_to_watch(loaded: Project, watch: Watch) -> None:
    watch.refresh(loaded.services.values())

    assert (watch.fds, watch.dead(), watch.poll_seconds) == ([], [], None)


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted as Linux has it")
def test_no_descriptor_is_left_open(loaded: Project, start: Start) -> None:
    before = psutil.Process().num_fds()
    watch = Watch(Store(loaded))

    for _ in range(3):
        processes = [start(service) for service in loaded.services.values()]
        watch.refresh(loaded.services.values())
        watch.refresh(loaded.services.values())
        end(processes[0])
        watch.dead()
    watch.close()

    assert psutil.Process().num_fds() == before
