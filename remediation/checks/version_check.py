"""The built-in check that the deployed version answers, in addition to the project's checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from remediation.checks import OWN
from remediation.checks.errors import ServiceDown
from remediation.config.model import Project, Service
from remediation.deployment.context import Deployment
from remediation.deployment.versions import mismatch


class VersionCheck(pytest.Item):
    """Asks a service for its version. It heals nothing: while the old version answers, the service is available."""

    def __init__(self, *, service: Service, deployment: Deployment, times: int, source: Path, **kwargs: Any) -> None:
        """Expect the deployment's version, `times` times in a row; `source` is the file of the configuration."""
        super().__init__(**kwargs)
        self._service = service
        self._expected = deployment.versions[service.name]
        self._undone = deployment.undone.get(service.name, "")
        self._times = times
        self._source = source

    @classmethod
    def of(cls, session: pytest.Session, service: Service, deployment: Deployment, project: Project) -> VersionCheck:
        """Return the check of one service."""
        name = f"{service.name} version"
        return cls.from_parent(
            session, name=name, nodeid=f"{OWN}{name}", service=service, deployment=deployment,
            times=project.latency.calls, source=project.source,
        )  # fmt: skip

    def runtest(self) -> None:
        """Ask several times, with a new connection each: old and new instances may share one port."""
        timeout = self._service.probe_timeout
        for _ in range(self._times):
            if wrong := mismatch(self._service, self._expected, timeout=timeout, undone=self._undone):
                raise ServiceDown(str(wrong))
        if self._expected:
            self.user_properties.append(("version", self._expected))

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return the configuration as the location of this check."""
        return self._source, None, self.name
