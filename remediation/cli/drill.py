"""`auto-heal drill`: inject real faults into the user's own services."""

from __future__ import annotations

import difflib
import os
import random
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from remediation.cli.check import with_checks
from remediation.cli.monitor import WatchedError, log_watcher, watcher_lock
from remediation.cli.service import YES, selected
from remediation.config.load import load_project
from remediation.config.model import Project, Service
from remediation.config.schema import ConfigError
from remediation.drill.fault_names import FAULTS
from remediation.engines import engine_of
from remediation.messages.catalog import Language, Level
from remediation.messages.message import Message
from remediation.state.event_log import EventLog, terminal
from remediation.system import files
from remediation.system.exit_codes import FAILED, INTERNAL_ERROR, INTERRUPTED, PASSED

if TYPE_CHECKING:
    from remediation.drill.results import DrillResults, Trial

STDOUT = 1
REPORT_NAME = "drill.xml"
_LARGEST_SEED = 1_000_000


def drill(
    names: Sequence[str], *, faults: Sequence[str], rounds: int, seed: int | None, confirmed: bool, report: Path | None
) -> int:
    """Inject faults into the named services, or into all that can be drilled, and see whether they are healed.

    Ask on the terminal first, unless `confirmed`. Return 0 if every fault was healed, 1 if a fault was not healed or
    did harm, 2 if the drill was interrupted, 3 if there is no verdict. ConfigError for a wrong use.
    """
    from remediation.drill.experiment import plan

    project = load_project(Path.cwd())
    with_checks([], project)
    _refuse_without_healing()
    event_log = EventLog.of(project, terminal=terminal(STDOUT))
    services = _drillable(project, names, event_log)
    path = _report(project, report)
    seed = random.SystemRandom().randrange(_LARGEST_SEED) if seed is None else seed
    trials = plan(services, list(dict.fromkeys(faults)) or list(FAULTS), rounds=rounds, seed=seed)
    try:
        with watcher_lock(project, drills=True):
            if not confirmed and not _agreed(project, services, len(trials)):
                event_log.log("drill_not_begun")
                return INTERRUPTED
            path.unlink(missing_ok=True)
            event_log.log("drill_seed", seed=seed)
            return _drill(project, event_log, services, trials, rounds=rounds, seed=seed, path=path)
    except WatchedError:
        log_watcher(project, event_log)
        return INTERNAL_ERROR
    except OSError as error:
        print(f"auto-heal: {error.filename or project.state_folder}: {error.strerror or error}", file=sys.stderr)
        return INTERNAL_ERROR


def _refuse_without_healing() -> None:
    wanted = os.environ.get("AUTO_HEAL") or "auto"
    if wanted != "auto":
        raise ConfigError(f"environment: AUTO_HEAL is {wanted!r}; with it no check heals, and a drill proves nothing")


def _drillable(project: Project, names: Sequence[str], event_log: EventLog) -> list[Service]:
    """Return the services to drill, in order. ConfigError if there is none, or a name is unknown."""
    for name in names:
        near = difflib.get_close_matches(name, project.services, n=1, cutoff=0.5)
        if near and near[0] != name:
            raise ConfigError(f"no service is called {name!r} in {project.source.name}; did you mean {near[0]!r}?")
    drillable = []
    for service in project.ordered({service.name for service in selected(project, names)}):
        if _is_local(service):
            drillable.append(service)
        else:
            event_log.log("drill_left_out", name=service.name)
    if not drillable:
        raise ConfigError(
            f"{project.source.name}: no service can be drilled; it needs a command, and a url on this machine"
        )
    return drillable


def _is_local(service: Service) -> bool:
    """Return whether auto-heal itself starts and ends a service on this machine."""
    engine = engine_of(service)
    return engine.owns_processes and engine.out_of_reach() is None


def _report(project: Project, wanted: Path | None) -> Path:
    """Return the path of the report, by default beside that of the checks. ConfigError if it is not a file."""
    path = project.report.with_name(REPORT_NAME) if wanted is None else Path.cwd() / wanted
    if path.exists() and not path.is_file():
        raise ConfigError(f"the report {path} is no regular file; it is not replaced")
    return path


def _agreed(project: Project, services: Sequence[Service], count: int) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("a drill kills and suspends processes; without a terminal to ask on, it needs --yes")
    names = ", ".join(service.name for service in services)
    warning = Message("drill_warning", {"names": names, "count": count})
    terminal(STDOUT)(warning.render(project.language, named=True), Level.WARN)
    try:
        answer = input(Message("drill_go_on", {}).render(project.language, named=True))
    except EOFError:
        return False
    return answer.strip().lower() in YES


def _drill(
    project: Project, event_log: EventLog, services: Sequence[Service], trials: list[Trial], *, rounds: int, seed: int,
    path: Path,
) -> int:  # fmt: skip
    from remediation.drill.experiment import Drill
    from remediation.drill.helper import room
    from remediation.drill.interrupt import Interrupts
    from remediation.drill.results import RefusedError
    from remediation.system.signals import Signals

    names = [service.name for service in services]
    wanted = {service.name for service in selected(project, names, with_dependencies=True)}
    needed = [service for service in project.ordered(wanted) if _is_local(service)]
    began = time.time()
    try:
        with Signals() as signals, room(project) as folder:
            experiment = Drill(project, event_log, folder=folder, interrupts=Interrupts(signals), seed=seed)
            results = experiment.run(needed, trials, rounds=rounds)
            return _conclude(results, event_log, path, began, project.language)
    except RefusedError as error:
        event_log.log_message(error.message)
        return INTERNAL_ERROR
    except Exception:  # noqa: BLE001 - an error in auto-heal is not a verdict on the services
        traceback.print_exc()
        return INTERNAL_ERROR


def _conclude(results: DrillResults, event_log: EventLog, path: Path, began: float, language: Language) -> int:
    """Show the table, write the report, and return the exit code."""
    from remediation.drill.report import document, table

    show = terminal(STDOUT)
    for line in ["", *table(results, language), ""]:
        show(line, Level.INFO)
    code = _verdict(results, event_log)
    try:
        files.write(path, document(results, began=began))
        event_log.log("drill_report", path=path)
    except OSError as error:
        event_log.log("drill_no_report", path=path, problem=error.strerror or error)
        return code or INTERNAL_ERROR
    return code


def _verdict(results: DrillResults, event_log: EventLog) -> int:
    count = len(results.tried)
    if results.failed:
        event_log.log("drill_failed", failed=len(results.failed), count=count)
    if results.interrupted:
        return INTERRUPTED
    if results.failed or results.not_back:
        return FAILED
    if not count:
        event_log.log("drill_no_verdict")
        return INTERNAL_ERROR
    event_log.log("drill_passed", count=count)
    if skipped := len(results.all) - count:
        event_log.log("drill_some_skipped", count=skipped)
    return PASSED
