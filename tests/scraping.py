"""The numbers of a monitor, scraped as Prometheus does, with a patience that no test waits for."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sandbox import DEADLINE, Sandbox

from remediation.monitor import metrics as module
from remediation.monitor.metrics import Metrics
from remediation.project.config import load_project
from remediation.project.model import Project

Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]

DB = '[services.db]\nurl = "http://127.0.0.1:9"\nrestart = ["true"]\nbudget = { restarts = 2, window = 60 }'


def two_services(project: Sandbox) -> Project:
    """Configure two services, and return the project."""
    project.configure(more=DB)
    return load_project(project.root, {})


@contextmanager
def serving(configured: Project) -> Iterator[Metrics]:
    """Lend the numbers of a project, served with a patience that no test waits for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PATIENCE", 100 * DEADLINE)
        made = Metrics(configured, 0)
        try:
            yield made
        finally:
            made.close()


def text(metrics: Metrics) -> str:
    """Return what the server answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}/metrics", timeout=DEADLINE) as response:
        answer: str = response.read().decode()
    return answer


def scrape(metrics: Metrics) -> Numbers:
    """Return every number that is served."""
    families = text_string_to_metric_families(text(metrics))
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def one(numbers: Numbers, name: str, **labels: str) -> float | None:
    """Return one number, or None if it is not served."""
    return numbers.get((f"auto_heal_{name}", frozenset(labels.items())))
