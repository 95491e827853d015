"""What a heal has broken: checks that passed before it and fail after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from remediation.checks import OWN
from remediation.checks.results import CheckResult
from remediation.run.rounds import Round
from remediation.state.records import CheckOutcome


def harmed(rounds: Sequence[Round]) -> dict[str, tuple[str, ...]]:
    """Return the node IDs of checks that fail in the last round and passed in one before it.

    With each go the services that were healed since it passed last: one of these heals broke it.
    """
    healed_since: dict[str, tuple[str, ...]] = {}
    broken: dict[str, tuple[str, ...]] = {}
    for one in rounds:
        healed_since = {nodeid: (*names, *one.healed) for nodeid, names in healed_since.items()}
        before, broken = broken, {}
        for result in one.findings.results:
            if result.outcome is CheckOutcome.PASSED:
                healed_since[result.nodeid] = ()
            elif result.outcome is CheckOutcome.FAILED and (
                names := before.get(result.nodeid) or _own(result, healed_since)
            ):
                broken[result.nodeid] = tuple(dict.fromkeys(names))
    return broken


def _own(result: CheckResult, healed_since: Mapping[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    """Return who was healed since a check of the project passed; a version changes with what is deployed alone."""
    return None if result.nodeid.startswith(OWN) else healed_since.get(result.nodeid)
