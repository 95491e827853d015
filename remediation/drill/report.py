"""A drill as the lines of a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from remediation.drill.results import Finding, Findings
from remediation.messages.columns import aligned

_COLUMNS = ("FAULT", "ROUNDS", "DETECTED", "HEALED", "DOWNTIME (MAX)", "HARMED", "LEFT OVER")


def table(found: Findings) -> list[str]:
    """Return the table: a row for each fault, of each service if there are several; downtimes are medians."""
    groups = found.by_fault()
    several = len({service for service, _ in groups}) > 1
    rows = [("SERVICE", *_COLUMNS), *((service, *_row(fault, group)) for (service, fault), group in groups.items())]
    return aligned(rows if several else [row[1:] for row in rows])


def _row(fault: str, group: Sequence[Finding]) -> tuple[str, ...]:
    tried = [finding for finding in group if not finding.skipped]
    if not tried:
        return fault, "skipped", *["-"] * (len(_COLUMNS) - 2)
    healed = f"{sum(finding.healed for finding in tried)}/{len(tried)}"
    if any(finding.refused for finding in tried):
        healed += " (refused at first)"
    skipped = len(group) - len(tried)
    return (
        fault,
        f"{len(tried)} ({skipped} skipped)" if skipped else str(len(tried)),
        f"{sum(finding.detected for finding in tried)}/{len(tried)}",
        healed,
        downtimes(tried) or "-",
        str(sum(len(finding.harmed) for finding in tried)),
        str(sum(len(finding.left) for finding in tried)),
    )


def downtimes(group: Sequence[Finding]) -> str:
    """Return median and maximum of the downtimes, in seconds; empty if none is known."""
    known = [finding.downtime for finding in group if finding.downtime is not None]
    return f"{median(known):.2f}s ({max(known):.2f}s)" if known else ""
