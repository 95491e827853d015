"""The seam between healing and what runs a service: an engine finds, starts and ends it, and says what cannot be done.

The healer decides whether and when; it holds the lock, keeps the budget and waits until the service is ready. An
engine decides how.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from enum import Enum
from typing import ClassVar, Protocol

from remediation.config.model import Service
from remediation.engines.errors import HealError
from remediation.messages.message import Message
from remediation.state.service_state import ServiceState, Store
from remediation.system.process import Identity


class Condition(Enum):
    """What is known of a service's process."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    DEAD = "dead"
    REPLACED = "replaced"
    """The process that we started is dead, and somebody else answers on its port."""
    BY_HAND = "stopped by hand"
    UNKNOWN = "unknown"
    """Something else runs it, or somebody unproven answers in its place: only the checks can tell."""


class Start(Protocol):
    """A start that is under way, as the healer sees it while it waits until the service is ready."""

    command: str
    """What was started, in words."""

    def death(self) -> Message | None:
        """Say how the service ended, or None while it lives."""

    def sleep(self, seconds: float) -> None:
        """Sleep, but no longer than the service lives."""

    def log_tail(self) -> list[str]:
        """Return the last lines that it wrote since this start, without secrets."""


class Operation(Protocol):
    """What the healer lends an engine that changes a service; the healer holds the service's lock meanwhile."""

    state: ServiceState
    """What is remembered of the service. An engine that changes it has `store` keep it."""
    store: Store
    has_acted: bool
    """Whether anything was signalled, ended or started since the lock was taken; if not, no restart is counted."""
    dead: set[Identity]
    """The service's processes that ended since the lock was taken, some of which may still be zombies."""

    def acts(self) -> None:
        """Note that something is about to be signalled, ended or started. LockLostError if the lock is lost.

        An engine calls it before each such act, so that no one acts who has lost the lock.
        """

    def log(self, key: str, **values: object) -> None:
        """Log a text of the catalogue."""

    def log_message(self, message: Message) -> None:
        """Log a text that was put together before."""

    def run(self, command: tuple[str, ...], timeout: float) -> None:
        """Run a command of the configuration. HealError unless it exits with 0 within `timeout` seconds.

        It is remembered while it runs, so that the next healer ends it if this one is killed.
        """

    def await_ready(self, start: Start | None) -> None:
        """Wait until the service is ready. HealError if it is not within start_timeout, DiedError if `start` dies."""

    def falls_silent(self) -> bool:
        """Return whether the service stops answering within stop_timeout; True if nobody can be asked."""


class Engine(ABC):
    """What runs one service.

    What only looks touches nothing, needs no lock, and raises nothing but OSError. `start`, `stop` and `restart` need
    the service's lock, which keeps two from acting at once. They raise HealError, whose text says what to do.

    An engine never signals a process that is not proven to be the service's by PID and birth; the one exception is a
    listener on the service's port that `free_port` allows it to end.
    """

    knows_process: ClassVar[bool]
    """Whether `main_process` can tell the service's process, so that its death can be watched."""
    owns_processes: ClassVar[bool]
    """Whether we start and end its processes ourselves, so that they, and its port, are on this machine."""

    def __init__(self, service: Service) -> None:
        """Run `service`; nothing is looked up yet."""
        self.service = service

    # What can be done at all.

    @property
    @abstractmethod
    def can_start(self) -> bool:
        """Whether there is any way to start or restart it; if not, it is checked and never healed."""

    @property
    @abstractmethod
    def can_stop(self) -> bool:
        """Whether there is a way to stop it."""

    def out_of_reach(self) -> HealError | None:
        """Return why nothing can ever be done for the service, or None if something can."""
        return None if self.can_start else HealError("never_healed", name=self.service.name)

    # What is known of it now.

    def condition(self, state: ServiceState) -> Condition:
        """Return what is known of the service's process, in well under a millisecond."""
        return Condition.BY_HAND if state.stopped_by_hand else self._condition(state)

    @abstractmethod
    def _condition(self, state: ServiceState) -> Condition:
        """Return the condition of a service that was not stopped by hand."""

    @abstractmethod
    def main_process(self, state: ServiceState) -> Identity | None:
        """Return the live process that is proven to be the service's main one; None if there is none, or who knows."""

    @abstractmethod
    def processes(self, state: ServiceState) -> list[Identity]:
        """Return the live processes that are proven to be the service's and may be signalled."""

    @abstractmethod
    def is_running(self, state: ServiceState) -> bool | None:
        """Return whether any process of the service lives, also one that may not be signalled; None if who knows."""

    @abstractmethod
    def owns_address(self, state: ServiceState) -> bool:
        """Return whether it is the service itself that answers at its address, as far as can be known."""

    def lost_process(self, state: ServiceState, store: Store) -> Identity | None:
        """Return a live main process of ours that PID file or memory lost; None if there is none.

        Whoever wants to go on with it asks first whether it answers.
        """
        del state, store
        return None

    # What a restart would do.

    @abstractmethod
    def obstacle(self, state: ServiceState) -> HealError | None:
        """Return why a restart would come to nothing, as far as can be told without touching anything.

        It is asked before anything is ended that could not be brought back.
        """

    @abstractmethod
    def plan(self, state: ServiceState) -> Iterator[Message]:
        """Yield what a restart would do, step by step. HealError where it would fail."""

    # What changes it.

    @abstractmethod
    def start(self, operation: Operation) -> None:
        """Start the service, and return when it is ready. Nothing is done if its main process lives.

        A start that fails leaves nothing of it running, but for one that lives and is not ready in time: it is
        remembered, and may still become ready.
        """

    @abstractmethod
    def stop(self, operation: Operation) -> None:
        """End the service, and return when it has ended. What is stopped already stays so, and that is no error."""

    @abstractmethod
    def restart(self, operation: Operation) -> None:
        """Replace the service by a new start of it, whatever its condition, and return when that is ready.

        A restart that fails leaves as little as a start that does.
        """
