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
from remediation.messages.message import Phrase
from remediation.state.service_state import Memory

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
    def of(cls, memory: Memory) -> Self:
        """Note what is spent now."""
        return cls(tuple(memory.restarts), memory.delay, memory.not_before, memory.troubled_at)

    def put(self, memory: Memory) -> None:
        """Let no more be spent than was then."""
        memory.restarts, memory.delay = list(self.restarts), self.delay
        memory.not_before, memory.troubled_at = self.not_before, self.troubled_at


class Refusal(NamedTuple):
    """Why there is no restart now; `first` if this is the moment at which the budget is found spent."""

    why: Phrase
    first: bool


def refusal(service: Service, memory: Memory) -> Refusal | None:
    """Say why the service may not be restarted now, or None if it may; notes in `memory` that it was asked."""
    budget, now = service.budget, time.time()
    recent = memory.restarts_within(budget)
    if waits(memory) and not waits_still(service, memory):
        memory.delay = memory.not_before = 0.0
    memory.troubled_at = now
    # A moment further ahead was written before the clock was set back.
    memory.not_before = min(memory.not_before, now + LONGEST_DELAY)
    values = {"name": service.name, "restarts": budget.restarts, "window": budget.window}
    if recent >= budget.restarts:
        first = not memory.delay
        if first:
            memory.delay = min(LONGEST_DELAY, budget.window / max(1, budget.restarts))
            memory.not_before = now + memory.delay
        return Refusal(Phrase("budget", values), first)
    if now < memory.not_before:
        until = time.strftime("%H:%M:%S", time.localtime(memory.not_before))
        return Refusal(Phrase("budget_wait", values | {"until": until}), first=False)
    if memory.delay:
        memory.delay = min(LONGEST_DELAY, 2 * memory.delay)
        memory.not_before = now + memory.delay
    return None


def left(service: Service, memory: Memory) -> int:
    """Return how many restarts would be granted now, one after another: 0 if, and only if, the next is refused."""
    asked = copy(memory)
    if memory.stopped_by_hand or refusal(service, asked):
        return 0
    # Once it was spent, each restart is followed by a delay.
    return 1 if asked.delay else service.budget.restarts - len(asked.restarts)


def waits_still(service: Service, memory: Memory) -> bool:
    """Return whether the budget was spent, and the service has not been well for long enough since."""
    now = time.time()
    # If nobody asked for a heal in all that time, it was well.
    return waits(memory) and now - service.budget.calm <= memory.troubled_at <= now


def waits(memory: Memory) -> bool:
    """Return whether the budget was spent, so that heals are far between."""
    return memory.delay > 0
