"""What a round has to run, cut into groups that several forks can run at the same time.

One fork runs them all, one after the other, as long as none takes long. When one hangs, another fork goes on with the
groups that nobody has claimed, so that ten services that hang are noticed in the time of one.
"""

from __future__ import annotations

import os
import select
import struct
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from remediation.checks.retries import heals
from remediation.config.model import Service

if TYPE_CHECKING:
    import pytest

_INDEX = struct.Struct("H")
# As many as a pipe takes at once, pipe(7); what is more joins the last.
_MOST = 4096 // _INDEX.size


def groups(items: Iterable[pytest.Item], services: Mapping[str, Service]) -> list[list[pytest.Item]]:
    """Return the checks in groups, each in order: together stay those of services that depend on each other.

    So their heals are in order too. A check that heals nothing stays with those of its file.
    """
    links = {name: set(service.depends_on) for name, service in services.items()}
    found: dict[str, list[pytest.Item]] = {}
    ordered = [(item, heals(item)) for item in items]
    for _, names in ordered:
        for name in names[1:]:
            links[names[0]].add(name)
    leaders = _leaders(links)
    for item, names in ordered:
        found.setdefault(leaders[names[0]] if names else f"/{item.path}", []).append(item)
    cut = list(found.values())
    return [*cut[: _MOST - 1], [item for group in cut[_MOST - 1 :] for item in group]] if len(cut) > _MOST else cut


def _leaders(links: Mapping[str, set[str]]) -> dict[str, str]:
    """Return for each name one that stands for all that are linked, directly or not."""
    both: dict[str, set[str]] = {name: set(others) for name, others in links.items()}
    for name, others in links.items():
        for other in others:
            both[other].add(name)
    leaders: dict[str, str] = {}
    for name in both:
        pending = [name]
        while pending:
            one = pending.pop()
            if one not in leaders:
                leaders[one] = name
                pending += both[one]
    return leaders


class Claims:
    """The groups that nobody runs yet, by index; a pipe, of which each reader gets another part."""

    def __init__(self, count: int) -> None:
        """Begin with all of them."""
        self._reader, writer = os.pipe()
        os.write(writer, b"".join(map(_INDEX.pack, range(count))))
        os.close(writer)

    def next(self) -> int | None:
        """Claim the next group; None if there is none left."""
        data = os.read(self._reader, _INDEX.size)
        return int(_INDEX.unpack(data)[0]) if data else None

    @property
    def left(self) -> bool:
        """Whether there is one left."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        return any(event & select.POLLIN for _, event in poll.poll(0))

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self._reader)
