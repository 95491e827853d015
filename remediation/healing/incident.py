"""What goes into a heal and what comes out of it."""

from __future__ import annotations

from msgspec import Struct

from remediation.config.model import Service
from remediation.messages.message import Phrase, PhrasedError
from remediation.system.process import describe


class HealError(PhrasedError):
    """A service could not be stopped or started; the message says why."""


class DiedError(HealError):
    """A process that was just started ended before it was ready."""


class CommandLateError(HealError):
    """A command of the configuration did not end in time, and was killed."""


class CommandFailedError(HealError):
    """A command of the configuration ended with another exit status than 0; `how` says with which."""

    def __init__(self, *, how: Phrase, **values: object) -> None:
        """Say how it ended."""
        super().__init__("command_failed", how=how, **values)
        self.how = how


class ForeignPortError(HealError):
    """The port is held by a process that may not be ended; `pid` is None if the kernel does not tell us which."""

    def __init__(self, *, name: str, port: int, pid: int | None, why: Phrase) -> None:
        """Say who holds it, and why it may not be ended."""
        holder = describe(pid) if pid else Phrase("somebody", {})
        super().__init__("foreign_port", name=name, port=port, holder=holder, why=why)
        self.pid = pid


class Patient(Struct, frozen=True):
    """A service whose checks failed.

    `seen` is the number of heals that had ended when the failing attempt began: if more have ended
    since, somebody else acted on the same fault.
    """

    service: Service
    cause: str
    since: float
    """When its first attempt failed, in epoch seconds."""
    seen: int
    rung: int = 0
    """How many rungs of its ladder were used in this run; with all of them, nothing more is done for it."""
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
