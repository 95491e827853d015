"""`auto-heal start`, `stop` and `restart` control services by hand; `pause` and `resume` turn healing off and on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from remediation.config.load import load_project
from remediation.config.model import Project, Service
from remediation.config.schema import ConfigError
from remediation.engines import engine_of
from remediation.engines.errors import HealError
from remediation.healing.remediator import Remediator
from remediation.state import incidents
from remediation.state.event_log import EventLog, terminal
from remediation.state.history import recorder
from remediation.state.service_state import Pause, Store

STDOUT = 1


def by_hand(action: str, names: Sequence[str]) -> int:
    """Start, stop or restart services, dependencies first (last when stopping); return 0, or 1 if one failed."""
    project = load_project(Path.cwd())
    wanted = selected(project, names, with_dependencies=action == "start")
    services = project.ordered({service.name for service in wanted})
    if action == "stop":
        services.reverse()
    event_log = EventLog.of(project, terminal=terminal(STDOUT))
    remediator = Remediator(Store(project), event_log, record=recorder(project, event_log), origin="hand")
    act = {"start": remediator.start, "stop": remediator.stop, "restart": remediator.restart}[action]
    # Leave out services that cannot do the action, unless the user named them.
    chosen = [service for service in services if service.name in names or _can(action, service)]
    failed = False
    for service in chosen or services:
        try:
            act(service)
            if action != "stop":
                incidents.close(project, service.name)
        except HealError as error:
            failed = True
            event_log.log_message(error.message)
    return int(failed)


def _can(action: str, service: Service) -> bool:
    engine = engine_of(service)
    return engine.can_stop if action == "stop" else engine.can_start


def selected(project: Project, names: Sequence[str], *, with_dependencies: bool = False) -> list[Service]:
    """Return the named services, or all of them; ConfigError for a name that is not configured."""
    for name in names:
        if name not in project.services:
            known = ", ".join(sorted(project.services))
            raise ConfigError(f"no service is called {name!r} in {project.source.name}; known services: {known}")
    wanted = dict.fromkeys(names or project.services)
    if with_dependencies:
        pending = list(wanted)
        while pending:
            needs = project.services[pending.pop()].depends_on
            pending += [need for need in needs if need not in wanted]
            wanted |= dict.fromkeys(needs)
    return [project.services[name] for name in wanted]


def pause(seconds: float | None) -> int:
    """Pause healing for some seconds, or until `resume`; return 0."""
    project = load_project(Path.cwd())
    new_pause = Pause() if seconds is None else Pause.lasting(seconds)
    Store(project).pause(new_pause)
    EventLog.of(project, terminal=terminal(STDOUT)).log_message(new_pause.message)
    return 0


def resume() -> int:
    """Allow healing again; return 0."""
    project = load_project(Path.cwd())
    Store(project).resume()
    EventLog.of(project, terminal=terminal(STDOUT)).log("resumed")
    return 0
