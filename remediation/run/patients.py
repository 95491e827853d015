"""Who is sick after a round, and what is known of each: from the attempts that failed in all rounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from remediation.checks.attempts import Attempt
from remediation.config.model import Project, Service
from remediation.run.rounds import Round
from remediation.state.remediation import Remediation, RemediationResult

if TYPE_CHECKING:
    from remediation.healing.incident import Incident


def to_heal(
    rounds: Sequence[Round],
    remediations: Mapping[str, Sequence[Remediation]],
    services: Mapping[str, Service],
    began_before: Mapping[str, float],
) -> list[Incident]:
    """Return the services that the last round found sick and that have a step left.

    `began_before` says since when those are sick that an earlier run has left so.
    """
    found = []
    for name, attempt in _sick(rounds, lambda _: True).items():
        service, before = services[name], remediations.get(name, [])
        used = sum(one.result.used_step for one in before)
        if used < len(service.ladder) and not any(one.result.refused for one in before):
            found.append(_incident(service, attempt, rounds, before, began_before, steps_used=used))
    return found


def to_roll_back(
    rounds: Sequence[Round],
    remediations: Mapping[str, Sequence[Remediation]],
    project: Project,
    began_before: Mapping[str, float],
    *,
    counts: Callable[[Attempt], bool],
) -> list[Incident]:
    """Return the services that have a way back, and that the last round found sick by a failure that `counts`.

    Each after all that it depends on. One that was rolled back already, by whomever, is not again: that were too far.
    """
    sick = _sick(rounds, counts)
    return [
        _incident(service, sick[service.name], rounds, remediations.get(service.name, []), began_before)
        for service in project.ordered(sick)
        if service.rollback and not any(one.rolled_back for one in remediations.get(service.name, []))
    ]


def _sick(rounds: Sequence[Round], counts: Callable[[Attempt], bool]) -> dict[str, Attempt]:
    """Return the services that failed for good in the last round, each with the attempt that said so last."""
    last: dict[str, Attempt] = {}
    for attempt in rounds[-1].findings.attempts:
        if attempt.final and counts(attempt):
            last |= dict.fromkeys(attempt.heals, attempt)
    return last


def _incident(
    service: Service,
    attempt: Attempt,
    rounds: Sequence[Round],
    before: Sequence[Remediation],
    began_before: Mapping[str, float],
    *,
    steps_used: int = 0,
) -> Incident:
    from remediation.healing.incident import Incident

    failed = [one for part in rounds for one in part.findings.attempts if service.name in one.heals]
    since = min(one.started for one in failed)
    return Incident(
        service,
        cause=failed[0].message,
        since=min(since, began_before.get(service.name, since)),
        # A step of our own that failed without another look is no heal by somebody else.
        seen=max([attempt.heals[service.name], *(one.number for one in before)]),
        steps_used=steps_used,
        adopted=any(one.result is RemediationResult.ADOPTED for one in before),
        story=_story(service.name, rounds),
    )


def _story(service: str, rounds: Sequence[Round]) -> str:
    """Tell all that failed attempts said of a service, in order."""
    told = []
    for number, one in enumerate(rounds, start=1):
        for attempt in one.findings.attempts:
            if service in attempt.heals:
                moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(attempt.started))
                told.append(
                    f"{moment}, round {number}, attempt {attempt.number + 1}: {attempt.nodeid}\n{attempt.text}\n"
                )
    return "\n".join(told)
