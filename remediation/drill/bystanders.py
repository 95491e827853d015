"""A herd of bystanders: who takes the wrong process for the service harms one of them, and they tell."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from remediation.config.model import Project, Service
from remediation.drill.helper import Helper
from remediation.messages.message import Message
from remediation.system import environment
from remediation.system.process import Life, signal_name

if TYPE_CHECKING:
    from typing_extensions import Self

_READY = 0
# Beyond what a port next door is looked for.
_NEIGHBOURS = 10


class Decoy:
    """One bystander, and what is to be known of it."""

    def __init__(self, what: str, helper: Helper) -> None:
        """Wait until it stands by; `what` is the key of a text that says how it is mistaken for the service."""
        self._what = what
        self.helper = helper
        self._signals: list[int] = []
        self._signals += [number for number in helper.data(bytes([_READY])) if number != _READY]

    def harm(self) -> Message | None:
        """Say what was done to it, or None if nothing was."""
        who = Message(self._what, {})
        self._signals += self.helper.waiting()
        if self._signals:
            names = ", ".join(dict.fromkeys(signal_name(number) for number in self._signals))
            return Message("drill_signalled", {"who": who, "signals": names})
        if self.helper.ended or self.helper.identity is None:
            return Message("drill_killed", {"who": who})
        if self.helper.identity.life is Life.SUSPENDED:
            return Message("drill_suspended", {"who": who})
        return None


class Bystanders:
    """The bystanders of one fault. They bear the service's name, and sit in other sessions."""

    def __init__(self, service: Service, project: Project) -> None:
        """Prepare a herd for a service."""
        self._service = service
        self._project = project
        self._stack = ExitStack()
        self._decoys: list[Decoy] = []

    def __enter__(self) -> Self:
        kinds: dict[str, list[int]] = {"decoy_name": [], "decoy_pid": []}
        if ports := self._next_door():
            kinds["decoy_port"] = ports
        with ExitStack() as stack:
            started = {what: stack.enter_context(self._start(ports)) for what, ports in kinds.items()}
            self._decoys = [Decoy(what, helper) for what, helper in started.items()]
            self._stack = stack.pop_all()
        return self

    def _next_door(self) -> list[int]:
        """Return the ports beside the service's, the nearest first, but for those that are other services'."""
        if self._service.address is None:
            return []
        own = self._service.address.port
        taken = {service.address.port for service in self._project.services.values() if service.address}
        near = sorted(range(own - _NEIGHBOURS, own + _NEIGHBOURS + 1), key=lambda number: abs(number - own))
        return [number for number in near if number > 0 and number not in taken]

    def _start(self, ports: Iterable[int]) -> Helper:
        name = os.path.basename(self._service.command[0])  # noqa: PTH119 - a word
        return Helper(
            "decoy", name, ",".join(map(str, ports)), *self._service.command,
            project=self._project, env=environment.unmarked(),
        )  # fmt: skip

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def namesake(self) -> Decoy:
        """The one whose PID can be taken for the service's."""
        return self._decoys[1]

    def harmed(self) -> list[Message]:
        """Say what was done to each that came to harm."""
        return [harm for decoy in self._decoys if (harm := decoy.harm())]
