"""A running cycle, as the monitor sees it: its checks, its start, and what it has reported so far."""

from __future__ import annotations

import msgspec

from remediation.monitor.pool import WarmSession
from remediation.monitor.protocol import Report


class Cycle(msgspec.Struct):
    """A running cycle. It checks some services, or all except those that other cycles are checking."""

    number: int
    services: list[str] | None
    without: list[str]
    session: WarmSession
    began: float
    """When it began, in epoch seconds."""
    began_steady: float
    """The same moment on the monotonic clock."""
    healing: dict[str, str] = msgspec.field(default_factory=dict)
    """The causes of its heals, by service."""
    report: Report | None = None

    @property
    def is_of_all(self) -> bool:
        """Whether the cycle runs all checks."""
        return self.services is None and not self.without

    def checks(self, service: str) -> bool:
        """Return whether the cycle checks a service."""
        return service not in self.without and (self.services is None or service in self.services)
