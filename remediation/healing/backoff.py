"""The restart budget: a number of restarts within a window, and exponential backoff once they are used up.

A service that keeps failing must not be restarted for ever at full speed. Once its budget is spent, each restart
waits for a delay that doubles every time, up to a limit. The backoff ends when the service has stayed healthy for
the budget's `calm` time.
"""

from __future__ import annotations

import time
from copy import copy
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from remediation.config.model import Service
from remediation.messages.message import Message
from remediation.state.service_state import ServiceState

if TYPE_CHECKING:
    from typing_extensions import Self

# The delay between restarts does not grow beyond this, in seconds.
LONGEST_DELAY = 3600.0


class Spent(Struct, frozen=True):
    """The part of a service's state that belongs to the budget, at one moment, so that it can be restored."""

    restarts: tuple[float, ...] = ()
    delay: float = 0.0
    not_before: float = 0.0
    troubled_at: float = 0.0

    @classmethod
    def of(cls, state: ServiceState) -> Self:
        """Copy the budget's part of a state."""
        return cls(tuple(state.restarts), state.delay, state.not_before, state.troubled_at)

    def put(self, state: ServiceState) -> None:
        """Put the copied values back into a state."""
        state.restarts, state.delay = list(self.restarts), self.delay
        state.not_before, state.troubled_at = self.not_before, self.troubled_at


class Refusal(NamedTuple):
    """Why there is no restart now; `first` if the budget has just been found spent."""

    why: Message
    first: bool


def refusal(service: Service, state: ServiceState) -> Refusal | None:
    """Return why the service may not be restarted now, or None if it may; note the request in `state`."""
    budget, now = service.budget, time.time()
    recent = state.restarts_within(budget)
    if waits(state) and not waits_still(service, state):
        state.delay = state.not_before = 0.0
    state.troubled_at = now
    # A later moment was written before the clock was set back.
    state.not_before = min(state.not_before, now + LONGEST_DELAY)
    values = {"name": service.name, "restarts": budget.restarts, "window": budget.window}
    if recent >= budget.restarts:
        first = not state.delay
        if first:
            state.delay = min(LONGEST_DELAY, budget.window / max(1, budget.restarts))
            state.not_before = now + state.delay
        return Refusal(Message("budget", values), first)
    if now < state.not_before:
        until = time.strftime("%H:%M:%S", time.localtime(state.not_before))
        return Refusal(Message("budget_wait", values | {"until": until}), first=False)
    if state.delay:
        state.delay = min(LONGEST_DELAY, 2 * state.delay)
        state.not_before = now + state.delay
    return None


def left(service: Service, state: ServiceState) -> int:
    """Return how many restarts in a row would be granted now: 0 if, and only if, the next is refused."""
    scratch = copy(state)
    if state.stopped_by_hand or refusal(service, scratch):
        return 0
    # Once the budget is spent, a delay follows each restart.
    return 1 if scratch.delay else service.budget.restarts - len(scratch.restarts)


def waits_still(service: Service, state: ServiceState) -> bool:
    """Return whether the budget was spent, and the service has not been healthy for long enough since."""
    now = time.time()
    # The service was healthy if no heal was requested in all that time.
    return waits(state) and now - service.budget.calm <= state.troubled_at <= now


def waits(state: ServiceState) -> bool:
    """Return whether the budget was spent, so that a delay separates the heals."""
    return state.delay > 0
