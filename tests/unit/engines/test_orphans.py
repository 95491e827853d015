"""Services that left the configuration while they ran."""

from __future__ import annotations

import json

import psutil
import pytest
from sandbox import Sandbox

from remediation.config.load import load_project
from remediation.engines.orphans import orphans
from remediation.state.service_state import Store
from remediation.system.process import Identity


@pytest.fixture
def running(project: Sandbox) -> psutil.Process:
    """A process that could be a service's."""
    return psutil.Process(project.stranger("sleep", "600").pid)


def remember(project: Sandbox, name: str, pid: int, born: str | None = None) -> None:
    """Write the state of a service as an earlier configuration left it."""
    identity = Identity.of(pid)
    assert identity
    state = {"pid": pid, "born": born or identity.born}
    project.write(f".auto-heal/{name}.json", json.dumps(state))


def names(project: Sandbox) -> list[str]:
    """Return the names of the project's orphans."""
    return [service.name for service in orphans(Store(load_project(project.root, {})))]


def test_a_service_that_runs_and_is_no_longer_configured_is_an_orphan(
    project: Sandbox, running: psutil.Process
) -> None:
    remember(project, "old", running.pid)

    assert names(project) == ["old"]


def test_a_configured_service_is_none(project: Sandbox, running: psutil.Process) -> None:
    remember(project, "api", running.pid)

    assert names(project) == []


def test_a_service_whose_process_is_gone_is_none_even_if_its_pid_is_in_use(
    project: Sandbox, running: psutil.Process
) -> None:
    remember(project, "old", running.pid, born="before")

    assert names(project) == []


@pytest.mark.parametrize("content", ["", "[]", '{"pid": "x"}', "{}"])
def test_other_files_in_the_state_folder_are_none(project: Sandbox, content: str) -> None:
    project.write(".auto-heal/baseline.json", content)
    project.write(".auto-heal/not a name.json", content)

    assert names(project) == []
