"""The part of a session that belongs to a deployment: the baseline, latency samples, what is stored for later.

Loaded only in such sessions.
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


class DeploySession:
    """What a session before or after a deployment has in addition."""

    def __init__(self, project: Project, deployment: Deployment) -> None:
        """Read the baseline. ConfigError if it cannot be read."""
        self.deployment = deployment
        is_after = deployment.phase == "after"
        self.baseline: Baseline | None = baseline.read(deployment.baseline_file) if is_after else None
        checks = self.baseline.checks if self.baseline and deployment.fail_on_slower else {}
        self.sampling = Sampling(project.latency, {nodeid: check.latency for nodeid, check in checks.items()})
        self._project = project

    @classmethod
    def of(cls, config: pytest.Config, project: Project) -> DeploySession | None:
        """Return the deployment's part of a session, None for an ordinary session. UsageError if it is unusable.

        A session with only --rollback runs after a deployment, with the default baseline.
        """
        try:
            deployment = context.told()
            if deployment is None and config.getoption("rollback"):
                deployment = Deployment("after", str(project.baseline))
            return cls(project, deployment) if deployment else None
        except ConfigError as error:
            raise pytest.UsageError(str(error)) from None

    def keep(self, run: HealthRun, code: int) -> int:
        """Store the results of a run before a deployment, and return the exit code: an error if that fails."""
        if self.deployment.phase == "after":
            return code
        path = self.deployment.baseline_file
        current = Baseline.of(run.run_state.results(), versions.answering(self._project))
        try:
            baseline.write(path, current)
        except OSError as error:
            run.event_log.log("baseline_not_kept", file=self._project.relative(path), problem=error.strerror or error)
            return INTERNAL_ERROR
        run.event_log.log("baseline_kept", checks=len(current.checks), file=self._project.relative(path))
        return code
