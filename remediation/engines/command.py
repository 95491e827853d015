"""The engine for services that something else runs: commands of the configuration, such as systemctl, control it.

Their exit status counts, and then whether the service answers; the engine knows nothing of its processes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from remediation.engines import ownership
from remediation.engines.engine import Condition, Engine, Operation
from remediation.engines.errors import HealError
from remediation.messages.message import Message
from remediation.state.service_state import ServiceState
from remediation.system.process import Identity


class CommandEngine(Engine):
    """Restart a service by its `restart` command; optional commands start and stop it.

    A service without a `restart` command is checked, never healed. A command must do nothing if the service is already
    stopped or started.
    """

    knows_process = False
    owns_processes = False

    @property
    def can_start(self) -> bool:
        """Whether there is a command to restart the service."""
        return bool(self.service.restart_command)

    @property
    def can_stop(self) -> bool:
        """Whether there is a command to stop the service."""
        return bool(self.service.stop_command)

    def _condition(self, state: ServiceState) -> Condition:
        del state
        return Condition.UNKNOWN

    def main_process(self, state: ServiceState) -> None:
        """Return None: the engine cannot know."""

    def processes(self, state: ServiceState) -> list[Identity]:
        """Return live processes that we started ourselves, before the configuration handed the service to commands."""
        return ownership.family(self.service, state)

    def is_running(self, state: ServiceState) -> None:
        """Return None: the engine cannot know."""

    def owns_address(self, state: ServiceState) -> bool:
        """Return True: any process that answers counts as the service."""
        del state
        return True

    def obstacle(self, state: ServiceState) -> HealError | None:
        """Return why the restart command could not be started."""
        from remediation.engines.spawn import unstartable

        del state
        return unstartable(self.service, self.service.restart_command)

    def plan(self, state: ServiceState) -> Iterator[Message]:
        """Yield the command that a restart would run."""
        del state
        values = {"command": " ".join(self.service.restart_command), "timeout": self.service.start_timeout}
        yield Message("plan_command", values)

    def start(self, operation: Operation) -> None:
        """Run the start command, or the restart command if there is none, and wait until the service is ready."""
        self._run(operation, self.service.start_command or self.service.restart_command)

    def restart(self, operation: Operation) -> None:
        """Run the restart command, and wait until the service is ready."""
        self._run(operation, self.service.restart_command)

    def reload(self, operation: Operation) -> None:
        """Run the reload command, and wait until the service is ready."""
        command = self.service.reload
        if not isinstance(command, tuple):
            raise TypeError("the configuration allows a signal only beside command")
        operation.run(command, self.service.start_timeout)
        operation.await_ready(None)

    def _run(self, operation: Operation, command: tuple[str, ...]) -> None:
        operation.state.started_at = time.time()
        try:
            operation.run(command, self.service.start_timeout)
        except HealError:
            operation.log("not_started", name=self.service.name)
            raise
        operation.await_ready(None)

    def stop(self, operation: Operation) -> None:
        """Run the stop command. HealError if it fails, or the service still answers after stop_timeout."""
        service = self.service
        if not service.stop_command:
            raise HealError("no_stop", name=service.name)
        operation.log("stopping", name=service.name)
        operation.run(service.stop_command, service.stop_timeout + service.start_timeout)
        if not operation.falls_silent():
            command = " ".join(service.stop_command)
            raise HealError("still_answers", name=service.name, command=command, url=service.address)
