"""Processes as psutil describes them where there is no /proc, in situations that Linux does not have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from remediation.system.process import Identity, Life, pidfd, pids

pytestmark = pytest.mark.usefixtures("only_posix")

BORN = 1.0


class Process:
    """A process as psutil before 7.1 describes it; each number is one."""

    state: str = psutil.STATUS_SLEEPING

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def status(self) -> str:
        """Return its state."""
        return self.state

    def create_time(self) -> float:
        """Return its birth in epoch seconds."""
        return BORN


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a system in place of this one."""
    monkeypatch.setattr(psutil, "Process", Process)

    def unread(path: Path) -> bytes:
        pytest.fail(f"{path} is of Linux alone")

    monkeypatch.setattr(Path, "read_bytes", unread)


@pytest.mark.parametrize("pid", [1, 812, 2**31 - 1])
def test_the_birth_of_a_process_is_the_time_of_day(pid: int) -> None:
    assert Identity.of(pid) == Identity(pid, f"{BORN:.2f}")


@pytest.mark.parametrize("pid", [0, 2**31])
def test_a_number_that_no_signal_may_be_sent_to_has_no_identity(pid: int) -> None:
    # macOS and the BSDs have a process 0, the kernel. For kill(2), it is our own group.
    assert Identity.of(pid) is None


@pytest.mark.parametrize(
    ("state", "life"),
    [
        (psutil.STATUS_RUNNING, Life.RUNNING),
        (psutil.STATUS_IDLE, Life.RUNNING),
        (psutil.STATUS_STOPPED, Life.SUSPENDED),
        (psutil.STATUS_ZOMBIE, Life.GONE),
        (psutil.STATUS_DEAD, Life.GONE),
    ],
)
def test_the_state_of_a_process_is_told(monkeypatch: pytest.MonkeyPatch, state: str, life: Life) -> None:
    monkeypatch.setattr(Process, "state", state)

    assert Identity(812, f"{BORN:.2f}").life is life


def test_a_birth_that_the_clock_moved_is_not_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    # Since psutil 7.1, this is the birth as it was before.
    monkeypatch.setattr(Process, "_ident", (812, BORN + 1), raising=False)

    assert Identity.of(812) == Identity(812, f"{BORN + 1:.2f}")


def test_a_birth_that_psutil_could_not_read_at_first_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Process, "_ident", (812, None), raising=False)

    assert Identity.of(812) == Identity(812, f"{BORN:.2f}")


def test_the_processes_are_those_that_psutil_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    known: list[Any] = [1, 812]
    monkeypatch.setattr(psutil, "pids", lambda: known)

    assert pids() == known


def test_there_is_no_descriptor_of_a_process() -> None:
    assert pidfd(os.getpid()) is None
