"""What goes into a heal and what comes out of it."""

from __future__ import annotations

from msgspec import Struct

from remediation.config.model import Service


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


class Outcome(Struct, frozen=True):
    """What was done for a service."""

    service: str
    cause: str
    action: str
    """What was done, in words; empty if nothing was."""
    ok: bool
    """Whether the service is ready now, so that checking again makes sense."""
    reason: str = ""
    """Why it is not ok, for people."""
    used_rung: bool = False
    adopted: bool = False
    """Whether its process was found again, and no more was done."""
    refused: bool = False
    """Whether nothing may be done for it, now or in a later round."""
    gave_up: bool = False
    """Whether this is the moment at which the restart budget was spent."""
    seen: int = 0
    """How many heals of the service had ended when this one had."""
    answered_at: float | None = None
    """When it was seen to answer again, in epoch seconds."""
    evidence: str = ""
    """The folder of what was known of it before; empty if there is none."""
    rolled_back: bool = False
    """Whether its rollback was run, by whomever."""
    rollback_problem: str = ""
    """Why its rollback failed; empty if it did not."""
