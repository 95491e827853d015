"""How long another healer may be at work."""

from __future__ import annotations

import pytest
from sandbox import Sandbox

from remediation.config.load import load_project
from remediation.healing.context import longest


def test_whoever_waits_for_the_lock_waits_as_long_as_a_rollback_may_take(project: Sandbox) -> None:
    def waits(timeout: int) -> float:
        project.configure(f'rollback = {{ run = "sh rollback.sh", timeout = {timeout} }}')
        return longest(load_project(project.root, {}).services["api"])

    assert waits(500) - waits(1) == pytest.approx(499)
