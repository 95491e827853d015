"""One health run: the first round in this pytest, the heals, the rounds after it, the verdict.

A later round is a pytest of its own. The items of a session cannot simply be run again: with xdist the
controller holds none, `-x` leaves a latch that is not reset, and junitxml would write every case twice.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from remediation.primitives import file
from remediation.project.memory import Store
from remediation.project.model import Project
from remediation.project.voice import Voice
from remediation.session import junit
from remediation.session.attempts import Attempt
from remediation.session.junit import IncompleteReportError, RoundReport

if TYPE_CHECKING:
    from remediation.healer.outcome import Outcome, Patient

# Tells a pytest that it is a later round, and in which folder to leave what it finds.
ROUND_FOLDER = "AUTO_HEAL_ROUND_FOLDER"
TERMINAL_FD = "AUTO_HEAL_TERMINAL_FD"
XML_NAME = "round.xml"
ATTEMPTS_NAME = "attempts.json"
SELECTED_NAME = "selected.json"

# Exit codes of pytest's that mean something here, and our own.
PASSED, FAILED, INTERRUPTED, INTERNAL_ERROR, USAGE_ERROR, NO_CHECKS = range(6)
HEALED = 10

Verdict = Literal["healthy", "healed", "sick"]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says about healing."""

    heal: bool
    rounds: int | None
    """The most rounds of healing; None for as many as the ladders have rungs."""
    fail_on_heal: bool


@dataclass(frozen=True, slots=True)
class Round:
    """A run of the suite and the code of the pytest that ran it."""

    code: int
    report: RoundReport


@dataclass(slots=True)
class HealthRun:
    """The rounds of one run, from the end of the first on."""

    project: Project
    store: Store
    voice: Voice
    options: Options
    command: list[str]
    """The arguments of the first pytest."""
    folder: Path
    """Where to run it."""
    report: Path
    selected: list[str]
    """The node IDs of what the first round selected."""
    prefix: str | None = None
    rounds: list[Round] = field(default_factory=list)
    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)
    verdict: Verdict = "sick"

    def finish(self, first: Round) -> int:
        """Heal and check again until all is well or nothing more can be done; return the exit code.

        Heals on exit code 1 alone: not on an interruption, an internal error or a wrong use.
        """
        self.rounds.append(first)
        try:
            self._heal_and_repeat()
        except KeyboardInterrupt:
            self.rounds.append(Round(INTERRUPTED, self.rounds.pop().report))
        return self._conclude()

    def _heal_and_repeat(self) -> None:
        healed_rounds, announced = 0, False
        while self.rounds[-1].code == FAILED and self._is_complete():
            patients = self._patients()
            if not patients:
                return
            if not self.options.heal:
                self.voice.say("healing_off")
                return
            if self.options.rounds is not None and healed_rounds >= self.options.rounds:
                return
            healed_rounds += 1
            if not announced:
                self.voice.say("healing")
            outcomes = self._heal(patients)
            announced = not any(outcome.ok for outcome in outcomes)
            if any(outcome.ok for outcome in outcomes):
                self.voice.say("verifying")
                self.rounds.append(self._run_again())
            elif not any(outcome.used_rung for outcome in outcomes):
                # Every heal was refused: neither another rung nor another look would change that.
                return

    def _is_complete(self) -> bool:
        try:
            junit.read_code(self.rounds[-1].report.xml)
        except IncompleteReportError:
            return False
        return True

    def _heal(self, patients: list[Patient]) -> list[Outcome]:
        from remediation.healer.healer import Healer
        from remediation.healer.order import heal_all

        outcomes = heal_all(
            patients, self.project.services, healer=Healer(self.store, self.voice), store=self.store, voice=self.voice
        )
        for outcome in outcomes:
            self.outcomes.setdefault(outcome.service, []).append(outcome)
        return outcomes

    def _patients(self) -> list[Patient]:
        """Return the services that the last round found sick and that have a rung left."""
        from remediation.healer.outcome import Patient

        last: dict[str, Attempt] = {}
        for attempt in self.rounds[-1].report.attempts:
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
                patients.append(Patient(service, first.message, first.started, seen, rung))
        return patients

    def _first_attempt(self, service: str) -> Attempt:
        everything = (attempt for part in self.rounds for attempt in part.report.attempts)
        return next(attempt for attempt in everything if service in attempt.heals)

    def _run_again(self) -> Round:
        """Run the suite in a pytest of its own and return what it found."""
        folder = self.rounds[0].report.xml.parent / f"round-{len(self.rounds) + 1}"
        folder.mkdir()
        (folder / SELECTED_NAME).write_bytes(msgspec.json.encode(self.selected))
        environ = os.environ | {ROUND_FOLDER: str(folder)}
        inherited = [int(fd)] if (fd := os.environ.get(TERMINAL_FD, "")).isdigit() else []
        command = [sys.executable, "-m", "pytest", *self.command]
        sys.stdout.flush()
        child = subprocess.Popen(command, cwd=self.folder, env=environ, pass_fds=inherited)
        try:
            code = child.wait()
        except KeyboardInterrupt:
            # The terminal told it as well; it ends by itself, with its fixtures torn down.
            child.wait()
            raise
        try:
            attempts = msgspec.json.decode((folder / ATTEMPTS_NAME).read_bytes(), type=list[Attempt])
        except (OSError, msgspec.MsgspecError):
            # It ended without the hook: killed, or by os._exit. Whatever its code, it proves nothing.
            return Round(INTERNAL_ERROR, RoundReport(folder / XML_NAME, []))
        return Round(code, RoundReport(folder / XML_NAME, attempts))

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
        everything = [attempt for part in self.rounds for attempt in part.report.attempts]
        names = {junit.address(attempt.nodeid, self.prefix): attempt.check for attempt in everything}
        return list(dict.fromkeys(names.get(address, address[1]) for address in checks))

    def _merged(self, verdict: Verdict) -> bytes:
        """Return the report of all rounds, with a verdict."""
        properties = {"auto-heal.verdict": verdict, "auto-heal.rounds": str(len(self.rounds))}
        for name, outcomes in self.outcomes.items():
            last = outcomes[-1]
            actions = ", then ".join(
                outcome.action if outcome.ok else f"{outcome.action} in vain ({outcome.reason})"
                for outcome in outcomes
                if outcome.action
            )
            properties[f"auto-heal.{name}.action"] = actions or f"none: {last.reason}"
            properties[f"auto-heal.{name}.cause"] = outcomes[0].cause
            if last.answered_at is not None:
                downtime = max(0.0, last.answered_at - self._since(name))
                properties[f"auto-heal.{name}.downtime"] = f"{downtime:.3f}"
        lines = self.voice.lines if self.outcomes else []
        reports = [part.report for part in self.rounds]
        return junit.merge(reports, properties=properties, system_out=lines, prefix=self.prefix)

    def _since(self, service: str) -> float:
        everything = [attempt for part in self.rounds for attempt in part.report.attempts]
        own = [attempt.started for attempt in everything if service in attempt.heals]
        return min(own or [attempt.started for attempt in everything])
