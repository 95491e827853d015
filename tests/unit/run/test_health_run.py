"""A run ends, whatever its heals return."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from remediations import remediation
from sandbox import Sandbox

from remediation.checks.results import Attempt, RoundFindings
from remediation.config.load import load_project
from remediation.healing import dependencies
from remediation.run.health_run import HealthRun, Options
from remediation.run.rounds import Part, Round
from remediation.run.run_state import RunState
from remediation.state.event_log import EventLog
from remediation.state.remediation import Remediation, RemediationResult
from remediation.state.service_state import Store
from remediation.supervision.round_files import FINDINGS_NAME, XML_NAME


@pytest.fixture
def endless(project: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Callable[[Remediation], int]:
    """Return a function that counts the heals of a run whose checks always fail and whose heals always end alike."""

    def count(done: Remediation) -> int:
        found, numbers = load_project(project.root, {}), itertools.count(1)
        attempt = Attempt("t.py::t", "t", False, "ill", "E", "ill", time.time(), True, 0, {"api": 0})
        monkeypatch.setattr(dependencies, "heal_all", lambda *_, **__: next(numbers) and [done])

        def round_in(folder: Path) -> Round:
            xml = folder / XML_NAME
            xml.write_text('<testsuites><testsuite tests="1"><testcase classname="t" name="t"><failure/></testcase>'
                           "</testsuite></testsuites>")  # fmt: skip
            return Round(1, [Part(xml, RoundFindings([attempt], []))])

        def again(folder: Path) -> tuple[int, list[Path]]:
            import msgspec

            (folder / FINDINGS_NAME).write_bytes(msgspec.json.encode(round_in(folder).parts[0].findings))
            return 1, [folder]

        run = HealthRun(
            project=found, store=Store(found), event_log=EventLog.of(found),
            options=Options("auto", None, fail_on_heal=False),
            run_state=RunState(found), again=again, report=found.report, root=found.root, selected=[],
        )  # fmt: skip
        first = project.root / "first"
        first.mkdir()
        run.finish(round_in(first))
        return next(numbers) - 1

    return count


@pytest.mark.parametrize("result", RemediationResult)
@pytest.mark.parametrize("action", ["restart", ""])
def test_no_remediation_that_is_repeated_for_ever_keeps_a_run_from_its_end(
    endless: Callable[[Remediation], int], result: RemediationResult, action: str
) -> None:
    assert 1 <= endless(remediation(action=action, result=result)) <= 2
