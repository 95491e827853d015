"""One health run: the first round in this pytest, the heals, the rounds after it, the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from remediation.journal.evidence import Archive
from remediation.journal.record import Heal, Origin, Run, recorder
from remediation.primitives import file, rotate
from remediation.project.memory import Store
from remediation.project.model import Project
from remediation.project.voice import Voice
from remediation.session import junit, summary
from remediation.session.attempts import Attempt
from remediation.session.junit import IncompleteReportError, RoundReport
from remediation.session.results import over_all_rounds
from remediation.session.rounds import (
    FAILED,
    HEALED,
    INTERNAL_ERROR,
    INTERRUPTED,
    NO_CHECKS,
    PASSED,
    SELECTED_NAME,
    USAGE_ERROR,
    Round,
    read_round,
)
from remediation.session.treated import Treated, treated

if TYPE_CHECKING:
    from remediation.healer.outcome import Outcome, Patient

Verdict = Literal["healthy", "healed", "sick"]
Heals = Literal["auto", "plan", "off"]
"""Whether what is sick is healed, or only told how it would be, or left."""


@dataclass(frozen=True, slots=True)
class Options:
    """Whose run it is, and what the command line says about healing."""

    heal: Heals
    rounds: int | None
    """The most rounds of healing; None for as many as the ladders have rungs."""
    fail_on_heal: bool
    origin: Origin = "check"
    interval: float | None = None
    """Seconds from one cycle of the monitor to the next."""


@dataclass(slots=True)
class HealthRun:
    """The rounds of one run, from the end of the first on."""

    project: Project
    store: Store
    voice: Voice
    options: Options
    again: Callable[[Path], tuple[int, list[Path]]]
    """Runs the suite once more as a folder lists it; pytest's exit code, and where the findings are."""
    report: Path
    selected: list[str]
    """The node IDs of what the first round selected."""
    prefix: str | None = None
    rounds: list[Round] = field(default_factory=list)
    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)
    verdict: Verdict = "sick"
    may_heal: Callable[[list[Patient]], bool] = lambda _: True
    """Asked before every round of healing."""
    began: float = field(default_factory=time.time)
    heals: list[Heal] = field(default_factory=list)

    def finish(self, first: Round) -> int:
        """Heal and check again until all is well or nothing more can be done; return the exit code.

        Heals on exit code 1 alone: not on an interruption, an internal error or a wrong use.
        """
        self.rounds.append(first)
        try:
            self._heal_and_repeat()
        except KeyboardInterrupt:
            self.rounds.append(replace(self.rounds.pop(), code=INTERRUPTED))
        code = self._conclude()
        self._summarise(code)
        self._tidy_up()
        return code

    def _summarise(self, code: int) -> None:
        """Tell GitHub how it went, if it wants to know."""
        path = summary.place() if self.options.origin == "check" else None
        if path is None or code not in (PASSED, FAILED, HEALED):
            return
        try:
            summary.append(path, summary.written(self.to_record(), self._treated()))
        except OSError as error:
            self.voice.say("no_summary", problem=error)

    def _tidy_up(self) -> None:
        """Keep logs and evidence within their limits."""
        # Where it cannot be done, they grow; that is no verdict on a service.
        with suppress(OSError):
            Archive(self.project).prune()
        for service in self.project.services.values():
            with suppress(OSError):
                rotate.running(service.log_file, service.log_size)

    @property
    def gave_up(self) -> list[str]:
        """The services whose restart budget this run found spent."""
        return [name for name, outcomes in self.outcomes.items() if any(outcome.gave_up for outcome in outcomes)]

    def to_record(self) -> Run:
        """Return what the history keeps of this run."""
        findings = [part.findings for part in self.rounds]
        results = over_all_rounds(findings, self.outcomes, self.project.services)
        options = self.options
        return Run(self.began, time.time(), options.origin, self.verdict, options.interval, results)

    def record(self) -> None:
        """Write this run into the history; if that cannot be done, say so."""
        from remediation.journal.history import History, HistoryError

        try:
            History(self.project).record_run(self.to_record())
        except HistoryError as error:
            self.voice.say("no_history", problem=error)

    def _heal_and_repeat(self) -> None:
        healed_rounds, announced = 0, False
        while self.rounds[-1].code == FAILED and self._is_complete():
            patients = self._patients()
            if not patients:
                return
            if not self._may_heal(patients):
                return
            if self.options.rounds is not None and healed_rounds >= self.options.rounds:
                return
            healed_rounds += 1
            if not announced and not self._only_waits(patients):
                self.voice.say("healing")
            outcomes = self._heal(patients)
            announced = not any(outcome.ok for outcome in outcomes)
            if any(outcome.ok for outcome in outcomes):
                self.voice.say("verifying")
                self.rounds.append(self._run_again())
            elif not any(outcome.used_rung for outcome in outcomes):
                # Every heal was refused: neither another rung nor another look would change that.
                return

    def _may_heal(self, patients: list[Patient]) -> bool:
        """Return whether there may be a round of healing; if not, tell why, or what it would do."""
        if self.options.heal == "off":
            self.voice.say("healing_off")
        elif self.options.heal == "plan":
            self._tell_plan(patients)
        elif pause := self.store.paused():
            self.voice.tell(pause.phrase)
        else:
            return self.may_heal(patients)
        return False

    def _tell_plan(self, patients: list[Patient]) -> None:
        from remediation.healer.plan import plan

        for phrase in plan(patients, self.project.services, self.store):
            self.voice.tell(phrase)

    def _only_waits(self, patients: list[Patient]) -> bool:
        """Return whether a monitor has told before that it does nothing for any of them."""
        from remediation.healer import budget

        memories = (self.store.recall(patient.service) for patient in patients)
        waiting = (budget.waits(memory) or memory.stopped_by_hand for memory in memories)
        return self.options.origin == "monitor" and all(waiting)

    def _is_complete(self) -> bool:
        try:
            for part in self.rounds[-1].parts:
                junit.read_code(part.xml)
        except IncompleteReportError:
            return False
        return True

    def _heal(self, patients: list[Patient]) -> list[Outcome]:
        from remediation.healer.healer import Healer
        from remediation.healer.order import heal_all

        record = recorder(self.project, self.voice)
        healer = Healer(self.store, self.voice, record=record, origin=self.options.origin)
        outcomes = heal_all(patients, self.project.services, healer=healer, store=self.store, voice=self.voice)
        self.heals += healer.done
        for outcome in outcomes:
            self.outcomes.setdefault(outcome.service, []).append(outcome)
        return outcomes

    def _patients(self) -> list[Patient]:
        """Return the services that the last round found sick and that have a rung left."""
        from remediation.healer.outcome import Patient

        last: dict[str, Attempt] = {}
        for attempt in self.rounds[-1].findings.attempts:
            if attempt.final:
                last |= dict.fromkeys(attempt.heals, attempt)
        patients = []
        for name, attempt in last.items():
            service, before = self.project.services[name], self.outcomes.get(name, [])
            rung = sum(outcome.used_rung for outcome in before)
            if rung < len(service.ladder) and not any(outcome.refused for outcome in before):
                first = self._first_attempt(name)
                # A rung of our own that failed without another look is no heal by somebody else.
                seen = max([attempt.heals[name], *(outcome.seen for outcome in before)])
                story = self._story(name)
                patients.append(Patient(service, first.message, first.started, seen, rung, story))
        return patients

    @property
    def _attempts(self) -> list[Attempt]:
        """The failed attempts of all rounds, in order."""
        return [attempt for part in self.rounds for attempt in part.findings.attempts]

    def _story(self, service: str) -> str:
        """Tell all that failed attempts said of a service, in order."""
        told = []
        for number, one in enumerate(self.rounds, start=1):
            for attempt in one.findings.attempts:
                if service in attempt.heals:
                    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(attempt.started))
                    told.append(
                        f"{moment}, round {number}, attempt {attempt.number + 1}: {attempt.nodeid}\n{attempt.text}\n"
                    )
        return "\n".join(told)

    def _first_attempt(self, service: str) -> Attempt:
        return next(attempt for attempt in self._attempts if service in attempt.heals)

    def _run_again(self) -> Round:
        """Run the suite in a session of its own and return what it found."""
        folder = self.rounds[0].parts[0].xml.parent / f"round-{len(self.rounds) + 1}"
        try:
            folder.mkdir(parents=True)
            (folder / SELECTED_NAME).write_bytes(msgspec.json.encode(self.selected))
            return read_round(*self.again(folder))
        except OSError as error:
            self.voice.say("incomplete", reason=f"round {len(self.rounds) + 1} cannot begin: {error.strerror or error}")
            return Round(INTERNAL_ERROR, [])

    def _conclude(self) -> int:
        """Write the report, read the verdict back from it, and return the exit code."""
        code = self.rounds[-1].code
        if code == INTERNAL_ERROR and len(self.rounds) > 1:
            self.voice.say("incomplete", reason=f"round {len(self.rounds)} broke off")
        if code in (INTERNAL_ERROR, USAGE_ERROR):
            return code
        acted = any(outcome.action for outcomes in self.outcomes.values() for outcome in outcomes)
        hopeful: Verdict = "healed" if acted else "healthy"
        try:
            # Read back before it is published: another run may remove or replace the published one at once.
            with file.replacement(self.report) as draft:
                draft.write_bytes(self._merged(hopeful if code == PASSED else "sick"))
                failed = junit.failed(draft) if code != NO_CHECKS else []
                if failed and code == PASSED:
                    draft.write_bytes(self._merged("sick"))
        except (IncompleteReportError, OSError) as error:
            self.voice.say("incomplete", reason=str(error))
            return code if code == INTERRUPTED else INTERNAL_ERROR
        # The XML may raise what pytest said, never lower it.
        code = FAILED if failed and code == PASSED else code
        self.verdict = hopeful if code == PASSED else "sick"
        if code == FAILED:
            self.voice.say("sick", checks=", ".join(self._names(failed)))
        elif code == PASSED:
            self.voice.say(self.verdict)
        return HEALED if self.options.fail_on_heal and self.verdict == "healed" else code

    def _names(self, checks: list[junit.Address]) -> list[str]:
        """Name checks of the report as people know them."""
        names = {junit.address(attempt.nodeid, self.prefix): attempt.check for attempt in self._attempts}
        return list(dict.fromkeys(names.get(address, address[1]) for address in checks))

    def _merged(self, verdict: Verdict) -> bytes:
        """Return the report of all rounds, with a verdict."""
        properties = {"auto-heal.verdict": verdict, "auto-heal.rounds": str(len(self.rounds))}
        for one in self._treated():
            told = {"action": one.action, "cause": one.cause, "evidence": ", ".join(one.evidence)}
            if one.downtime is not None:
                told["downtime"] = f"{one.downtime:.3f}"
            properties |= {f"auto-heal.{one.service}.{name}": text for name, text in told.items() if text}
        lines = self.voice.lines if self.outcomes else []
        parts = [part for one in self.rounds for part in one.parts]
        reports = [RoundReport(part.xml, part.findings.attempts) for part in parts]
        return junit.merge(reports, properties=properties, system_out=lines, prefix=self.prefix)

    def _treated(self) -> list[Treated]:
        return treated(self.outcomes, self._since)

    def _since(self, service: str) -> float:
        own = [attempt.started for attempt in self._attempts if service in attempt.heals]
        return min(own or [attempt.started for attempt in self._attempts])
