"""Why a service could not be stopped, started or restarted: who decides compares the type, people read the text."""

from __future__ import annotations

from remediation.messages.message import Message, MessageError
from remediation.system.process import describe


class HealError(MessageError):
    """A service could not be stopped or started; the message says why."""


class DiedError(HealError):
    """A process that was just started ended before it was ready."""


class CommandLateError(HealError):
    """A command of the configuration did not end in time, and was killed."""


class CommandFailedError(HealError):
    """A command of the configuration ended with another exit status than 0; `how` says with which."""

    def __init__(self, *, how: Message, **values: object) -> None:
        """Say how it ended."""
        super().__init__("command_failed", how=how, **values)
        self.how = how


class ForeignPortError(HealError):
    """The port is held by a process that may not be ended; `pid` is None if the kernel does not tell us which."""

    def __init__(self, *, name: str, port: int, pid: int | None, why: Message) -> None:
        """Say who holds it, and why it may not be ended."""
        holder = describe(pid) if pid else Message("somebody", {})
        super().__init__("foreign_port", name=name, port=port, holder=holder, why=why)
        self.pid = pid
