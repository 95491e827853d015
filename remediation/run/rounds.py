"""One round of a run: how a later one is started, and what every round leaves behind.

A later round is a session of its own. The items of a session cannot simply be run again: with xdist the
controller holds none, `-x` leaves a latch that is not reset, and junitxml would write every case twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from remediation.checks.results import RoundFindings
from remediation.supervision.round_files import FINDINGS_NAME, XML_NAME
from remediation.system.exit_codes import FAILED, INTERNAL_ERROR, INTERRUPTED, NO_CHECKS, PASSED, USAGE_ERROR


class Part(msgspec.Struct, frozen=True):
    """What one process found in a round, and the XML that its pytest wrote."""

    xml: Path
    findings: RoundFindings


class Round(msgspec.Struct, frozen=True):
    """A run of the suite: its exit code, and what each process that ran a part of it found."""

    code: int
    parts: list[Part]
    healed: tuple[str, ...] = ()
    """The services that were healed just before it."""

    @property
    def findings(self) -> RoundFindings:
        """What all of them found."""
        everything = [part.findings for part in self.parts]
        return RoundFindings(
            [attempt for found in everything for attempt in found.attempts],
            [result for found in everything for result in found.results],
        )


def worst(codes: Iterable[int]) -> int:
    """Return the exit code of a round from those of the processes that ran it."""
    found = set(codes) - {PASSED, NO_CHECKS}
    order = (INTERNAL_ERROR, USAGE_ERROR, INTERRUPTED, FAILED)
    known = next((code for code in order if code in found), PASSED)
    return known if found <= set(order) else INTERNAL_ERROR


def read_round(code: int, folders: Iterable[Path]) -> Round:
    """Return what a later round, which ended with `code`, left in its folders."""
    parts: list[Part] = []
    for folder in folders:
        try:
            findings = msgspec.json.decode((folder / FINDINGS_NAME).read_bytes(), type=RoundFindings)
        except (OSError, msgspec.MsgspecError):
            # It ended without the hook: killed, or by os._exit. Whatever its code, it proves nothing.
            return Round(INTERNAL_ERROR, parts)
        parts.append(Part(folder / XML_NAME, findings))
    if code not in range(NO_CHECKS + 1):
        # Killed at its very end; its XML may not be whole.
        code = INTERNAL_ERROR
    # One that came too late to run anything has nothing to tell.
    return Round(code, [part for part in parts if part.findings.results] or parts)


def together(first: Round, others: Round) -> Round:
    """Return one round of two halves."""
    return Round(worst([first.code, others.code]), [*first.parts, *others.parts])
