"""Why a service could not be stopped, started or restarted: code compares the type, people read the text."""

from __future__ import annotations

from remediation.messages.message import Message, MessageError
from remediation.system.process import introduce


class HealError(MessageError):
    """A service could not be stopped or started; the message says why."""


class DiedError(HealError):
    """A new process ended before it was ready."""


class SlowStartError(HealError):
    """A service that was started lives, but was not ready in time."""


class NotValidError(HealError):
    """The service's own configuration is invalid, so that a restart would end what runs and start nothing.

    `output` is what the validating command printed, without secrets.
    """

    def __init__(self, *, output: str, **values: object) -> None:
        """Report what the command found."""
        super().__init__("not_valid", **values)
        self.output = output


class CommandLateError(HealError):
    """A command of the configuration did not end in time, and we killed it."""


class CommandFailedError(HealError):
    """A command of the configuration did not exit with status 0; `how` says how it ended."""

    def __init__(self, *, how: Message, **values: object) -> None:
        """Report how the command ended, and what the log says `last`, if anything."""
        super().__init__("command_said" if "last" in values else "command_failed", how=how, **values)
        self.how = how


class StillServedError(HealError):
    """The service was stopped, and a process that is not its own answers at its address."""

    def __init__(self, name: str, url: str, holder: str) -> None:
        """Report who answers."""
        who = holder or Message("somebody", {})
        super().__init__("still_served", name=name, url=url, holder=who)


class ForeignPortError(HealError):
    """A process that we may not end holds the port, or the socket at a path.

    `pid` is None if the kernel hides which process that is.
    """

    def __init__(self, *, name: str, port: int, socket: str | None, pid: int | None, why: Message) -> None:
        """Report which process holds the port, and why we may not end it."""
        holder = introduce(pid) if pid else Message("somebody", {})
        place = {"socket": socket} if socket else {"port": port}
        super().__init__("foreign_socket" if socket else "foreign_port", name=name, holder=holder, why=why, **place)
        self.pid = pid
