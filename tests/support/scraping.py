"""The metrics of a monitor, scraped as Prometheus does, with timeouts short enough for tests."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sandbox import DEADLINE, Sandbox

from remediation.config.load import load_project
from remediation.config.model import Project
from remediation.monitor import metrics as module
from remediation.monitor.cycle import Cycle
from remediation.monitor.metrics import Metrics
from remediation.monitor.service_status import ServiceStatus
from remediation.state.records import Run
from remediation.state.remediation import Remediation

Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]

DB = '[services.db]\nurl = "http://127.0.0.1:9"\nrestart = ["true"]\nbudget = { restarts = 2, window = 60 }'


def two_services(project: Sandbox) -> Project:
    """Configure two services, and return the project."""
    project.configure(more=DB)
    return load_project(project.root, {})


class Watched(Metrics):
    """The metrics of a monitor whose clock stands at the end of its last run, until a test moves it."""

    def __init__(self, project: Project) -> None:
        """Serve the metrics of a project before its first run."""
        self.moment = 0.0
        self.service_status = ServiceStatus(project.services, clock=lambda: self.moment, steady=lambda: self.moment)
        self._cycles = 0
        super().__init__(project, self.service_status, 0)

    def observe(self, run: Run, remediations: Iterable[Remediation], *, whole: bool = True) -> None:
        """Enter a run that ended now."""
        self.moment = run.ended
        cycle = begun(self.service_status, self._cycles + 1, services=None if whole else [])
        self._cycles = cycle.number
        super().observe(self.service_status.enter(cycle, run), remediations, whole=whole)

    def reload(self, project: Project) -> None:
        """Continue with another configuration."""
        self.service_status.reload(project.services)
        super().reload(project)


def begun(
    service_status: ServiceStatus, number: int, *, services: list[str] | None = None, without: list[str] | None = None
) -> Cycle:
    """Return a cycle that begins now."""
    service_status.begins(number)
    return Cycle(number, services, without or [], cast("Any", None), began=0.0, began_steady=0.0)


@contextmanager
def serving(configured: Project) -> Iterator[Watched]:
    """Yield the metrics of a project, served with short timeouts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PATIENCE", 100 * DEADLINE)
        made = Watched(configured)
        try:
            yield made
        finally:
            made.close()


def text(metrics: Metrics | int) -> str:
    """Return the answer of the server, or of the one at a port."""
    port = metrics if isinstance(metrics, int) else metrics.port
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=DEADLINE) as response:
        answer: str = response.read().decode()
    return answer


def scrape(metrics: Metrics | int) -> Numbers:
    """Return every number that is served."""
    families = text_string_to_metric_families(text(metrics))
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def one(numbers: Numbers, name: str, **labels: str) -> float | None:
    """Return one number, or None if it is not served."""
    return numbers.get((f"auto_heal_{name}", frozenset(labels.items())))
