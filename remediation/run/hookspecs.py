"""The hooks of a project. A function of one of these names, in a conftest or a plugin, is called.

It takes the arguments that it needs, by name. Hooks of several services may run at the same time, in threads of their
own. One that raises or takes too long is logged, and the heal goes on.
"""

from __future__ import annotations

import pytest

from remediation.healing.hooks import HealEvent, HealResult, IncidentInfo, ServiceInfo


@pytest.hookspec(firstresult=True)
def auto_heal_before(service: ServiceInfo, step: str, incident: IncidentInfo) -> str | None:
    """Prepare a heal, or return why it must not be: then nothing is done in this run, and it costs no budget."""


@pytest.hookspec
def auto_heal_after(service: ServiceInfo, result: HealResult, incident: IncidentInfo) -> None:
    """Learn how a step ended, before the checks run again."""


@pytest.hookspec(firstresult=True)
def auto_heal_step(service: ServiceInfo, name: str, incident: IncidentInfo) -> object:
    """Take the step `{ hook = NAME }` of a ladder, and return True; raise if it fails, return None to leave it."""


@pytest.hookspec
def auto_heal_notify(event: HealEvent) -> None:
    """Learn of an event that the monitor notifies people of, in a process of its own."""
