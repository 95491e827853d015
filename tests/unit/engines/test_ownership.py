"""Which processes belong to a service, and which may be ended: decided on real processes with marks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from sandbox import Sandbox, wait_for

from remediation.config.model import Service
from remediation.engines import ownership
from remediation.state.service_state import ServiceState
from remediation.system.environment import SERVICE_MARK
from remediation.system.process import Identity, value_of

# Starts a child, prints its PID, and ends it when its own input ends.
PARENT = """
import subprocess, sys
child = subprocess.Popen(["sleep", "600"])
print(child.pid, flush=True)
sys.stdin.read()
child.kill()
child.wait()
"""

Start = Callable[..., Identity]
StartFamily = Callable[..., tuple[Identity, Identity]]


@pytest.fixture
def start(project: Sandbox) -> Start:
    """Start a process with these variables in its environment."""

    def start(**variables: str) -> Identity:
        return known(project.stranger("sleep", "600", **variables).pid, variables)

    return start


@pytest.fixture
def start_family() -> Iterator[StartFamily]:
    """Start a process that has a child; both have these variables in their environment."""
    started: list[subprocess.Popen[bytes]] = []

    def start_family(**variables: str) -> tuple[Identity, Identity]:
        pipe, environ = subprocess.PIPE, Sandbox.environment(**variables)
        process = subprocess.Popen([sys.executable, "-c", PARENT], env=environ, stdin=pipe, stdout=pipe)
        started.append(process)
        assert process.stdout is not None
        return known(process.pid, variables), known(int(process.stdout.readline()), variables)

    yield start_family
    for process in started:
        process.communicate()


def known(pid: int, variables: dict[str, str]) -> Identity:
    """Return the identity of a process as soon as its environment has these variables."""
    # While it executes a program, it has no environment to be found by.
    wait_for(lambda: all(value_of(name, pid) == value for name, value in variables.items()))
    identity = Identity.of(pid)
    assert identity is not None
    return identity


def marked(service: Service) -> dict[str, str]:
    """Return the mark of a service, as a variable of the environment."""
    return {SERVICE_MARK: service.mark}


# The root.


def test_the_only_marked_process_is_the_root(service: Service, start: Start) -> None:
    identity = start(**marked(service))

    assert ownership.marked_root(service, ServiceState()) == identity


def test_a_marked_process_with_a_marked_child_is_the_root(service: Service, start_family: StartFamily) -> None:
    parent, _ = start_family(**marked(service))

    assert ownership.marked_root(service, ServiceState()) == parent


def test_of_several_marked_processes_none_is_the_root(service: Service, start: Start) -> None:
    start(**marked(service))
    start(**marked(service))

    assert ownership.marked_root(service, ServiceState()) is None


def test_a_service_without_processes_has_no_root(service: Service) -> None:
    assert ownership.marked_root(service, ServiceState()) is None
