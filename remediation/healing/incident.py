"""What goes into a heal: a service with failing checks, and when and why they failed."""

from __future__ import annotations

import time

from msgspec import Struct

from remediation.config.model import Service
from remediation.state.remediation import Origin, Remediation, RemediationResult


class Incident(Struct, frozen=True):
    """A service with a problem, and what we know about the problem.

    `seen` is the number of heals that had ended when the failing attempt began: if more have ended
    since, another process has acted on the same fault.
    """

    service: Service
    cause: str
    since: float
    """When its first attempt failed, in epoch seconds."""
    seen: int
    steps_used: int = 0
    """How many steps of its ladder this run has used; once it has used all, it does no more for the service."""
    adopted: bool = False
    """Whether this run has already found its process again, without success."""
    id: str = ""
    """What log, report, history and messages call it; empty for the first start of a service, which is no incident."""
    failed_at: float = 0.0
    """When the failing attempt began that this heal is for, in epoch seconds; 0 if no check of its own failed."""
    story: str = ""
    """The full output of its failed attempts, for the evidence."""

    def remediation(
        self,
        origin: Origin,
        result: RemediationResult,
        action: str = "",
        reason: str = "",
        *,
        at: float | None = None,
        evidence: str = "",
        steps: int = 1,
    ) -> Remediation:
        """Return the remediation of this incident; `at` is when it ended, in epoch seconds, by default now."""
        at = time.time() if at is None else at
        return Remediation(
            self.service.name, at, origin, self.cause, action, result, reason,
            since=self.since, answered_at=at if result.ok else None, evidence=evidence, incident=self.id, steps=steps,
        )  # fmt: skip
