"""Processes of a service that should not be: what is marked as its own, or was its own, and is none of its server's."""

from __future__ import annotations

import time
from collections.abc import Iterable

from remediation.config.model import MARK, Service
from remediation.messages.message import Phrase
from remediation.state.service_state import Store
from remediation.system.mark import marked, value_of
from remediation.system.process import Identity, descendants, describe

# A service may itself begin and end processes; what is gone after so many seconds was none left over.
_PATIENCE = 1.0
_POLL_SECONDS = 0.02


def strays(service: Service, store: Store, victims: Iterable[Identity] = ()) -> list[Phrase]:
    """Return who is left over of a service, besides the one server that is remembered, in words."""
    deadline = time.monotonic() + _PATIENCE
    while found := _strays(service, store, victims):
        if time.monotonic() > deadline:
            return [Phrase("drill_left", {"holder": describe(one.pid)}) for one in found]
        time.sleep(_POLL_SECONDS)
    return []


def _strays(service: Service, store: Store, victims: Iterable[Identity]) -> list[Identity]:
    server = store.proven_process(service)
    own = set(descendants([server])) if server else set()
    suspects = [*marked(MARK, service.mark), *(one for one in victims if value_of(MARK, one.pid) is None)]
    return [one for one in dict.fromkeys(suspects) if one not in own and one.alive]
