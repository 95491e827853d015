"""A wait for a deployment, with what it tells."""

from __future__ import annotations

import time
from collections.abc import Mapping

from sandbox import Sandbox

from remediation.config.load import load_project
from remediation.config.model import Project
from remediation.deployment.wait import await_arrival
from remediation.state.event_log import EventLog
from remediation.state.service_state import Store


class Waiting:
    """One wait, with its log."""

    def __init__(self, project: Sandbox) -> None:
        """Prepare to wait for the services of a project."""
        self.project: Project = load_project(project.root, {})
        self.store = Store(self.project)
        self.told: list[str] = []

    def wait(self, seconds: float | None, expected: Mapping[str, str] | None = None) -> float:
        """Wait, and return the duration in seconds."""
        event_log = EventLog.of(self.project, terminal=lambda text, _: self.told.append(text))
        began = time.monotonic()
        services = self.project.services.values()
        await_arrival(services, self.store, event_log, wait=seconds, versions=expected or {})
        return time.monotonic() - began
