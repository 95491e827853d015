"""What changed: each check after a deployment compared with the same check before it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from remediation.config.model import LatencyLimits
from remediation.deployment.baseline import Baseline, Known
from remediation.messages.message import Phrase
from remediation.state.records import Result

# How a check fails that is only slower, if that is to fail it.
_SLOWER = re.compile(r"takes [\d.]+s, before [\d.]+s")


class Change(Struct, frozen=True):
    """What changed of one check; `what` says it in words, such as `broken by the deployment`."""

    nodeid: str
    check: str
    what: Phrase

    @property
    def is_bad(self) -> bool:
        """Whether the check fails."""
        return self.is_harm or self.what.key in ("broken_by_deployment", "still_broken", "fails_new", "too_slow")

    @property
    def is_harm(self) -> bool:
        """Whether it is a heal that broke the check."""
        return self.what.key == "broken_by_heal"

    @property
    def is_slower(self) -> bool:
        """Whether the check passes, but takes longer than before."""
        return self.what.key == "slower"

    @property
    def is_missing(self) -> bool:
        """Whether the check passed before, and was skipped or not run at all."""
        return self.what.key == "not_run"

    @property
    def phrase(self) -> Phrase:
        """The change with the name of its check, to be told."""
        kind = "bad" if self.is_bad else "doubtful" if self.is_slower or self.is_missing else "good"
        return Phrase(f"changed_{kind}", {"check": self.check, "what": self.what})


def changes(
    results: Iterable[Result],
    *,
    baseline: Baseline | None,
    limits: LatencyLimits,
    harmed: Mapping[str, Sequence[str]],
) -> list[Change]:
    """Return what changed of the checks, in their order, and what passed before and is not among them.

    `harmed` has those that passed before a heal and fail after it, with the services that were healed; without a
    baseline these are all that can be told.
    """
    found, seen = [], set()
    for one in results:
        seen.add(one.key)
        before = baseline.checks.get(one.key) if baseline else None
        what = _heal_of(harmed[one.key]) if one.key in harmed else _change(one, before, limits)
        if what is None and baseline and one.sick:
            what = Phrase("fails_new", {})
        if one.kind == "check" and what:
            found.append(Change(one.key, one.name, what))
    known = baseline.checks if baseline else {}
    lost = (nodeid for nodeid, one in known.items() if one.outcome == "passed" and nodeid not in seen)
    return found + [Change(nodeid, known[nodeid].check, Phrase("not_run", {})) for nodeid in lost]


def _heal_of(services: Sequence[str]) -> Phrase:
    return Phrase("broken_by_heal", {"others": ", ".join(services)})


def _change(now: Result, before: Known | None, limits: LatencyLimits) -> Phrase | None:
    if before is None or before.outcome == "skipped":
        return None
    if now.sick and before.outcome == "passed" and _SLOWER.fullmatch(now.message or ""):
        # With --fail-on-slower: it answers as it should.
        return Phrase("too_slow", {})
    if now.sick:
        return Phrase("still_broken" if before.outcome == "failed" else "broken_by_deployment", {})
    if now.passed_at is None:
        return Phrase("not_run", {}) if before.outcome == "passed" else None
    if before.outcome == "failed":
        return Phrase("repaired", {})
    return slower(now.latency, before.latency, limits)


def slower(now: float | None, before: float | None, limits: LatencyLimits) -> Phrase | None:
    """Say that a latency, in seconds, is beyond what the one before allows, or return None."""
    if now is None or before is None or now < before * limits.factor or now - before < limits.margin:
        return None
    return Phrase("slower", {"now": round(now, 3), "before": round(before, 3)})
