"""One health run: the first round in this pytest, the heals, the rounds after it, the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec.structs import replace

from remediation.checks.results import places
from remediation.config.model import Project
from remediation.deployment.context import Deployment
from remediation.github import is_step
from remediation.healing import liveness
from remediation.run.junit import IncompleteReportError
from remediation.run.rounds import Round, read_round
from remediation.run.run_state import RunState
from remediation.state import incidents
from remediation.state.event_log import EventLog
from remediation.state.evidence_store import Archive
from remediation.state.history import recorder
from remediation.state.records import Run
from remediation.state.remediation import Origin, Remediation
from remediation.state.service_state import Store
from remediation.supervision.round_files import SELECTED_NAME
from remediation.system import files, logrotate
from remediation.system.exit_codes import (
    FAILED,
    HEALED,
    INTERNAL_ERROR,
    INTERRUPTED,
    NO_CHECKS,
    PASSED,
    ROLLED_BACK,
    USAGE_ERROR,
    VERDICTS,
    Verdict,
)
from remediation.system.files import LockTimeoutError
from remediation.system.signals import sigterm_interrupts

if TYPE_CHECKING:
    from remediation.healing.hooks import Hooks
    from remediation.healing.incident import Incident
    from remediation.healing.remediator import Remediator
    from remediation.supervision.attempt_log import AttemptLog
    from remediation.supervision.handover import Handover

# The least time between two rounds while a service is starting, in seconds.
_SHORTEST_PAUSE = 0.2

Heals = Literal["auto", "plan", "off"]
"""Heal sick services, only print the plan, or do nothing."""


class Options(msgspec.Struct, frozen=True):
    """The origin of a run, and the options of the command line about healing."""

    heal: Heals
    rounds: int | None
    """The most rounds of healing; None for as many as the ladders have steps."""
    fail_on_heal: bool
    rollback: bool = False
    """Whether to roll back a service that no heal has helped."""
    allow_unproven: bool = False
    """Whether a service counts as healthy if all its checks were skipped."""
    origin: Origin = "check"
    interval: float | None = None
    """Seconds from one cycle of the monitor to the next."""


class HealthRun(msgspec.Struct):
    """One run, from the end of its first round on."""

    project: Project
    store: Store
    event_log: EventLog
    options: Options
    run_state: RunState
    again: Callable[[Path], tuple[int, list[Path]]]
    """Runs the checks listed in a folder once more; returns pytest's exit code and the folders of the findings."""
    report: Path
    root: Path
    """The folder from which pytest names the files of checks."""
    selected: list[str]
    """The node IDs of the checks that the first round selected."""
    deployment: Deployment | None = None
    verdict: Verdict = "sick"
    may_heal: Callable[[list[Incident]], bool] = lambda _: True
    """Called before every round of healing."""
    hooks: Callable[[], Hooks | None] = lambda: None
    """Returns the hooks of the project."""
    began: float = msgspec.field(default_factory=time.time)

    def finish(self, first: Round) -> int:
        """Heal and check again until all checks pass or nothing more can be done; return the exit code.

        Heals only on exit code 1, not after an interruption, an internal error or a usage error.
        """
        self.run_state.rounds.append(first)
        try:
            with sigterm_interrupts():
                self._open_incidents()
                if self._heal_and_repeat():
                    self._roll_back()
        except KeyboardInterrupt:
            self.run_state.rounds.append(replace(self.run_state.rounds.pop(), code=INTERRUPTED))
        except OSError as error:
            self.event_log.log("incomplete", reason=str(error))
            self.run_state.rounds.append(replace(self.run_state.rounds.pop(), code=INTERNAL_ERROR))
        self._adopt()
        self._end_start_periods()
        code = self._conclude()
        self._report_to_github(code)
        self._tidy_up()
        return code

    def _open_incidents(self, *, at_end: bool = False) -> None:
        """Open an incident for whatever fails now and has none. Nothing else in a run opens one.

        The first start of a service is no incident, unless the service fails after it or at the end of the run.
        """
        run_state = self.run_state
        if not at_end:
            self._excuse_starting()
        failing = run_state.failing
        if len(run_state.rounds) == 1 and not at_end:
            names = failing.keys() & self.project.services
            run_state.first_starts = frozenset(
                name for name in names if liveness.never_ran(self.project.services[name], self.store)
            )
            failing = {name: since for name, since in failing.items() if name not in run_state.first_starts}
        if failing:
            run_state.open_incidents(failing, self.event_log.log)
            self.event_log.incidents = {name: incident.id for name, incident in run_state.opened.items()}

    def _adopt(self) -> None:
        """Record servers that the checks found well, and of which we know nothing yet."""
        if self.options.heal != "auto" or self.run_state.last.code not in (PASSED, FAILED) or self.store.paused():
            return
        findings = self.run_state.last.findings
        # What was checked only: a server that hangs answers slowly.
        names = {name for result in findings.results for name in result.services}
        failed = {name for attempt in findings.attempts if attempt.final for name in attempt.heals}
        for name in sorted(names - failed):
            if not self.store.paused(name) and liveness.is_unknown(self.project.services[name], self.store):
                self._remediator().adopt_if_certain(self.project.services[name])

    def _report_to_github(self, code: int) -> None:
        """Write outputs and summary of the step, if the run is one of a GitHub workflow."""
        if self.options.origin != "check" or code not in VERDICTS or not is_step():
            return
        from remediation.deployment import versions
        from remediation.github import step

        run_state, deployment = self.run_state, self.deployment
        step.tell(
            replace(self.to_record(), results=run_state.results()), remediations=run_state.folded(),
            changes=run_state.changes(), baseline=run_state.baseline,
            deployed=deployment is not None and deployment.phase == "after",
            versions=versions.answering(self.project) if deployment else {},
            places=places(completed.findings for completed in run_state.rounds),
            root=self.root, report=self.report, event_log=self.event_log,
        )  # fmt: skip

    def _tidy_up(self) -> None:
        """Keep logs and evidence within their limits."""
        # On failure, the files only grow; that must not change the verdict.
        with suppress(OSError):
            Archive(self.project).prune()
        for service in self.project.services.values():
            with suppress(OSError):
                logrotate.running(service.log_file, service.log_size)

    def to_record(self) -> Run:
        """Return the record of this run for the history."""
        options, results = self.options, self.run_state.recorded_results()
        return Run(self.began, time.time(), options.origin, self.verdict, options.interval, results)

    def record(self) -> None:
        """Write this run into the history, or log why that failed."""
        from remediation.state.history import History, HistoryError

        try:
            History(self.project).record_run(incidents.note(self.project, self.to_record(), self.event_log.log))
        except HistoryError as error:
            self.event_log.log("no_history", problem=error)

    def _heal_and_repeat(self) -> bool:
        """Climb the ladders as long as that can help; return whether healing was allowed."""
        healed_rounds = 0
        while self._is_failed:
            starting = self.run_state.last.starting
            incidents = [incident for incident in self.run_state.to_heal() if incident.service.name not in starting]
            if not incidents:
                if not starting or self._only_reports_starting(starting):
                    break
                self._ask_again(starting)
                continue
            if not self._may_heal(incidents):
                return False
            if healed_rounds >= self._most_heals:
                break
            healed_rounds += 1
            if not self._only_waits(incidents):
                self.event_log.log("healing")
            remediations = self._heal(incidents)
            self._log_older(remediations)
            if not any(remediation.ok for remediation in remediations) and not self._can_continue(remediations):
                if self.options.origin != "monitor" and self._excuse_starting():
                    continue
                # Every step was used or refused, so another round would find the same.
                break
            self.event_log.log("verifying")
            self._run_again(remediations)
        return True

    def _excuse_starting(self) -> bool:
        """Excuse the failures of services that are in their start period; return whether there are any."""
        starting = {
            name: until
            for name in self.run_state.failing_services
            if (until := liveness.starting_until(self.project.services[name], self.store))
        }
        self.run_state.excuse(starting)
        return bool(starting)

    def _only_reports_starting(self, starting: Mapping[str, float]) -> bool:
        """Report, in the monitor, which services are starting; its next cycle asks again."""
        if self.options.origin != "monitor":
            return False
        self._log_starting(starting)
        return True

    def _log_starting(self, starting: Mapping[str, float]) -> None:
        until = time.strftime("%H:%M:%S", time.localtime(max(starting.values())))
        self.event_log.log("starting_still", names=sorted(starting), until=until)

    def _ask_again(self, starting: Mapping[str, float]) -> None:
        """Run the checks once more, a while later, as long as a service is starting."""
        self._log_starting(starting)
        left = min(starting.values()) - time.time()
        time.sleep(max(_SHORTEST_PAUSE, min(self.project.retry_delay, left)))
        self._run_again([])

    def _end_start_periods(self) -> None:
        """End the start period of each service whose checks all pass."""
        passed = {name for result in self.run_state.last.findings.results for name in result.services}
        for name in sorted(passed - set(self.run_state.failing_services)):
            service = self.project.services[name]
            if liveness.starting_until(service, self.store):
                with suppress(LockTimeoutError, OSError), self.store.lock(service, timeout=0):
                    state = self.store.recall(service)
                    state.started_at = 0.0
                    self.store.keep(service, state)

    def _log_older(self, remediations: list[Remediation]) -> None:
        """Name the incidents of heals that an earlier run has opened; those of this run were logged when they began."""
        for remediation in remediations:
            opened = self.run_state.opened.get(remediation.service)
            if remediation.action and opened and opened.began < self.began:
                since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(opened.began))
                self.event_log.log("incident_healed", name=remediation.service, id=opened.id, since=since)

    def _can_continue(self, remediations: list[Remediation]) -> bool:
        """Return whether failed heals may be followed by another step or, at the end, by a rollback."""
        can_roll_back = self.options.rollback and any(
            self.project.services[remediation.service].rollback for remediation in remediations
        )
        has_acted = any(remediation.action for remediation in remediations)
        return self.run_state.has_next_step(remediations) or (can_roll_back and has_acted)

    @property
    def _most_heals(self) -> int:
        most = self.run_state.most_heals
        return most if self.options.rounds is None else min(most, self.options.rounds)

    @property
    def _is_failed(self) -> bool:
        return self.run_state.last.code == FAILED and self.run_state.is_complete

    def _may_heal(self, incidents: list[Incident]) -> bool:
        """Return whether a round of healing is allowed; if not, log why, or log the plan."""
        if self.options.heal == "off":
            self.event_log.log("healing_off")
        elif self.options.heal == "plan":
            self._log_plan(incidents)
        elif pause := self.store.paused():
            self.event_log.log_message(pause.message)
        else:
            return self.may_heal(incidents)
        return False

    def _log_plan(self, incidents: list[Incident]) -> None:
        from remediation.healing.dry_run import plan

        for message in plan(incidents, self.project.services, self.store, rollback=self.options.rollback):
            self.event_log.log_message(message)

    def _only_waits(self, incidents: list[Incident]) -> bool:
        """Return whether no action is allowed for any of these incidents."""
        from remediation.healing.dry_run import nothing_may_be_done

        return nothing_may_be_done(incidents, self.project.services, self.store)

    def _heal(self, incidents: list[Incident]) -> list[Remediation]:
        from remediation.healing.dependencies import heal_all

        remediations = heal_all(
            incidents, self.project.services, remediator=self._remediator(), store=self.store, event_log=self.event_log,
            origin=self.options.origin, earlier=self.run_state.remediations,
        )  # fmt: skip
        self.run_state.add(remediations)
        return remediations

    def _remediator(self) -> Remediator:
        from remediation.healing.remediator import Remediator

        record = recorder(self.project, self.event_log)
        return Remediator(self.store, self.event_log, record=record, origin=self.options.origin, hooks=self.hooks())

    def _roll_back(self) -> None:
        """Roll back the services that a deployment broke and no heal repaired, and check again."""
        if not self.options.rollback or not self._is_failed:
            return
        from remediation.run import rollback

        incidents = rollback.report_broken(self.run_state, self.event_log)
        # A pause may have begun since the last heal.
        if not incidents or not self._may_heal(incidents):
            return
        remediations = rollback.roll_back_all(incidents, self._remediator(), self.run_state, self.store, self.event_log)
        self.run_state.add(remediations)
        if not any(remediation.rolled_back for remediation in remediations):
            return
        if self.deployment:
            old_versions = self.run_state.baseline.versions if self.run_state.baseline else {}
            self.deployment = rollback.await_previous_versions(
                remediations, self.deployment, old_versions, self.store, self.event_log
            )
        self.event_log.log("verifying_rollback")
        self._run_again(remediations)
        if self.run_state.last.code not in (PASSED, FAILED, INTERRUPTED):
            self.event_log.log("back_unchecked")

    def _run_again(self, remediations: list[Remediation]) -> None:
        """Run the suite in a new session, and log which checks the heal has broken."""
        rounds = self.run_state.rounds
        folder = rounds[0].parts[0].xml.parent / f"round-{len(rounds) + 1}"
        try:
            files.make_folder(folder.parent)
            folder.mkdir()
            (folder / SELECTED_NAME).write_bytes(msgspec.json.encode(self.selected))
            new_round = read_round(*self.again(folder))
        except OSError as error:
            self.event_log.log("incomplete", reason=f"round {len(rounds) + 1} cannot begin: {error.strerror or error}")
            new_round = Round(INTERNAL_ERROR, [])
        healed = tuple(remediation.service for remediation in remediations if remediation.action)
        rounds.append(replace(new_round, healed=healed))
        self._open_incidents()
        for change in self.run_state.newly_harmed():
            self.event_log.log_message(change.message)

    def _conclude(self) -> int:
        """Write the report, read the verdict back from it, and return the exit code."""
        code = self.run_state.last.code
        if code == INTERNAL_ERROR and len(self.run_state.rounds) > 1:
            self.event_log.log("incomplete", reason=f"round {len(self.run_state.rounds)} broke off")
        if code in (INTERNAL_ERROR, USAGE_ERROR):
            return code
        self._open_incidents(at_end=True)
        self._compare()
        unproven = self.run_state.unproven() if code == PASSED and not self.options.allow_unproven else None
        verdict_if_passed: Verdict = "unproven" if unproven else self.run_state.verdict_if_passed
        verdict: Verdict = verdict_if_passed if code == PASSED else "sick"
        lines = self.event_log.lines if self.run_state.remediations or self.deployment else []
        try:
            publication = self.run_state.publication(lines)
            failed = publication.write(self.report, verdict, empty=code == NO_CHECKS)
        except (IncompleteReportError, OSError) as error:
            self.event_log.log("incomplete", reason=str(error))
            return code if code == INTERRUPTED else INTERNAL_ERROR
        # The XML may raise pytest's exit code, never lower it.
        code = FAILED if failed and code == PASSED else code
        self.verdict = verdict if code == PASSED else "sick"
        if code == FAILED and self.options.origin == "monitor" and self.run_state.only_starting:
            self.verdict = "starting"
        elif code == FAILED:
            self.event_log.log("sick", checks=", ".join(self.run_state.names(failed)))
        elif code == PASSED and (self.options.origin, self.verdict) != ("monitor", "healthy"):
            # A monitor logs "healthy" itself, because only it knows the services of the whole cycle.
            self.event_log.log(self.verdict, names=unproven)
        match self.verdict:
            case "unproven":
                return FAILED
            case "rolled-back":
                return ROLLED_BACK
            case "healed" if self.options.fail_on_heal:
                return HEALED
            case _:
                return code

    def _compare(self) -> None:
        """After a deployment, log the changes since the baseline."""
        if self.deployment is None or self.deployment.phase == "before":
            return
        baseline = self.run_state.baseline
        if baseline is None:
            self.event_log.log("no_baseline", file=self.project.relative(self.deployment.baseline_file))
            return
        changes = self.run_state.changes()
        self.event_log.log("compared" if changes else "unchanged", moment=baseline.moment)
        for change in changes:
            self.event_log.log_message(change.message)


class Fork(msgspec.Struct, frozen=True):
    """The task of a fork of a session that has collected, and its callbacks to the monitor."""

    selected: list[str]
    """The node IDs of the checks of its round, in order."""
    folder: Path
    """The folder for its findings."""
    later: bool
    """Whether this is a later round, which only leaves its findings."""
    others: Callable[[], tuple[int, list[Path]]]
    """Waits for the processes with other parts of the round; returns the exit code and the folders of the findings."""
    again: Callable[[Path], tuple[int, list[Path]]]
    """Runs the checks listed in a folder once more; returns the exit code and the folders of the findings."""
    may_heal: Callable[[list[Incident]], bool]
    ended: Callable[[HealthRun, int], None]
    """Called at the end of a run, with its exit code."""
    interval: float
    """Seconds from one cycle of the monitor to the next."""
    log: AttemptLog
    """The log of its attempts."""
    known: Handover
    """The findings of processes that ended in the middle of their part."""
