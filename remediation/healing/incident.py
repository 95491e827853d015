"""What goes into a heal: a sick service, and what comes out of it if it cannot be healed."""

from __future__ import annotations

import time

from msgspec import Struct

from remediation.config.model import Service
from remediation.state.remediation import Origin, Remediation, RemediationResult


class Incident(Struct, frozen=True):
    """A service that is sick, and what is known of that.

    `seen` is the number of heals that had ended when the failing attempt began: if more have ended
    since, somebody else acted on the same fault.
    """

    service: Service
    cause: str
    since: float
    """When its first attempt failed, in epoch seconds."""
    seen: int
    steps_used: int = 0
    """How many steps of its ladder were used in this run; with all of them, nothing more is done for it."""
    adopted: bool = False
    """Whether its process was found again in this run, which did not help."""
    story: str = ""
    """All that its failed attempts said, for the evidence."""

    def remediation(
        self,
        origin: Origin,
        result: RemediationResult,
        action: str = "",
        reason: str = "",
        *,
        at: float | None = None,
        evidence: str = "",
    ) -> Remediation:
        """Return what was done for it, which ended `at` a moment in epoch seconds, or now."""
        at = time.time() if at is None else at
        return Remediation(
            self.service.name, at, origin, self.cause, action, result, reason,
            since=self.since, answered_at=at if result.ok else None, evidence=evidence,
        )  # fmt: skip
