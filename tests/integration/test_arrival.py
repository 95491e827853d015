"""The wait for a deployment takes account of another command that starts the service."""

from __future__ import annotations

from sandbox import DEADLINE, Sandbox
from waiting import Waiting


def test_one_stopped_by_hand_is_not_waited_for(project: Sandbox) -> None:
    project.auto_heal("stop")
    waiting = Waiting(project)

    waiting.wait(10 * DEADLINE)

    assert waiting.told[-1].startswith("Not waiting")


def test_a_dead_one_that_somebody_is_at_work_on_is_waited_for(project: Sandbox) -> None:
    project.configure('env = { SLOW = "2" }')
    starting = project.start("remediation", "start")
    waiting = Waiting(project)

    waiting.wait(2 * DEADLINE)

    assert starting.communicate(timeout=DEADLINE)[0]
    assert starting.returncode == 0
    assert waiting.told[-1].startswith("New version ready after ")
    assert project.answers()
