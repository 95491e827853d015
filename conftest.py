"""A health suite that heals: run the checks, heal sick services, run the checks again, let the report decide.

The checks are in `healthtests/`, the healing is in `remediation/`. These hooks leave a session without checks alone:
`pytest tests` heals nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from remediation.run import plugin

if TYPE_CHECKING:
    from remediation.checks.client import Services
    from remediation.checks.probe import Probe


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add --heal and its companions, and remove the report of an earlier run."""
    plugin.add_options(parser)
    plugin.load(pluginmanager)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Fork and supervise a health run, so that it ends even if a check hangs or crashes."""
    return plugin.supervise(config)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Turn a session with checks into a health run: retries, deadlines, a report of every attempt."""
    plugin.begin(config)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """After round one and its report: heal, check again, and set the exit code."""
    yield
    plugin.finish(session)


@pytest.fixture
def services(request: pytest.FixtureRequest) -> Services:
    """The configured services by name: `services["api"].get("/api/health")`."""
    from remediation.checks.client import services_for

    return services_for(request)


@pytest.fixture
def probe(request: pytest.FixtureRequest) -> Probe:
    """What a check can measure: `probe.memory("api", below="500 MiB")`."""
    from remediation.checks.probe import probe_for

    return probe_for(request)
