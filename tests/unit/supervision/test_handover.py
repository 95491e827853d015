"""What a session takes over from one that ended during the collection of its checks."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from remediation.supervision.attempt_log import Collecting
from remediation.supervision.death import Death
from remediation.supervision.handover import Handover
from remediation.supervision.heartbeat import Phase

ROOT = Path("/project")
KILLED = Death(Phase.COLLECT, -signal.SIGKILL, None, "")
HUNG = Death(Phase.COLLECT, -signal.SIGKILL, 30.0, "")
MODULE = Collecting("healthtests/test_a.py")
OTHER = Collecting("healthtests/test_b.py")
FOLDER = Collecting("healthtests", is_folder=True)


def after(*deaths: tuple[Collecting, Death]) -> Handover | None:
    """Return what is known after these deaths, each of another session."""
    known: Handover | None = Handover()
    for collecting, death in deaths:
        known = known.after([collecting], death, ROOT) if known else None
    return known


@pytest.mark.parametrize("deaths", [[MODULE], [FOLDER], [MODULE, OTHER], [FOLDER, MODULE]])
def test_one_crash_is_not_the_fault_of_what_was_being_collected(deaths: list[Collecting]) -> None:
    known = after(*((collecting, KILLED) for collecting in deaths))

    assert known is not None
    assert known.broken == {}


@pytest.mark.parametrize("deaths", [[KILLED, KILLED], [HUNG], [KILLED, HUNG]])
def test_a_module_that_crashes_twice_or_hangs_is_left_out(deaths: list[Death]) -> None:
    known = after(*((MODULE, death) for death in deaths))

    assert known is not None
    assert list(known.broken) == [MODULE.nodeid]


@pytest.mark.parametrize("deaths", [[KILLED, KILLED], [HUNG]])
def test_no_session_takes_over_without_a_whole_folder_of_checks(deaths: list[Death]) -> None:
    assert after(*((FOLDER, death) for death in deaths)) is None


def test_a_crash_between_two_modules_is_the_fault_of_none() -> None:
    assert after((MODULE, Death(Phase.OUTSIDE, -signal.SIGKILL, None, ""))) is None
