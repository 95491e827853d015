"""A session beside a deployment: what it knows of before, what it measures besides, and what it keeps.

Loaded only there.
"""

from __future__ import annotations

import pytest

from remediation.checks.latency import Sampling
from remediation.config.model import Project
from remediation.config.schema import ConfigError
from remediation.deployment import baseline, context, versions
from remediation.deployment.baseline import Baseline
from remediation.deployment.context import Deployment
from remediation.run.health_run import HealthRun
from remediation.system.exit_codes import INTERNAL_ERROR


class Beside:
    """What a session has besides when it is one before or after a deployment."""

    def __init__(self, project: Project, told: Deployment) -> None:
        """Read what is known of before. ConfigError if that cannot be read."""
        self.deployment = told
        self.baseline: Baseline | None = baseline.read(told.baseline_file) if told.phase == "after" else None
        known = self.baseline.checks if self.baseline and told.fail_on_slower else {}
        self.sampling = Sampling(project.latency, {nodeid: one.latency for nodeid, one in known.items()})
        self._project = project

    @classmethod
    def of(cls, config: pytest.Config, project: Project) -> Beside | None:
        """Return what a session has besides, None for an ordinary one. UsageError if it cannot be used.

        One with --rollback alone is one after a deployment, with the usual baseline.
        """
        try:
            told = context.told()
            if told is None and config.getoption("rollback"):
                told = Deployment("after", str(project.baseline))
            return cls(project, told) if told else None
        except ConfigError as error:
            raise pytest.UsageError(str(error)) from None

    def keep(self, run: HealthRun, code: int) -> int:
        """Before a deployment, keep what a run found; return the exit code, which says if that cannot be done."""
        if self.deployment.phase == "after":
            return code
        path = self.deployment.baseline_file
        known = Baseline.of(run.run_state.results(), versions.answering(self._project))
        try:
            baseline.write(path, known)
        except OSError as error:
            run.event_log.log("baseline_not_kept", file=self._project.relative(path), problem=error.strerror or error)
            return INTERNAL_ERROR
        run.event_log.log("baseline_kept", checks=len(known.checks), file=self._project.relative(path))
        return code
