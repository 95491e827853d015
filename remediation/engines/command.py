"""Something else runs the service, and commands of the configuration ask it to: systemctl, kubectl, ssh and the like.

Their exit status counts, and then whether the service answers: of its processes nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterator

from remediation.engines import ownership
from remediation.engines.engine import Condition, Engine, Operation
from remediation.engines.errors import HealError
from remediation.messages.message import Message
from remediation.state.service_state import ServiceState
from remediation.system.process import Identity


class CommandEngine(Engine):
    """Restarts a service by `restart`; it can also have commands to start and to stop it.

    Without any of them it is checked, never healed. A command that is asked to stop what is stopped, or to start what
    runs, has to know by itself that there is nothing to do.
    """

    knows_process = False
    owns_processes = False

    @property
    def can_start(self) -> bool:
        """Whether there is a command to restart it."""
        return bool(self.service.restart_command)

    @property
    def can_stop(self) -> bool:
        """Whether there is a command to stop it."""
        return bool(self.service.stop_command)

    def _condition(self, state: ServiceState) -> Condition:
        del state
        return Condition.UNKNOWN

    def main_process(self, state: ServiceState) -> None:
        """Return None: it is not ours to know."""

    def processes(self, state: ServiceState) -> list[Identity]:
        """Return what we started ourselves and still runs, from before the configuration said that we do not."""
        return ownership.family(self.service, state)

    def is_running(self, state: ServiceState) -> None:
        """Return None: it is not ours to know."""

    def owns_address(self, state: ServiceState) -> bool:
        """Return True: whoever answers is taken for the service."""
        del state
        return True

    def obstacle(self, state: ServiceState) -> HealError | None:
        """Return why the command could not be started."""
        from remediation.engines.spawn import unstartable

        del state
        return unstartable(self.service, self.service.restart_command)

    def plan(self, state: ServiceState) -> Iterator[Message]:
        """Yield the command that would be run."""
        del state
        values = {"command": " ".join(self.service.restart_command), "timeout": self.service.start_timeout}
        yield Message("plan_command", values)

    def start(self, operation: Operation) -> None:
        """Run the command that starts it, or the one that restarts it if there is none."""
        self._ask(operation, self.service.start_command or self.service.restart_command)

    def restart(self, operation: Operation) -> None:
        """Run the command that restarts it."""
        self._ask(operation, self.service.restart_command)

    def _ask(self, operation: Operation, command: tuple[str, ...]) -> None:
        operation.run(command, self.service.start_timeout)
        operation.await_ready(None)

    def stop(self, operation: Operation) -> None:
        """Run the command that stops it. HealError if it fails, or the service answers on after stop_timeout."""
        service = self.service
        if not service.stop_command:
            raise HealError("no_stop", name=service.name)
        operation.log("stopping", name=service.name)
        operation.run(service.stop_command, service.stop_timeout + service.start_timeout)
        if not operation.falls_silent():
            command = " ".join(service.stop_command)
            raise HealError("still_answers", name=service.name, command=command, url=service.address)
