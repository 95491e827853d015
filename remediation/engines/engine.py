"""The seam between healing and what runs a service: an engine finds, starts and ends it, and reports obstacles.

The healer decides whether and when to act: it holds the lock, keeps the budget and waits until the service is ready.
The engine decides how.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from enum import Enum
from typing import ClassVar, Literal, Protocol

from msgspec import Struct

from remediation.config.model import Service
from remediation.engines.errors import HealError
from remediation.messages.message import Message
from remediation.state.service_state import ServiceState, Store
from remediation.system.process import Identity
from remediation.system.telling import Excerpt


class Condition(Enum):
    """The condition of a service's process, as far as we know it."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    DEAD = "dead"
    REPLACED = "replaced"
    """The process that we started is dead, and another process answers on its port."""
    BY_HAND = "stopped by hand"
    UNKNOWN = "unknown"
    """We do not run it, or an unproven process answers in its place: only the checks can decide."""


class FoundProcess(Struct, frozen=True):
    """A main process of a service that its state does not name."""

    identity: Identity
    how: Literal["again", "successor", "adopted"]
    """We lost its PID, the service has put it in its own place, or a person started it."""
    by_title: bool = False
    """Whether it was recognized by the title that its program writes over its arguments."""


class Start(Protocol):
    """A start in progress, as the healer sees it while it waits until the service is ready."""

    command: str
    """The command line, for messages."""
    identity: Identity | None
    """The process; None if it was gone before we could read its birth."""

    def death(self) -> Message | None:
        """Return how the service ended, or None while it lives."""

    def sleep(self, seconds: float) -> None:
        """Sleep, but no longer than the service lives."""

    def excerpt(self) -> Excerpt:
        """Return what to show of its log since this start, without secrets."""


class Operation(Protocol):
    """The access that the healer gives an engine to change a service; the healer holds the service's lock."""

    state: ServiceState
    """The service's state. An engine that changes it calls `store.keep`."""
    store: Store
    has_acted: bool
    """Whether anything was signalled, ended or started since the lock was taken; if not, no restart is counted."""
    dead: set[Identity]
    """The service's processes that ended since the lock was taken; some may still be zombies."""

    def begin_action(self) -> None:
        """Note that the engine is about to signal, end or start a process. LockLostError if the lock is lost.

        An engine calls it before each such action, so that it never acts without the lock.
        """

    def log(self, key: str, **values: object) -> None:
        """Log a text of the catalogue."""

    def log_message(self, message: Message) -> None:
        """Log a message that already exists."""

    def run(self, command: tuple[str, ...], timeout: float, *, as_service: bool = False) -> None:
        """Run a command of the configuration. HealError unless it exits with 0 within `timeout` seconds.

        With `as_service`, it runs as the service's user. The state names the command while it runs, so that the next
        healer ends it if this one is killed.
        """

    def await_ready(self, start: Start | None) -> None:
        """Wait until the service is ready. SlowStartError after start_timeout, DiedError if `start` dies."""

    def falls_silent(self) -> bool:
        """Return whether the service stops answering within stop_timeout; True if there is no probe for it."""


class Engine(ABC):
    """What runs one service.

    Methods that only inspect touch nothing, need no lock, and raise nothing but OSError. `start`, `stop` and `restart`
    need the service's lock, which keeps two healers from acting at once. They raise HealError, whose text tells the
    user what to do.

    An engine signals only processes that PID and birth prove to be the service's; the one exception is a listener on
    the service's port that `free_port` allows it to end.
    """

    knows_process: ClassVar[bool]
    """Whether `main_process` can find the service's process, so that its death can be watched."""
    owns_processes: ClassVar[bool]
    """Whether we start and end its processes ourselves, so that they and its port are on this machine."""

    def __init__(self, service: Service) -> None:
        """Run `service`; look nothing up yet."""
        self.service = service

    # What the engine can do at all.

    @property
    @abstractmethod
    def can_start(self) -> bool:
        """Whether the engine can start or restart the service; if not, it is checked and never healed."""

    @property
    @abstractmethod
    def can_stop(self) -> bool:
        """Whether the engine can stop the service."""

    def out_of_reach(self) -> HealError | None:
        """Return why the engine can never act on the service, or None if it can."""
        return None if self.can_start else HealError("never_healed", name=self.service.name)

    # The service now.

    def condition(self, state: ServiceState) -> Condition:
        """Return the condition of the service's process, in well under a millisecond."""
        return Condition.BY_HAND if state.stopped_by_hand else self._condition(state)

    @abstractmethod
    def _condition(self, state: ServiceState) -> Condition:
        """Return the condition of a service that was not stopped by hand."""

    @abstractmethod
    def main_process(self, state: ServiceState) -> Identity | None:
        """Return the live process that is proven to be the service's main one; None if there is none, or unknown."""

    @abstractmethod
    def processes(self, state: ServiceState) -> list[Identity]:
        """Return the live processes that are proven to be the service's and may be signalled."""

    @abstractmethod
    def is_running(self, state: ServiceState) -> bool | None:
        """Return whether any process of the service lives, even one that may not be signalled; None if unknown."""

    @abstractmethod
    def owns_address(self, state: ServiceState) -> bool:
        """Return whether the service itself answers at its address, as far as we can know."""

    def lost_process(self, state: ServiceState, store: Store) -> FoundProcess | None:
        """Return a live main process that is missing from PID file or state, without any doubt; None if there is none.

        The caller has to check whether it answers before recording it.
        """
        del state, store
        return None

    def rivals(self, state: ServiceState) -> list[int]:
        """Return the PIDs of processes that listen on the service's address beside its main process and its tree."""
        del state
        return []

    def stranger(self, state: ServiceState) -> Message | None:
        """Return who listens in the place of the service, and why it is not the service's; None if nobody does."""
        del state
        return None

    # A restart in advance.

    @abstractmethod
    def obstacle(self, state: ServiceState) -> HealError | None:
        """Return why a restart would fail, as far as we can know without touching anything; None if nothing is known.

        The healer asks first, so that it does not end a process that it could not replace.
        """

    @abstractmethod
    def plan(self, state: ServiceState) -> Iterator[Message]:
        """Yield what a restart would do, step by step. HealError where it would fail."""

    # Changes.

    @abstractmethod
    def start(self, operation: Operation) -> None:
        """Start the service, and return when it is ready. Do nothing if its main process lives.

        A failed start leaves no process running, with one exception: a process that lives but is not ready in time
        stays in the state, and may still become ready.
        """

    @abstractmethod
    def stop(self, operation: Operation) -> None:
        """End the service, and return when it has ended. A service that is already stopped is not an error."""

    @abstractmethod
    def reload(self, operation: Operation) -> None:
        """Let the service read its configuration again by the key `reload`, and return when it is ready.

        HealError if there is no process that could, or if the service is not ready afterwards.
        """

    @abstractmethod
    def restart(self, operation: Operation) -> None:
        """End the service in any condition, start it again, and return when it is ready.

        A failed restart leaves no more running than a failed start.
        """
