"""The published report: the results of all rounds, with a verdict that they confirm."""

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
    """The contents of the report of a run."""

    rounds: Sequence[Round]
    remediations: Sequence[Remediation]
    """One folded remediation per service."""
    notes: Mapping[str, str]
    """Additional notes on failed checks, by node ID."""
    failures: Mapping[str, str]
    """The reasons of failures outside the checks, by name."""
    lines: Sequence[str]
    """Lines of the log."""
    prefix: str | None
    services: Sequence[str] = ()
    """The services that were checked, if not all of the project were."""
    incidents: Mapping[str, str] = {}
    """The incident of each service that failed."""

    def write(self, path: Path, verdict: Verdict, *, empty: bool) -> list[Address]:
        """Write the report with a `verdict`, or as sick if a check failed; return the failed checks.

        An `empty` report, for a run that selected no check, has no failed checks.

        Raises IncompleteReportError if a round's own report is unreliable, and OSError as usual.
        """
        # Read the draft back before it is published, because another run may replace the published report at once.
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
        for done in self.remediations:
            values = {"action": done.action, "cause": first_line(done.cause), "evidence": done.evidence}
            if done.downtime is not None:
                values["downtime"] = f"{done.downtime:.3f}"
            properties |= {f"auto-heal.{done.service}.{name}": text for name, text in values.items() if text}
        properties |= {f"auto-heal.{service}.incident": id_ for service, id_ in self.incidents.items()}
        parts = [part for completed in self.rounds for part in completed.parts]
        reports = [RoundReport(part.xml, part.findings.attempts) for part in parts]
        notes = {junit.address(nodeid, self.prefix): note for nodeid, note in self.notes.items()}
        failures = {junit.address(f"{OWN}{name}"): reason for name, reason in self.failures.items()}
        places_of_checks = places(completed.findings for completed in self.rounds)
        return junit.merge(
            reports, properties=properties, system_out=self.lines, prefix=self.prefix, notes=notes, failures=failures,
            places={junit.address(nodeid, self.prefix): place for nodeid, place in places_of_checks.items()},
        )  # fmt: skip
