"""The restart budget: so many restarts in so many seconds, and what follows when they are used up.

A service that falls ill again and again is not restarted for ever at full speed. Once its budget is spent, one
restart is tried after a delay that doubles each time, up to a bound; it ends when the service has stayed well for
the window of the budget.
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
    """What a memory says of the budget at one moment, so that it can be said again."""

    restarts: tuple[float, ...] = ()
    delay: float = 0.0
    not_before: float = 0.0
    troubled_at: float = 0.0

    @classmethod
    def of(cls, state: ServiceState) -> Self:
        """Note what is spent now."""
        return cls(tuple(state.restarts), state.delay, state.not_before, state.troubled_at)

    def put(self, state: ServiceState) -> None:
        """Let no more be spent than was then."""
        state.restarts, state.delay = list(self.restarts), self.delay
        state.not_before, state.troubled_at = self.not_before, self.troubled_at


class Refusal(NamedTuple):
    """Why there is no restart now; `first` if this is the moment at which the budget is found spent."""

    why: Message
    first: bool


def refusal(service: Service, state: ServiceState) -> Refusal | None:
    """Say why the service may not be restarted now, or None if it may; notes in `memory` that it was asked."""
    budget, now = service.budget, time.time()
    recent = state.restarts_within(budget)
    if waits(state) and not waits_still(service, state):
        state.delay = state.not_before = 0.0
    state.troubled_at = now
    # A moment further ahead was written before the clock was set back.
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
    """Return how many restarts would be granted now, one after another: 0 if, and only if, the next is refused."""
    asked = copy(state)
    if state.stopped_by_hand or refusal(service, asked):
        return 0
    # Once it was spent, each restart is followed by a delay.
    return 1 if asked.delay else service.budget.restarts - len(asked.restarts)


def waits_still(service: Service, state: ServiceState) -> bool:
    """Return whether the budget was spent, and the service has not been well for long enough since."""
    now = time.time()
    # If nobody asked for a heal in all that time, it was well.
    return waits(state) and now - service.budget.calm <= state.troubled_at <= now


def waits(state: ServiceState) -> bool:
    """Return whether the budget was spent, so that heals are far between."""
    return state.delay > 0
