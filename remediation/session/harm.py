"""What a heal has broken: checks that passed before it and fail after it."""

from __future__ import annotations

from collections.abc import Sequence

from remediation.session.rounds import Round


def harmed(rounds: Sequence[Round]) -> dict[str, tuple[str, ...]]:
    """Return the node IDs of checks that fail in the last round and passed in one before it.

    With each go the services that were healed since it passed last: one of these heals broke it.
    """
    healed_since: dict[str, tuple[str, ...]] = {}
    broken: dict[str, tuple[str, ...]] = {}
    for one in rounds:
        healed_since = {nodeid: (*names, *one.healed) for nodeid, names in healed_since.items()}
        broken = {}
        for result in one.findings.results:
            if result.outcome == "passed":
                healed_since[result.nodeid] = ()
            elif result.outcome == "failed" and (names := healed_since.get(result.nodeid)):
                broken[result.nodeid] = tuple(dict.fromkeys(names))
    return broken
