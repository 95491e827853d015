"""Know at once when the process of a service dies."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable

from remediation.config.model import Service
from remediation.engines import engine_of
from remediation.state.service_state import Store
from remediation.system.process import Identity, pidfd

# Where no pidfd tells of a death, how often it is looked for, in seconds.
POLL_SECONDS = 0.5


class Watch:
    """Watches the process of each service: by a pidfd, pidfd_open(2), or by a look now and then."""

    def __init__(self, store: Store) -> None:
        """Learn from `store` which processes these are."""
        self._store = store
        self._watched: dict[str, tuple[Identity, int | None]] = {}

    def refresh(self, services: Iterable[Service]) -> None:
        """Watch the processes that these services have now, and no others."""
        processes = {one.name: engine_of(one).main_process(self._store.recall(one)) for one in services}
        wanted = {name: identity for name, identity in processes.items() if identity}
        for name, (identity, _) in list(self._watched.items()):
            if wanted.get(name) != identity and identity.alive:
                self._drop(name)
        for name, identity in wanted.items():
            if name not in self._watched:
                self._watched[name] = (identity, pidfd(identity.pid))

    @property
    def fds(self) -> list[int]:
        """The descriptors that turn readable when a process dies."""
        return [fd for _, fd in self._watched.values() if fd is not None]

    @property
    def poll_seconds(self) -> float | None:
        """How often to look, if there is a process whose death no descriptor tells."""
        return POLL_SECONDS if any(fd is None for _, fd in self._watched.values()) else None

    def dead(self) -> list[str]:
        """Return the services whose process has died, once each; it is watched no longer."""
        poll = select.poll()
        for fd in self.fds:
            poll.register(fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(0)}
        # Of a hundred services, only those that have something to tell are looked at.
        suspects = [(name, found[0]) for name, found in self._watched.items() if found[1] is None or found[1] in ready]
        names = [name for name, identity in suspects if not identity.alive]
        for name in names:
            self._drop(name)
        return names

    def close(self) -> None:
        """Watch nobody any more."""
        for name in list(self._watched):
            self._drop(name)

    def _drop(self, name: str) -> None:
        _, fd = self._watched.pop(name)
        if fd is not None:
            os.close(fd)
