"""What a run did for a service, over all its rounds, as the report and the summary tell it."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from remediation.healing.incident import Outcome


class Treated(Struct, frozen=True):
    """One service that was to be healed."""

    service: str
    cause: str
    action: str
    """What was done, in words, or why nothing was."""
    downtime: float | None
    """Seconds from the first failed attempt until it answered again; None if it did not, or is still sick."""
    evidence: tuple[str, ...]
    """The folders of what was known of it before."""


def treated(
    outcomes: Mapping[str, Sequence[Outcome]], since: Callable[[str], float], *, still_sick: Container[str] = ()
) -> list[Treated]:
    """Return all that were to be healed; `since` says when a service first failed, in epoch seconds."""
    return [_treated(name, outcomes[name], since, is_sick=name in still_sick) for name in outcomes]


def _treated(name: str, outcomes: Sequence[Outcome], since: Callable[[str], float], *, is_sick: bool) -> Treated:
    last = outcomes[-1]
    actions = ", then ".join(
        outcome.action if outcome.ok else f"{outcome.action} in vain ({outcome.reason})"
        for outcome in outcomes
        if outcome.action
    )
    return Treated(
        service=name,
        cause=outcomes[0].cause,
        action=actions or f"none: {last.reason}",
        downtime=None if last.answered_at is None or is_sick else max(0.0, last.answered_at - since(name)),
        evidence=tuple(outcome.evidence for outcome in outcomes if outcome.evidence),
    )
