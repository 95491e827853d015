"""Fixtures for all tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandbox import Sandbox, sandbox

from remediation.config.load import load_project
from remediation.config.model import Service
from remediation.state.service_state import Store

# A shell ignores this signal for background jobs, and all processes that the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Sandbox]:
    """A project of its own, with one service that can fail on request."""
    yield from sandbox(tmp_path)


@pytest.fixture
def healthy(project: Sandbox) -> Sandbox:
    """A project whose service is up."""
    result = project.auto_heal("start")
    assert result.code == 0, result
    return project


@pytest.fixture
def service(project: Sandbox) -> Service:
    """Return the service of the project."""
    return load_project(project.root, {}).services["api"]


@pytest.fixture
def store(project: Sandbox) -> Store:
    """Return the store of the project."""
    return Store(load_project(project.root, {}))
