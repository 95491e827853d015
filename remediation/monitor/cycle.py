"""A cycle under way, as the monitor sees it: which checks it runs, since when, and what it has told so far."""

from __future__ import annotations

import msgspec

from remediation.monitor.pool import WarmSession
from remediation.monitor.protocol import Report


class Cycle(msgspec.Struct):
    """A cycle under way: of the checks of some services, or of all but those that others check at the moment."""

    number: int
    services: list[str] | None
    without: list[str]
    session: WarmSession
    began: float
    """In epoch seconds;"""
    began_steady: float
    """the same on the monotonic clock."""
    healing: dict[str, str] = msgspec.field(default_factory=dict)
    """The services that it has begun to heal, with the causes."""
    report: Report | None = None

    @property
    def is_of_all(self) -> bool:
        """Whether it runs all checks."""
        return self.services is None and not self.without

    def checks(self, service: str) -> bool:
        """Return whether it checks a service."""
        return service not in self.without and (self.services is None or service in self.services)
