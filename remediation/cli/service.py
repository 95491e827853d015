"""`auto-heal start`, `stop`, `restart` and `reload` act by hand; `pause` and `resume` turn healing off and on."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from remediation.config.load import load_project
from remediation.config.model import Project, Service
from remediation.config.schema import ConfigError
from remediation.engines import adoption, engine_of
from remediation.engines.engine import FoundProcess
from remediation.engines.errors import HealError, NotValidError
from remediation.engines.orphans import log_orphans, orphans
from remediation.healing.remediator import Remediator
from remediation.messages.message import Message
from remediation.state import incidents
from remediation.state.event_log import EventLog, terminal
from remediation.state.history import recorder
from remediation.state.service_state import Pause, Store
from remediation.system.exit_codes import FAILED, INTERRUPTED, PASSED
from remediation.system.process import introduce
from remediation.system.telling import excerpt

STDOUT = 1
# Answers that mean yes, in both languages.
YES = {"y", "yes", "д", "да"}


def by_hand(action: str, names: Sequence[str], *, orphans_too: bool = False) -> int:
    """Start, stop, restart or reload services, dependencies first (last when stopping); return 0, or 1 if one failed.

    `orphans_too` stops those that run and are no longer in the configuration, and only those.
    """
    project = load_project(Path.cwd())
    wanted = selected(project, names, with_dependencies=action == "start")
    services = project.ordered({service.name for service in wanted})
    if action == "stop":
        services.reverse()
    event_log = EventLog.of(project, terminal=terminal(STDOUT))
    for why in project.untrusted:
        event_log.log("untrusted", why=why)
    store = Store(project)
    remediator = Remediator(store, event_log, record=recorder(project, event_log), origin="hand")
    if action == "stop":
        if orphans_too:
            services = orphans(store)
            names = [service.name for service in services]
            if not services:
                event_log.log("no_orphans")
        else:
            log_orphans(store, event_log)
    act = {
        "start": remediator.start, "stop": remediator.stop, "restart": remediator.restart, "reload": remediator.reload
    }[action]  # fmt: skip
    # Leave out services that cannot do the action, unless the user named them.
    chosen = [service for service in services if service.name in names or _can(action, service)]
    failed = False
    for service in chosen or services:
        try:
            act(service)
            if action in ("start", "restart"):
                incidents.close(project, service.name)
        except HealError as error:
            failed = True
            _log_failure(event_log, error)
    return int(failed)


def _log_failure(event_log: EventLog, error: HealError) -> None:
    """Log why an action failed, and what the service's own validation printed."""
    for line in excerpt(error.output.splitlines()).lines if isinstance(error, NotValidError) else ():
        event_log.log("detail", line=line)
    event_log.log_message(error.message)


def adopt(name: str, *, pid: int | None, agreed: bool) -> int:
    """Adopt a server that somebody started by hand; return 0, 1 if it must not be, or 2 if the user declines."""
    project = load_project(Path.cwd())
    (service,) = selected(project, [name])
    event_log = EventLog.of(project, terminal=terminal(STDOUT))
    store = Store(project)
    try:
        candidate, difference = adoption.named(service, pid)
        if os.geteuid() == 0 and not agreed and not _agrees(project, service, candidate.identity.pid):
            return INTERRUPTED
        if difference:
            event_log.log_message(difference)
        found = FoundProcess(candidate.identity, "adopted", candidate.by_title)
        Remediator(store, event_log, record=recorder(project, event_log), origin="hand").adopt(service, found)
    except HealError as error:
        event_log.log_message(error.message)
        return FAILED
    return PASSED


def _agrees(project: Project, service: Service, pid: int) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("root can adopt any process; without a terminal to ask on, adopt needs --yes")
    question = Message("adopt_question", {"holder": introduce(pid), "name": service.name})
    try:
        return input(question.render(project.language, named=True)).strip().lower() in YES
    except EOFError:
        return False


def _can(action: str, service: Service) -> bool:
    engine = engine_of(service)
    if action == "reload":
        return bool(service.reload)
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


def pause(names: Sequence[str], seconds: float | None) -> int:
    """Pause the healing of the named services, or all healing, for some seconds or until `resume`; return 0."""
    project = load_project(Path.cwd())
    new_pause = Pause() if seconds is None else Pause.lasting(seconds)
    store, event_log = Store(project), EventLog.of(project, terminal=terminal(STDOUT))
    for name in _named(project, names):
        store.pause(new_pause, name)
        event_log.log_message(new_pause.message_of(name))
    return 0


def resume(names: Sequence[str]) -> int:
    """End the pause of the named services, or that of all; log which pauses are left, and return 0."""
    project = load_project(Path.cwd())
    store, event_log = Store(project), EventLog.of(project, terminal=terminal(STDOUT))
    for name in _named(project, names):
        store.resume(name)
        event_log.log("resumed_one" if name else "resumed", name=name)
    left = {name: store.paused(name) for name in ("", *project.services)}
    for name, paused in left.items():
        if paused:
            event_log.log_message(paused.message_of(name))
    return 0


def _named(project: Project, names: Sequence[str]) -> list[str]:
    """Return the names of configured services, or an empty one for all of them."""
    return [service.name for service in selected(project, names)] if names else [""]
