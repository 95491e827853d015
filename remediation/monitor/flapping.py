"""Tell what changes between sick and well again and again, which is one message instead of many."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, Literal, TypeVar

from msgspec import Struct

# So many incidents that began within the window, and it flaps.
MOST_INCIDENTS = 3

Key = TypeVar("Key", bound=Hashable)


class _Changes(Struct):
    began: list[float] = []
    """When its incidents began, in epoch seconds."""
    last: float = 0.0
    """When it last turned sick or well."""
    is_flapping: bool = False


class Flapping(Generic[Key]):
    """The changes of all services and checks.

    One flaps when its third incident begins within the window, and is steady when nothing has changed for a window.
    """

    def __init__(self) -> None:
        """Know of no change."""
        self._changes: dict[Key, _Changes] = {}

    def turned_sick(self, key: Key, since: float, *, now: float, window: float) -> Literal["sick", "flapping"] | None:
        """Note an incident that began at `since`. Return what to report of it; None while it flaps already."""
        changes = self._changes.setdefault(key, _Changes())
        changes.last = now
        changes.began = [*(moment for moment in changes.began if moment > now - window), since]
        if changes.is_flapping:
            return None
        changes.is_flapping = len(changes.began) >= MOST_INCIDENTS
        return "flapping" if changes.is_flapping else "sick"

    def turned_well(self, key: Key, *, now: float) -> bool:
        """Note the end of an incident. Return whether to report it: not while it flaps."""
        changes = self._changes.setdefault(key, _Changes())
        changes.last = now
        return not changes.is_flapping

    def settled(self, *, now: float, window: float) -> dict[Key, float]:
        """Return what has flapped and is steady now, with the moment of its last change; forget it."""
        old = {key: changes for key, changes in self._changes.items() if changes.last <= now - window}
        for key in old:
            del self._changes[key]
        return {key: changes.last for key, changes in old.items() if changes.is_flapping}

    def forget(self, key: Key) -> None:
        """Forget the changes of what is not there any more."""
        self._changes.pop(key, None)
