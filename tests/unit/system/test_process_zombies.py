"""Ended processes that still are in the process table: which of them a service left, and how long they are awaited."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil
import pytest
from sandbox import wait_for

from remediation.system.process import Identity, await_removal, group, zombies

# Longer than any test may take: what waits for it is seen to hang.
LONG = 600.0
# A shell that becomes the parent of its child without ever waiting for it.
PARENT = ("sh", "-c", "sleep 600 & echo $!; exec sleep 600")

Lead = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def lead() -> Iterator[Lead]:
    """Start leaders of sessions, and end these with their groups after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def lead(*command: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE))
        return started[-1]

    yield lead
    for process in started:
        if process.returncode is None:
            # macOS forbids it if all of the group are zombies.
            with suppress(PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def leader(lead: Lead) -> tuple[Identity, Identity]:
    """Start a leader that never waits for its child; return both."""
    process = lead(*PARENT)
    assert process.stdout
    child = int(process.stdout.readline())
    # A shell might still wait for it.
    wait_for(lambda: {psutil.Process(pid).name() for pid in (process.pid, child)} == {"sleep"})
    return identity_of(process.pid), identity_of(child)


def identity_of(pid: int) -> Identity:
    """Return the identity of a live process."""
    identity = Identity.of(pid)
    assert identity is not None
    return identity


def end(identity: Identity) -> Identity:
    """Make a process a zombie."""
    os.kill(identity.pid, signal.SIGKILL)
    wait_for(lambda: psutil.Process(identity.pid).status() == psutil.STATUS_ZOMBIE)
    return identity


# Which there are.


@pytest.mark.usefixtures("either_way")
def test_the_zombies_are_those_that_ended_and_not_those_that_live(lead: Lead) -> None:
    live, ended, other = (identity_of(lead("sleep", "600").pid) for _ in range(3))
    end(ended)
    end(other)

    assert zombies([live, ended]) == [ended]
    assert zombies([]) == []


@pytest.mark.usefixtures("either_way")
def test_a_zombie_in_the_session_of_a_process_is_one_of_its_zombies(leader: tuple[Identity, Identity]) -> None:
    parent, child = leader
    end(child)

    assert zombies([parent]) == [child]
    assert zombies([child]) == [child]


# How long they are awaited.


class Reaper:
    """Waits for a zombie at the call of this number, and fails if it is called again."""

    def __init__(self, process: subprocess.Popen[bytes], at: int) -> None:
        self._process, self.left = process, at

    def __call__(self) -> None:
        """Count, and wait if it is the call."""
        self.left -= 1
        assert self.left >= 0
        if self.left == 0:
            self._process.wait()


@pytest.mark.usefixtures("either_way")
def test_zombies_are_awaited_until_the_last_is_reaped_and_no_longer(lead: Lead) -> None:
    first, last = lead("sleep", "600"), lead("sleep", "600")
    identities = [end(identity_of(process.pid)) for process in (first, last)]
    reap_last = Reaper(last, at=3)

    def reap() -> None:
        first.poll()
        reap_last()

    await_removal(identities, LONG, reap)

    assert reap_last.left == 0


@pytest.mark.usefixtures("either_way")
def test_zombies_that_nobody_reaps_are_awaited_no_longer_than_asked(lead: Lead) -> None:
    ended = end(identity_of(lead("sleep", "600").pid))
    polls: list[float] = []

    def look() -> None:
        polls.append(time.monotonic())
        assert polls[-1] - polls[0] < 30

    await_removal([ended], 0.02, look)

    # It pauses between two polls, so that the waiting costs nothing.
    assert len(polls) <= 11


@pytest.mark.usefixtures("either_way")
def test_a_pid_that_is_another_s_by_now_is_not_awaited(lead: Lead) -> None:
    process = lead("sleep", "600")

    await_removal([Identity(process.pid, "another birth"), Identity(2**22 + 1, "gone")], LONG, Reaper(process, at=0))


# Groups.


@pytest.mark.usefixtures("either_way")
def test_a_group_is_all_live_processes_with_its_leader_and_no_other(
    lead: Lead, leader: tuple[Identity, Identity]
) -> None:
    lead("sleep", "600")

    assert {*group(leader[0].pid)} == {*leader}

    end(leader[1])
    assert group(leader[0].pid) == [leader[0]]


@pytest.mark.parametrize("error", [ProcessLookupError, PermissionError])
def test_a_group_is_found_although_another_process_ends_or_is_hidden(
    lead: Lead, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    identity, other = (identity_of(lead("sleep", "600").pid) for _ in range(2))
    real = os.getpgid

    def getpgid(pid: int) -> int:
        if pid == other.pid:
            raise error
        return real(pid)

    monkeypatch.setattr(os, "getpgid", getpgid)

    assert group(identity.pid) == [identity]
