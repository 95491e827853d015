"""The bystanders of a drill: whatever is done to one of them is known."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import psutil
import pytest
from sandbox import Sandbox, wait_for

from remediation.drill.bystanders import Herd
from remediation.project.config import load_project
from remediation.project.model import Project, Service


@pytest.fixture
def loaded(project: Sandbox) -> Project:
    """The project, as it is configured."""
    return load_project(project.root, {})


@pytest.fixture
def service(loaded: Project) -> Service:
    """Its service."""
    return loaded.services["api"]


@pytest.fixture
def herd(loaded: Project, service: Service) -> Iterator[Herd]:
    """A herd that stands by."""
    with Herd(service, loaded) as made:
        yield made


def test_a_herd_that_nobody_touches_is_unharmed(herd: Herd) -> None:
    assert herd.harmed() == []


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGCONT, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_to_a_bystander_is_known_by_its_name(herd: Herd, signum: signal.Signals) -> None:
    os.kill(herd.namesake.helper.pid, signum)

    (harm,) = wait_for(herd.harmed)

    assert str(harm) == f"a bystander (with a PID that was the service's) got {signum.name}"


@pytest.mark.parametrize(("signum", "what"), [(signal.SIGKILL, "was killed"), (signal.SIGSTOP, "was suspended")])
def test_what_cannot_be_caught_is_known_by_its_effect(herd: Herd, signum: signal.Signals, what: str) -> None:
    os.kill(herd.namesake.helper.pid, signum)

    (harm,) = wait_for(herd.harmed)

    assert str(harm).endswith(what)


def test_harm_stays_known(herd: Herd) -> None:
    os.kill(herd.namesake.helper.pid, signal.SIGTERM)
    wait_for(herd.harmed)

    assert herd.harmed()


def test_bystanders_bear_the_name_of_the_service_and_one_listens_next_door(
    herd: Herd, service: Service, project: Sandbox
) -> None:
    children = psutil.Process().children()

    decoys = [child for child in children if "decoy.py" in " ".join(child.cmdline())]
    assert {decoy.name() for decoy in decoys} == {os.path.basename(service.command[0])[:15]}
    assert all(os.getsid(decoy.pid) == decoy.pid for decoy in decoys)
    ports = {one.laddr.port for decoy in decoys for one in decoy.net_connections(kind="tcp")}
    assert len(ports) == 1
    assert 0 < abs(ports.pop() - project.port) <= 10
    assert herd.harmed() == []


def test_a_herd_leaves_nobody_behind(loaded: Project, service: Service) -> None:
    with Herd(service, loaded) as herd:
        pids = [decoy.helper.pid for decoy in herd._decoys]
        os.kill(pids[0], signal.SIGSTOP)

    assert not any(psutil.pid_exists(pid) for pid in pids)
