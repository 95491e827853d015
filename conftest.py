"""A health suite that heals: run the checks, heal what is sick, run them again, let the report decide.

The checks are in `healthtests/`, the healing is in `remediation/`. A session that runs no checks is none of
our business: `pytest tests` heals nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from remediation.run import plugin

if TYPE_CHECKING:
    from remediation.checks.client import Services


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add --heal and what goes with it; let no report of an earlier run stay."""
    plugin.add_options(parser)
    plugin.load(pluginmanager)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Run a health run in a process of its own, and see it through: a check may hang or crash, the run ends."""
    return plugin.supervise(config)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Make a health run of a session that runs checks: retries, deadlines, a report of every attempt."""
    plugin.begin(config)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """When round one is over and its report written: heal, check again, and set the exit code."""
    yield
    plugin.finish(session)


@pytest.fixture
def services(request: pytest.FixtureRequest) -> Services:
    """The configured services by name: `services["api"].get("/api/health")`."""
    from remediation.checks.client import services_for

    return services_for(request)
