"""The findings and remediations of a run so far, and the conclusions from them. Nothing here acts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from remediation.checks import OWN
from remediation.checks.results import Attempt, CheckResult, over_all_rounds
from remediation.config.model import LadderStep, Project, Service
from remediation.deployment.baseline import Baseline
from remediation.deployment.comparison import Change, ChangeKind, changes
from remediation.run import junit
from remediation.run.junit import IncompleteReportError
from remediation.run.publication import Publication
from remediation.run.rounds import Round
from remediation.state import incidents
from remediation.state.incidents import Open
from remediation.state.records import CheckOutcome, Result
from remediation.state.remediation import Remediation, RemediationResult, fold, steps_used
from remediation.system.exit_codes import Verdict

if TYPE_CHECKING:
    from remediation.healing.incident import Incident


def harmed(rounds: Sequence[Round]) -> dict[str, tuple[str, ...]]:
    """Return the node IDs of checks that fail in the last round and passed in an earlier one.

    Each has the services that were healed since it last passed: one of these heals broke it.
    """
    healed_since: dict[str, tuple[str, ...]] = {}
    broken: dict[str, tuple[str, ...]] = {}
    for current in rounds:
        healed_since = {nodeid: (*names, *current.healed) for nodeid, names in healed_since.items()}
        broken_before, broken = broken, {}
        for result in current.findings.results:
            if result.outcome is CheckOutcome.PASSED:
                healed_since[result.nodeid] = ()
            elif result.outcome is CheckOutcome.FAILED and (
                names := broken_before.get(result.nodeid) or _healed_since_pass(result, healed_since)
            ):
                broken[result.nodeid] = tuple(dict.fromkeys(names))
    return broken


def _healed_since_pass(result: CheckResult, healed_since: Mapping[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    """Return the services healed since a check passed; None for a version check, which no heal can break."""
    return None if result.nodeid.startswith(OWN) else healed_since.get(result.nodeid)


class RunState(Struct):
    """The rounds of a run, and the remediations between them."""

    project: Project
    baseline: Baseline | None = None
    """The results before the deployment."""
    prefix: str | None = None
    """The prefix of class names in the report."""
    rollback: bool = False
    """Whether this run may roll back. Otherwise, a rollback by another run counts as a heal."""
    rounds: list[Round] = field(default_factory=list)
    remediations: dict[str, list[Remediation]] = field(default_factory=dict)
    """By service, in order."""
    first_starts: frozenset[str] = frozenset()
    """The services that never ran before this run."""
    _opened: Open | None = None

    def add(self, remediations: Iterable[Remediation]) -> None:
        """Add remediations."""
        for remediation in remediations:
            self.remediations.setdefault(remediation.service, []).append(remediation)

    @property
    def last(self) -> Round:
        """The last round, which decides."""
        return self.rounds[-1]

    @property
    def attempts(self) -> list[Attempt]:
        """The failed attempts of all rounds, in order."""
        return [attempt for current in self.rounds for attempt in current.findings.attempts]

    @property
    def is_complete(self) -> bool:
        """Whether the last round is complete, according to its own report."""
        try:
            for part in self.last.parts:
                junit.read_code(part.xml)
        except IncompleteReportError:
            return False
        return True

    # The incidents.

    @property
    def failing_services(self) -> list[str]:
        """The services with a final failure in the last round."""
        return sorted(self._last_failures(lambda _: True))

    def excuse(self, starting: Mapping[str, float]) -> None:
        """Note that these services were in their start period in the last round, each with its end."""
        self.rounds[-1] = replace(self.last, starting=starting)

    @property
    def only_starting(self) -> bool:
        """Whether nothing failed in the last round but services in their start period."""
        return bool(self.last.starting) and not any(
            result.outcome is CheckOutcome.FAILED for result in self.last.counted.results
        )

    @property
    def opened(self) -> Open:
        """The open incidents, as of the last round with a failure."""
        if self._opened is None:
            self._opened = incidents.current(self.project)
        return self._opened

    def open_incidents(self, since: Mapping[str, float], log: Callable[..., None]) -> None:
        """Open an incident for each service and check that has none, since its first failed attempt."""
        self._opened = incidents.begin(self.project, since, log)

    @property
    def failing(self) -> dict[str, float]:
        """The services, and the checks that name none, that fail now, each with its first failed attempt."""
        if not any(result.outcome is CheckOutcome.FAILED for result in self.last.findings.results):
            return {}
        return {
            result.key: result.failed_at
            for result in self.results()
            if result.has_incidents and result.outcome is CheckOutcome.FAILED and result.failed_at is not None
        }

    def to_heal(self) -> list[Incident]:
        """Return the incidents of services that failed in the last round and have a step left."""
        return [
            self._incident(self.project.services[name], attempt, used=steps_used(self._earlier(name)))
            for name, attempt in self._last_failures(lambda _: True).items()
            if self._has_step(name) and not any(earlier.result.refused for earlier in self._earlier(name))
        ]

    def has_next_step(self, remediations: Iterable[Remediation]) -> bool:
        """Return whether a service that has just used a step without success has another one."""
        return any(self._has_step(done.service) for done in remediations if done.result.used_step)

    def _has_step(self, service: str) -> bool:
        return steps_used(self._earlier(service)) < len(self._ladder(service))

    def _earlier(self, service: str) -> Sequence[Remediation]:
        """Return the remediations of a service so far."""
        return self.remediations.get(service, [])

    @property
    def most_heals(self) -> int:
        """The most rounds of healing: each step is used once, and a process is adopted once."""
        names = {name for attempt in self.attempts for name in attempt.heals} | self.remediations.keys()
        return sum(len(self._ladder(name)) + 1 for name in names)

    def _ladder(self, service: str) -> tuple[LadderStep, ...]:
        return self.project.services[service].ladder

    def to_roll_back(self, *, all_sick: bool = False) -> list[Incident]:
        """Return the incidents of services that failed in the last round and have a rollback.

        Each service comes after its dependencies. A service that was already rolled back, by any run, is left out: a
        second rollback would go too far. Only failures that are not in the baseline count, unless `all_sick`.
        """

        def counts(attempt: Attempt) -> bool:
            return all_sick or not (self.baseline and self.baseline.failed(attempt.nodeid))

        failures = self._last_failures(counts)
        return [
            self._incident(service, failures[service.name])
            for service in self.project.ordered(failures)
            if service.rollback and not any(earlier.rolled_back for earlier in self._earlier(service.name))
        ]

    def _last_failures(self, counts: Callable[[Attempt], bool]) -> dict[str, Attempt]:
        """Return the services with a final failure in the last round, each with its last failed attempt."""
        last: dict[str, Attempt] = {}
        for attempt in self.last.findings.attempts:
            if attempt.final and counts(attempt):
                last |= dict.fromkeys(attempt.heals, attempt)
        return last

    def _incident(self, service: Service, attempt: Attempt, *, used: int = 0) -> Incident:
        from remediation.healing.incident import Incident

        earlier, opened = self._earlier(service.name), self.opened.get(service.name)
        counted = [attempt for current in self.rounds for attempt in current.counted.attempts]
        failures = [failure for failure in counted if service.name in failure.heals] or [attempt]
        since = min(failure.started for failure in failures)
        return Incident(
            service,
            cause=failures[0].message,
            since=min(since, opened.began if opened else since),
            # A failed step of this run, after which no check ran, must not count as a heal by another run.
            seen=max([attempt.heals[service.name], *(remediation.number for remediation in earlier)]),
            steps_used=used,
            adopted=any(remediation.result is RemediationResult.ADOPTED for remediation in earlier),
            id=opened.id if opened else "",
            failed_at=attempt.started,
            story=self._story(service.name),
        )

    def _story(self, service: str) -> str:
        """Return the texts of all failed attempts for a service, in order."""
        entries = []
        for number, current in enumerate(self.rounds, start=1):
            for attempt in current.findings.attempts:
                if service in attempt.heals:
                    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(attempt.started))
                    entries.append(
                        f"{moment}, round {number}, attempt {attempt.number + 1}: {attempt.nodeid}\n{attempt.text}\n"
                    )
        return "\n".join(entries)

    # The results.

    def results(self) -> list[Result]:
        """Return the result of each check and each service."""
        return over_all_rounds([current.counted for current in self.rounds], self.remediations, self.project.services)

    def recorded_results(self) -> list[Result]:
        """Return the results for the history: a first start that went well counts as healthy since then."""
        results = self.results()
        starting = {result.key for result in results if result.outcome is CheckOutcome.HEALED} & self.first_starts
        starting -= self.opened.keys()
        return [
            replace(result, at=result.passed_at, outcome=CheckOutcome.PASSED, failed_at=None, message=None)
            if result.outcome is CheckOutcome.HEALED
            and result.passed_at is not None
            and not starting.isdisjoint([result.key, *result.services])
            and self.opened.keys().isdisjoint(result.services)
            else result
            for result in results
        ]

    def changes(self) -> list[Change]:
        """Return the changes since the baseline, and the checks that a heal broke."""
        limits = self.project.latency
        return changes(self.results(), baseline=self.baseline, limits=limits, harmed=harmed(self.rounds))

    def newly_harmed(self) -> list[Change]:
        """Return the checks that the last heal broke."""
        harmed_before = harmed(self.rounds[:-1])
        return [
            change
            for change in self.changes()
            if change.kind is ChangeKind.BROKEN_BY_HEAL and change.nodeid not in harmed_before
        ]

    def folded(self) -> list[Remediation]:
        """Return the remediations of each service over all rounds, folded into one."""
        sick = {
            result.key
            for result in self.results()
            if result.kind == "service" and result.outcome is CheckOutcome.FAILED
        }
        return [fold(remediations, is_sick=name in sick) for name, remediations in self.remediations.items()]

    @property
    def counted(self) -> list[Remediation]:
        """The remediations by this run itself."""
        return [remediation for remediation in self._all_remediations if remediation.number]

    @property
    def _all_remediations(self) -> list[Remediation]:
        return [remediation for remediations in self.remediations.values() for remediation in remediations]

    @property
    def verdict_if_passed(self) -> Verdict:
        """The verdict if every check passes now."""
        if self.rollback and any(remediation.rolled_back for remediation in self._all_remediations):
            return "rolled-back"
        return "healed" if any(remediation.action for remediation in self._all_remediations) else "healthy"

    def unproven(self) -> str | None:
        """Name the services whose checks were all skipped in the last round.

        If every check was skipped, these are all services of the project. None if every service is proven.
        """
        results = self.last.findings.results
        checked = {name for result in results for name in result.services}
        proven = {name for result in results if result.outcome is not CheckOutcome.SKIPPED for name in result.services}
        if names := sorted(checked - proven):
            return ", ".join(names)
        if results and all(result.outcome is CheckOutcome.SKIPPED for result in results):
            return ", ".join(self.project.services)
        return None

    @property
    def gave_up(self) -> list[str]:
        """The services whose restart budget was spent in this run."""
        spent = [done.service for done in self._all_remediations if done.result is RemediationResult.GAVE_UP]
        return list(dict.fromkeys(spent))

    # The report.

    def publication(self, lines: Sequence[str]) -> Publication:
        """Return the report, with lines of the log."""
        failures = {
            f"{remediation.service} rollback": remediation.rollback_problem
            for remediation in self._all_remediations
            if self.rollback and remediation.rollback_problem
        }
        checked = [result.key for result in self.results() if result.kind == "service"]
        some_services = checked if len(checked) < len(self.project.services) else []
        ids = {
            result.key: self.opened[result.key].id
            for result in self.results()
            if result.kind == "service" and result.outcome.has_failed and result.key in self.opened
        }
        return Publication(self.rounds, self.folded(), self._notes(), failures, lines, self.prefix, some_services, ids)

    def _notes(self) -> dict[str, str]:
        """Return additional notes on failed checks, by node ID."""
        rollbacks = [remediation.action for remediation in self._all_remediations if remediation.rolled_back]
        suffix = f", also after {'; '.join(dict.fromkeys(rollbacks))}" if rollbacks else ""
        return {change.nodeid: f"{change.what}{suffix}" for change in self.changes() if change.kind.is_failure}

    def names(self, checks: Iterable[junit.Address]) -> list[str]:
        """Return the names of checks in the report as people know them."""
        names = {junit.address(attempt.nodeid, self.prefix): attempt.check for attempt in self.attempts}
        return list(dict.fromkeys(names.get(address, address[1]) for address in checks))
