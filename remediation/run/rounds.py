"""One round of a run: its exit code and its findings, read from files if a later session ran it.

A later round needs a session of its own, because the items of a session cannot run twice: with xdist, the
controller has no items; `-x` leaves a latch that is not reset; junitxml would write every case twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import msgspec

from remediation.checks.results import RoundFindings
from remediation.state.records import CheckOutcome
from remediation.supervision.round_files import FINDINGS_NAME, XML_NAME
from remediation.system.exit_codes import FAILED, INTERNAL_ERROR, INTERRUPTED, NO_CHECKS, PASSED, USAGE_ERROR


class Part(msgspec.Struct, frozen=True):
    """The findings of one process in a round, and the XML of its pytest."""

    xml: Path
    findings: RoundFindings


class Round(msgspec.Struct, frozen=True):
    """One execution of the suite: its exit code, and a part for each process that took part."""

    code: int
    parts: list[Part]
    healed: tuple[str, ...] = ()
    """The services that were healed just before this round."""
    starting: Mapping[str, float] = {}
    """The services that failed in it, but were in their start period, each with its end in epoch seconds.

    These failures count for nothing.
    """

    @property
    def findings(self) -> RoundFindings:
        """The findings of all parts."""
        return RoundFindings(
            [attempt for part in self.parts for attempt in part.findings.attempts],
            [result for part in self.parts for result in part.findings.results],
        )

    @property
    def counted(self) -> RoundFindings:
        """The findings without the failures of services that were still starting."""
        if not self.starting:
            return self.findings
        return RoundFindings(
            [attempt for attempt in self.findings.attempts if not self._is_starting(attempt.heals)],
            [
                msgspec.structs.replace(result, outcome=CheckOutcome.SKIPPED)
                if result.outcome is CheckOutcome.FAILED and self._is_starting(result.services)
                else result
                for result in self.findings.results
            ],
        )

    def _is_starting(self, services: Collection[str]) -> bool:
        return bool(services) and set(services) <= self.starting.keys()


def worst(codes: Iterable[int]) -> int:
    """Return the exit code of a round from those of its processes."""
    problems = set(codes) - {PASSED, NO_CHECKS}
    by_rank = (INTERNAL_ERROR, USAGE_ERROR, INTERRUPTED, FAILED)
    if not problems <= set(by_rank):
        return INTERNAL_ERROR
    return next((code for code in by_rank if code in problems), PASSED)


def read_round(code: int, folders: Iterable[Path]) -> Round:
    """Return a later round that ended with `code`, from the files in its folders."""
    parts: list[Part] = []
    for folder in folders:
        try:
            findings = msgspec.json.decode((folder / FINDINGS_NAME).read_bytes(), type=RoundFindings)
        except (OSError, msgspec.MsgspecError):
            # The process was killed or called os._exit, so pytest's last hook did not run. The code proves nothing.
            return Round(INTERNAL_ERROR, parts)
        parts.append(Part(folder / XML_NAME, findings))
    if code not in range(NO_CHECKS + 1):
        # The process was killed at its very end; its XML may be incomplete.
        code = INTERNAL_ERROR
    # A process that started too late to run a check has no results.
    return Round(code, _with_results(parts))


def combine(first: Round, others: Round) -> Round:
    """Combine the two halves of a round."""
    return Round(worst([first.code, others.code]), _with_results([*first.parts, *others.parts]))


def _with_results(parts: list[Part]) -> list[Part]:
    """Leave out the parts of processes to which others left no check: their reports have no case."""
    return [part for part in parts if part.findings.results] or parts
