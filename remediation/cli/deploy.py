"""`auto-heal predeploy` and `postdeploy`: the suite before and after a deployment, and the rollback."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from remediation.cli.check import check, refuse_idle
from remediation.config.load import load_project
from remediation.config.model import Project
from remediation.deployment.context import Deployment
from remediation.state.event_log import EventLog, terminal
from remediation.state.service_state import Store
from remediation.system.exit_codes import FAILED, PASSED

STDOUT = 1


def predeploy(arguments: list[str], *, baseline: Path | None, allow_sick: bool, verbose: bool) -> int:
    """Run the checks without healing, keep their results as the baseline, and return the exit code of the check.

    With `allow_sick`, return 0 even if checks fail.
    """
    from remediation.deployment.baseline import make_room

    refuse_idle(arguments, "compare")
    project = load_project(Path.cwd())
    path = _baseline(project, baseline)
    make_room(path)
    code = check([*arguments, "--heal=off"], verbose=verbose, deployment=Deployment("before", str(path)))
    if code == FAILED and allow_sick:
        EventLog.of(project, terminal=terminal(STDOUT)).log("sick_allowed")
        return PASSED
    return code


def postdeploy(
    arguments: list[str],
    *,
    wait: float | None,
    expected: Sequence[str],
    baseline: Path | None,
    fail_on_slower: bool,
    verbose: bool,
) -> int:
    """Wait for the deployment, run the checks, heal or roll back, and return the exit code of the check.

    `wait` is in seconds; None means the start_timeout of each service. `expected` has the versions that must answer.
    ConfigError if no service reports its version, or the baseline cannot be read.
    """
    from remediation.deployment import versions
    from remediation.deployment.baseline import read
    from remediation.deployment.wait import await_arrival

    refuse_idle(arguments, "compare")
    project = load_project(Path.cwd())
    path = _baseline(project, baseline)
    wanted = versions.expected(project, expected)
    # A broken baseline is an error before the wait, not after it.
    read(path)
    event_log = EventLog.of(project, terminal=terminal(STDOUT))
    await_arrival(project.services.values(), Store(project), event_log, wait=wait, versions=wanted)
    deployment = Deployment("after", str(path), wanted, fail_on_slower=fail_on_slower, wait=wait)
    return check([*arguments, "--rollback"], verbose=verbose, deployment=deployment)


def _baseline(project: Project, named: Path | None) -> Path:
    return Path.cwd() / named if named else project.baseline
