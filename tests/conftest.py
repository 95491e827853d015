"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sandbox import Sandbox, sandbox


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Sandbox]:
    """A project of its own, with one service that can fall ill."""
    yield from sandbox(tmp_path)


@pytest.fixture
def healthy(project: Sandbox) -> Sandbox:
    """A project whose service is up."""
    result = project.auto_heal("start")
    assert result.code == 0, result
    return project
