"""The back-off and the restart budget: how soon, and how often, a service may be restarted.

A start that fails before the service is ready is tried again after a delay that doubles with each try: what hinders
it, such as a port in use, often goes away by itself. All these tries are one restart of the budget, which limits the
restarts within a window. Once the budget is spent, the delay between restarts goes on doubling, up to an hour, until
the service has stayed healthy for the budget's `calm` time.
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

# The delay before the next try of a start does not grow beyond this, in seconds.
LONGEST_TRY_DELAY = 60.0
# The tries that count as one restart of the budget take no longer than this, in seconds.
LONGEST_SERIES = 600.0
# The delay between restarts does not grow beyond this, in seconds.
LONGEST_DELAY = 3600.0


class Spent(Struct, frozen=True):
    """The part of a service's state that belongs to the budget, at one moment, so that it can be restored."""

    restarts: tuple[float, ...] = ()
    delay: float = 0.0
    not_before: float = 0.0
    troubled_at: float = 0.0
    failed_starts: int = 0
    tried_since: float = 0.0

    @classmethod
    def of(cls, state: ServiceState) -> Self:
        """Copy the budget's part of a state."""
        return cls(
            tuple(state.restarts), state.delay, state.not_before, state.troubled_at, state.failed_starts,
            state.tried_since,
        )  # fmt: skip

    def put(self, state: ServiceState) -> None:
        """Put the copied values back into a state."""
        state.restarts, state.delay = list(self.restarts), self.delay
        state.not_before, state.troubled_at = self.not_before, self.troubled_at
        state.failed_starts, state.tried_since = self.failed_starts, self.tried_since


class Refusal(NamedTuple):
    """Why there is no restart now; `first` if the budget has just been found spent."""

    why: Message
    first: bool = False
    waits_for_try: bool = False
    """Whether only the delay before the next try of a start has to pass."""


def refusal(service: Service, state: ServiceState, *, since: float | None = None) -> Refusal | None:
    """Return why the service may not be restarted now, or None if it may; note the request in `state`.

    `since` is when its incident began, in epoch seconds: tries of an earlier incident are over.
    """
    budget, now = service.budget, time.time()
    recent = state.restarts_within(budget)
    if (waits(state) and not waits_still(service, state)) or (since is not None and _is_over(state, since)):
        reset(state)
    state.troubled_at = now
    # A later moment was written before the clock was set back.
    state.not_before = min(state.not_before, now + (LONGEST_SERIES if state.failed_starts else LONGEST_DELAY))
    values = {"name": service.name, "restarts": budget.restarts, "window": budget.window}
    if state.failed_starts and now < state.not_before:
        return Refusal(Message("next_try", {"name": service.name, "until": _clock(state)}), waits_for_try=True)
    if is_another_try(state):
        return None
    if recent >= budget.restarts:
        first = not _is_spent(state)
        if first:
            state.failed_starts = 0
            state.delay = min(LONGEST_DELAY, max(state.delay, budget.window / max(1, budget.restarts)))
            state.not_before = now + state.delay
        return Refusal(Message("budget", values), first)
    if now < state.not_before:
        return Refusal(Message("budget_wait", values | {"until": _clock(state)}))
    if _is_spent(state):
        state.delay = min(LONGEST_DELAY, 2 * state.delay)
        state.not_before = now + state.delay
    return None


def _clock(state: ServiceState) -> str:
    return time.strftime("%H:%M:%S", time.localtime(state.not_before))


def count_restart(state: ServiceState) -> None:
    """Count a restart that was granted, unless it is another try of one that was counted before."""
    if not is_another_try(state):
        state.tried_since = time.time()
        state.restarts.append(state.tried_since)


def count_failed_start(service: Service, state: ServiceState, *, patience: float = 0.0) -> None:
    """Note that a start failed before the service was ready; the next try follows after a delay.

    A process that may still be booting is given `patience` seconds more, if that is longer than the delay.
    """
    if _is_spent(state):
        # The longer delay of the budget applies already.
        return
    state.failed_starts += 1
    state.delay = min(LONGEST_TRY_DELAY, max(service.restart_delay, 2 * state.delay))
    state.not_before = time.time() + max(state.delay, patience)


def count_ready_start(state: ServiceState) -> None:
    """Note that the service became ready after a start, which ends the tries."""
    if state.failed_starts:
        reset(state)


def reset(state: ServiceState) -> None:
    """Forget all delays and tries; the restarts still count."""
    state.delay = state.not_before = state.tried_since = 0.0
    state.failed_starts = 0


def is_another_try(state: ServiceState) -> bool:
    """Return whether a restart now is another try of the last one, which the budget has counted."""
    return state.failed_starts > 0 and 0 <= time.time() - state.tried_since < LONGEST_SERIES


def _is_over(state: ServiceState, since: float) -> bool:
    """Return whether the tries belong to an incident before the one that began at `since`."""
    return state.failed_starts > 0 and state.tried_since < since


def _is_spent(state: ServiceState) -> bool:
    return state.delay > 0 and not state.failed_starts


def next_try(service: Service, state: ServiceState) -> float | None:
    """Return when the next restart is granted, in epoch seconds; None if that never happens."""
    budget = service.budget
    if is_another_try(state):
        return state.not_before
    if not budget.restarts:
        return None
    is_spent = state.restarts_within(budget) >= budget.restarts
    return max(state.not_before, state.restarts[-budget.restarts] + budget.window if is_spent else 0.0)


def left(service: Service, state: ServiceState) -> int:
    """Return how many restarts in a row would be granted now: 0 if, and only if, the next is refused."""
    scratch = copy(state)
    if state.stopped_by_hand or refusal(service, scratch):
        return 0
    # Once the budget is spent, a delay follows each restart.
    return 1 if scratch.delay else service.budget.restarts - len(scratch.restarts)


def waits_still(service: Service, state: ServiceState) -> bool:
    """Return whether a delay applies, and the service has not been healthy for long enough since."""
    now = time.time()
    # The service was healthy if no heal was requested in all that time.
    return waits(state) and now - service.budget.calm <= state.troubled_at <= now


def waits(state: ServiceState) -> bool:
    """Return whether a delay separates the restarts: the budget was spent, or a start failed."""
    return state.delay > 0
