"""The report as it is published: what all rounds found, with the verdict that it bears out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from remediation.checks import OWN
from remediation.checks.results import places
from remediation.messages.message import first_line
from remediation.run import junit
from remediation.run.junit import Address, RoundReport
from remediation.run.rounds import Round
from remediation.state.remediation import Remediation
from remediation.system import files
from remediation.system.exit_codes import Verdict


class Publication(Struct, frozen=True):
    """All that goes into the report of a run."""

    rounds: Sequence[Round]
    remediations: Sequence[Remediation]
    """What was done for each service, one each."""
    notes: Mapping[str, str]
    """What is known of a failed check besides its failure, by its node ID."""
    failures: Mapping[str, str]
    """What failed besides the checks, and why, by what it is called."""
    lines: Sequence[str]
    """Of the log."""
    prefix: str | None
    services: Sequence[str] = ()
    """The services that the checks are of, if those are not all of the project."""

    def write(self, path: Path, verdict: Verdict, *, empty: bool) -> list[Address]:
        """Write the report with a `verdict`, or as sick if it has a failed check; return those that have failed.

        One that may be `empty`, since no check was selected, has none.

        Raises IncompleteReportError if a round's own report cannot be relied on; OSError as usual.
        """
        # Read back before it is published: another run may remove or replace the published one at once.
        with files.replacement(path) as draft:
            draft.write_bytes(self._merged(verdict))
            failed = [] if empty else junit.failed(draft)
            if failed and verdict != "sick":
                draft.write_bytes(self._merged("sick"))
        return failed

    def _merged(self, verdict: Verdict) -> bytes:
        properties = {"auto-heal.verdict": verdict, "auto-heal.rounds": str(len(self.rounds))}
        if self.services:
            properties["auto-heal.services"] = ", ".join(self.services)
        for one in self.remediations:
            told = {"action": one.action, "cause": first_line(one.cause), "evidence": one.evidence}
            if one.downtime is not None:
                told["downtime"] = f"{one.downtime:.3f}"
            properties |= {f"auto-heal.{one.service}.{name}": text for name, text in told.items() if text}
        parts = [part for one in self.rounds for part in one.parts]
        reports = [RoundReport(part.xml, part.findings.attempts) for part in parts]
        notes = {junit.address(nodeid, self.prefix): note for nodeid, note in self.notes.items()}
        more = {junit.address(f"{OWN}{name}"): why for name, why in self.failures.items()}
        where = places(one.findings for one in self.rounds)
        return junit.merge(
            reports, properties=properties, system_out=self.lines, prefix=self.prefix, notes=notes, more=more,
            places={junit.address(nodeid, self.prefix): place for nodeid, place in where.items()},
        )  # fmt: skip
