"""The monitor's running statistics."""

from __future__ import annotations

from msgspec import Struct


class Tally(Struct):
    """How many checks there were, in how many of them something failed for good, and how many heals helped."""

    checks: int = 0
    errors: int = 0
    heals: int = 0

    @property
    def successful(self) -> int:
        """The checks in which nothing failed."""
        return self.checks - self.errors

    @property
    def uptime(self) -> float:
        """The share of successful checks, in percent."""
        return 100.0 * self.successful / self.checks if self.checks else 100.0
