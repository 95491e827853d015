"""What a run has found and done so far, and what follows from it; it acts on nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field

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
from remediation.state.records import CheckOutcome, Result
from remediation.state.remediation import Remediation, RemediationResult, fold
from remediation.system.exit_codes import Verdict

if TYPE_CHECKING:
    from remediation.healing.incident import Incident


def to_heal(
    rounds: Sequence[Round],
    remediations: Mapping[str, Sequence[Remediation]],
    services: Mapping[str, Service],
    began_before: Mapping[str, float],
) -> list[Incident]:
    """Return the services that the last round found sick and that have a step left.

    `began_before` says since when those are sick that an earlier run has left so.
    """
    found = []
    for name, attempt in _sick(rounds, lambda _: True).items():
        service, before = services[name], remediations.get(name, [])
        used = sum(one.result.used_step for one in before)
        if used < len(service.ladder) and not any(one.result.refused for one in before):
            found.append(_incident(service, attempt, rounds, before, began_before, steps_used=used))
    return found


def to_roll_back(
    rounds: Sequence[Round],
    remediations: Mapping[str, Sequence[Remediation]],
    project: Project,
    began_before: Mapping[str, float],
    *,
    counts: Callable[[Attempt], bool],
) -> list[Incident]:
    """Return the services that have a way back, and that the last round found sick by a failure that `counts`.

    Each after all that it depends on. One that was rolled back already, by whomever, is not again: that were too far.
    """
    sick = _sick(rounds, counts)
    return [
        _incident(service, sick[service.name], rounds, remediations.get(service.name, []), began_before)
        for service in project.ordered(sick)
        if service.rollback and not any(one.rolled_back for one in remediations.get(service.name, []))
    ]


def _sick(rounds: Sequence[Round], counts: Callable[[Attempt], bool]) -> dict[str, Attempt]:
    """Return the services that failed for good in the last round, each with the attempt that said so last."""
    last: dict[str, Attempt] = {}
    for attempt in rounds[-1].findings.attempts:
        if attempt.final and counts(attempt):
            last |= dict.fromkeys(attempt.heals, attempt)
    return last


def _incident(
    service: Service,
    attempt: Attempt,
    rounds: Sequence[Round],
    before: Sequence[Remediation],
    began_before: Mapping[str, float],
    *,
    steps_used: int = 0,
) -> Incident:
    from remediation.healing.incident import Incident

    failed = [one for part in rounds for one in part.findings.attempts if service.name in one.heals]
    since = min(one.started for one in failed)
    return Incident(
        service,
        cause=failed[0].message,
        since=min(since, began_before.get(service.name, since)),
        # A step of our own that failed without another look is no heal by somebody else.
        seen=max([attempt.heals[service.name], *(one.number for one in before)]),
        steps_used=steps_used,
        adopted=any(one.result is RemediationResult.ADOPTED for one in before),
        story=_story(service.name, rounds),
    )


def _story(service: str, rounds: Sequence[Round]) -> str:
    """Tell all that failed attempts said of a service, in order."""
    told = []
    for number, one in enumerate(rounds, start=1):
        for attempt in one.findings.attempts:
            if service in attempt.heals:
                moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(attempt.started))
                told.append(
                    f"{moment}, round {number}, attempt {attempt.number + 1}: {attempt.nodeid}\n{attempt.text}\n"
                )
    return "\n".join(told)


def harmed(rounds: Sequence[Round]) -> dict[str, tuple[str, ...]]:
    """Return the node IDs of checks that fail in the last round and passed in one before it.

    With each go the services that were healed since it passed last: one of these heals broke it.
    """
    healed_since: dict[str, tuple[str, ...]] = {}
    broken: dict[str, tuple[str, ...]] = {}
    for one in rounds:
        healed_since = {nodeid: (*names, *one.healed) for nodeid, names in healed_since.items()}
        before, broken = broken, {}
        for result in one.findings.results:
            if result.outcome is CheckOutcome.PASSED:
                healed_since[result.nodeid] = ()
            elif result.outcome is CheckOutcome.FAILED and (
                names := before.get(result.nodeid) or _own(result, healed_since)
            ):
                broken[result.nodeid] = tuple(dict.fromkeys(names))
    return broken


def _own(result: CheckResult, healed_since: Mapping[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    """Return who was healed since a check of the project passed; a version changes with what is deployed alone."""
    return None if result.nodeid.startswith(OWN) else healed_since.get(result.nodeid)


class RunState(Struct):
    """The rounds of a run, and what was done for each service between them."""

    project: Project
    baseline: Baseline | None = None
    """What was known before the deployment."""
    prefix: str | None = None
    """Of the names of test classes in the report."""
    rollback: bool = False
    """Whether the run takes the way back; to another one, that is a heal by somebody else."""
    rounds: list[Round] = field(default_factory=list)
    remediations: dict[str, list[Remediation]] = field(default_factory=dict)
    """By service, in order."""
    _open: dict[str, float] | None = None

    def add(self, remediations: Iterable[Remediation]) -> None:
        """Take in what was done."""
        for remediation in remediations:
            self.remediations.setdefault(remediation.service, []).append(remediation)

    @property
    def last(self) -> Round:
        """The round that decides."""
        return self.rounds[-1]

    @property
    def attempts(self) -> list[Attempt]:
        """The failed attempts of all rounds, in order."""
        return [attempt for one in self.rounds for attempt in one.findings.attempts]

    @property
    def is_complete(self) -> bool:
        """Whether the last round got to its end, as its own report says."""
        try:
            for part in self.last.parts:
                junit.read_code(part.xml)
        except IncompleteReportError:
            return False
        return True

    # Who is sick.

    def to_heal(self) -> list[Incident]:
        """Return the services that are sick and have a step left."""
        return to_heal(self.rounds, self.remediations, self.project.services, self._began_before)

    def has_more_for(self, remediations: Iterable[Remediation]) -> bool:
        """Return whether a service for which a step was used in vain has another one."""
        return any(
            sum(before.result.used_step for before in self.remediations[one.service]) < len(self._ladder(one.service))
            for one in remediations
            if one.result.used_step
        )

    @property
    def most_heals(self) -> int:
        """How many rounds of healing there can be at most: each step is used once, and a process found again once."""
        names = {name for attempt in self.attempts for name in attempt.heals} | self.remediations.keys()
        return sum(len(self._ladder(name)) + 1 for name in names)

    def _ladder(self, service: str) -> tuple[LadderStep, ...]:
        return self.project.services[service].ladder

    def to_roll_back(self, *, all_sick: bool = False) -> list[Incident]:
        """Return the sick services that have a way back; only what was well before counts, unless `all_sick` do."""

        def counts(attempt: Attempt) -> bool:
            return all_sick or not (self.baseline and self.baseline.failed(attempt.nodeid))

        return to_roll_back(self.rounds, self.remediations, self.project, self._began_before, counts=counts)

    # What became of all.

    def results(self) -> list[Result]:
        """Return what became of each check and each service."""
        return over_all_rounds([one.findings for one in self.rounds], self.remediations, self.project.services)

    def changes(self) -> list[Change]:
        """Return what changed since the baseline, and what a heal broke."""
        limits = self.project.latency
        return changes(self.results(), baseline=self.baseline, limits=limits, harmed=harmed(self.rounds))

    def newly_harmed(self) -> list[Change]:
        """Return what is broken since the last heal."""
        before = harmed(self.rounds[:-1])
        return [
            change
            for change in self.changes()
            if change.kind is ChangeKind.BROKEN_BY_HEAL and change.nodeid not in before
        ]

    def folded(self) -> list[Remediation]:
        """Return what was done for each service over all rounds, as one remediation each."""
        sick = {one.key for one in self.results() if one.kind == "service" and one.outcome is CheckOutcome.FAILED}
        return [fold(done, is_sick=name in sick) for name, done in self.remediations.items()]

    @property
    def counted(self) -> list[Remediation]:
        """The remediations that this run did itself."""
        return [one for one in self._done if one.number]

    @property
    def _began_before(self) -> dict[str, float]:
        """When the incidents began that earlier runs have left open, by service."""
        if self._open is None:
            self._open = incidents.began(self.project)
        return self._open

    @property
    def _done(self) -> list[Remediation]:
        return [one for remediations in self.remediations.values() for one in remediations]

    @property
    def hopeful(self) -> Verdict:
        """The verdict if every check passes now."""
        if self.rollback and any(one.rolled_back for one in self._done):
            return "rolled-back"
        return "healed" if any(one.action for one in self._done) else "healthy"

    def unproven(self) -> str | None:
        """Name the services of which no check has passed or failed in the last round, though they have some.

        If nothing at all has passed, that is so of everything, whatever it is called. None if all is proven.
        """
        results = self.last.findings.results
        checked = {name for one in results for name in one.services}
        proven = {name for one in results if one.outcome is not CheckOutcome.SKIPPED for name in one.services}
        if names := sorted(checked - proven):
            return ", ".join(names)
        if results and all(one.outcome is CheckOutcome.SKIPPED for one in results):
            return ", ".join(self.project.services)
        return None

    @property
    def gave_up(self) -> list[str]:
        """The services whose restart budget this run found spent."""
        return list(dict.fromkeys(one.service for one in self._done if one.result is RemediationResult.GAVE_UP))

    # As it is published.

    def publication(self, lines: Sequence[str]) -> Publication:
        """Return the report, with lines of the log."""
        failed = [one for one in self._done if self.rollback and one.rollback_problem]
        failures = {f"{one.service} rollback": one.rollback_problem for one in failed}
        checked = [one.key for one in self.results() if one.kind == "service"]
        some = checked if len(checked) < len(self.project.services) else []
        return Publication(self.rounds, self.folded(), self._notes(), failures, lines, self.prefix, some)

    def _notes(self) -> dict[str, str]:
        """Return what is known of failed checks besides their failure."""
        back = [one.action for one in self._done if one.rolled_back]
        after = f", also after {'; '.join(dict.fromkeys(back))}" if back else ""
        return {change.nodeid: f"{change.what}{after}" for change in self.changes() if change.kind.is_failure}

    def names(self, checks: Iterable[junit.Address]) -> list[str]:
        """Name checks of the report as people know them."""
        names = {junit.address(attempt.nodeid, self.prefix): attempt.check for attempt in self.attempts}
        return list(dict.fromkeys(names.get(address, address[1]) for address in checks))
