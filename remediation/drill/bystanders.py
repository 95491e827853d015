"""Bystanders: processes that resemble the service, so that harm to the wrong process is noticed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from remediation.config.model import Project, Service
from remediation.drill.helper import Helper
from remediation.messages.message import Message
from remediation.system import environment
from remediation.system.capabilities import has_proc
from remediation.system.process import Life, signal_name

if TYPE_CHECKING:
    from typing_extensions import Self

_READY = 0
# How far from the service's port a neighbouring port may be.
_NEIGHBOURS = 10


class Decoy:
    """One bystander, and the signals that it received."""

    def __init__(self, text_key: str, helper: Helper) -> None:
        """Wait until it is ready; the text of `text_key` says how it resembles the service."""
        self._text_key = text_key
        self.helper = helper
        self._signals: list[int] = []
        self._signals += [number for number in helper.data(bytes([_READY])) if number != _READY]

    def harm(self) -> Message | None:
        """Return how it was harmed, or None if it was not."""
        who = Message(self._text_key, {})
        self._signals += self.helper.pending_output()
        if self._signals:
            names = ", ".join(dict.fromkeys(signal_name(number) for number in self._signals))
            return Message("drill_signalled", {"who": who, "signals": names})
        if self.helper.ended or self.helper.identity is None:
            return Message("drill_killed", {"who": who})
        if self.helper.identity.life is Life.SUSPENDED:
            return Message("drill_suspended", {"who": who})
        return None


class Bystanders:
    """The bystanders of one fault. They bear the service's name, and run in sessions of their own."""

    def __init__(self, service: Service, project: Project) -> None:
        """Prepare the bystanders of a service."""
        self._service = service
        self._project = project
        self._stack = ExitStack()
        self._decoys: list[Decoy] = []

    def __enter__(self) -> Self:
        kinds: dict[str, list[int]] = {"decoy_name": [], "decoy_pid": []}
        if ports := self._neighbouring_ports():
            kinds["decoy_port"] = ports
        with ExitStack() as stack:
            started = {text_key: stack.enter_context(self._start(ports)) for text_key, ports in kinds.items()}
            self._decoys = [Decoy(text_key, helper) for text_key, helper in started.items()]
            self._stack = stack.pop_all()
        return self

    def _neighbouring_ports(self) -> list[int]:
        """Return the ports near the service's, the nearest first, without those of other services."""
        if self._service.address is None or self._service.address.socket:
            return []
        own = self._service.address.port
        taken = {service.address.port for service in self._project.services.values() if service.address}
        near = sorted(range(own - _NEIGHBOURS, own + _NEIGHBOURS + 1), key=lambda number: abs(number - own))
        return [number for number in near if number > 0 and number not in taken]

    def _start(self, ports: Iterable[int]) -> Helper:
        name = os.path.basename(self._service.command[0]) if has_proc() else ""  # noqa: PTH119 - a word
        return Helper(
            "decoy", name, ",".join(map(str, ports)), *self._service.command,
            project=self._project, env=environment.unmarked(),
        )  # fmt: skip

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def namesake(self) -> Decoy:
        """The bystander whose PID can be mistaken for the service's."""
        return self._decoys[1]

    def harmed(self) -> list[Message]:
        """Return how each bystander was harmed, if it was."""
        return [harm for decoy in self._decoys if (harm := decoy.harm())]
