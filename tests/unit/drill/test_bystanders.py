"""The bystanders of a drill: any harm to one of them is noticed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import psutil
import pytest
from drilling import loaded_from
from sandbox import Sandbox, wait_for
from systems import needs_proc

from remediation.drill.bystanders import Bystanders


def herd_of(project: Sandbox) -> Bystanders:
    """Return the bystanders of a project's service."""
    loaded = loaded_from(project)
    return Bystanders(loaded.services["api"], loaded)


@pytest.fixture
def herd(project: Sandbox) -> Iterator[Bystanders]:
    """Started bystanders."""
    with herd_of(project) as made:
        yield made


def test_a_herd_that_nobody_touches_is_unharmed(herd: Bystanders) -> None:
    assert herd.harmed() == []


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGCONT, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_to_a_bystander_is_known_by_its_name(herd: Bystanders, signum: signal.Signals) -> None:
    os.kill(herd.namesake.helper.pid, signum)

    (harm,) = wait_for(herd.harmed)

    assert str(harm) == f"a bystander (with a PID that was the service's) got {signum.name}"


@pytest.mark.parametrize(("signum", "what"), [(signal.SIGKILL, "was killed"), (signal.SIGSTOP, "was suspended")])
def test_what_cannot_be_caught_is_known_by_its_effect(herd: Bystanders, signum: signal.Signals, what: str) -> None:
    os.kill(herd.namesake.helper.pid, signum)

    (harm,) = wait_for(herd.harmed)

    assert str(harm).endswith(what)


def test_harm_stays_known(herd: Bystanders) -> None:
    os.kill(herd.namesake.helper.pid, signal.SIGTERM)
    wait_for(herd.harmed)

    assert herd.harmed()


@needs_proc
def test_bystanders_bear_the_name_of_the_service_and_one_listens_next_door(herd: Bystanders, project: Sandbox) -> None:
    program = loaded_from(project).services["api"].command[0]

    decoys = [psutil.Process(decoy.helper.pid) for decoy in herd._decoys]

    assert {decoy.name() for decoy in decoys} == {os.path.basename(program)[:15]}
    assert all(os.getsid(decoy.pid) == decoy.pid for decoy in decoys)
    ports = {one.laddr.port for decoy in decoys for one in decoy.net_connections(kind="tcp")}
    assert len(ports) == 1
    assert 0 < abs(ports.pop() - project.port) <= 10
    assert herd.harmed() == []


def test_a_herd_leaves_nobody_behind(project: Sandbox) -> None:
    with herd_of(project) as herd:
        pids = [decoy.helper.pid for decoy in herd._decoys]
        os.kill(pids[0], signal.SIGSTOP)

    assert not any(psutil.pid_exists(pid) for pid in pids)
