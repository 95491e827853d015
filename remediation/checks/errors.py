"""The errors that fail a check when a service did not answer as it should, each in one sentence."""

from __future__ import annotations

import pytest


class ServiceDown(pytest.fail.Exception):  # type: ignore[misc, name-defined]
    """A service did not answer as it should. The sentence is complete, so pytest shows no traceback."""

    # As in pytest's own outcomes, so that a summary shows the bare name.
    __module__ = "builtins"

    def __init__(self, reason: str, *, retry_is_pointless: bool = False, heals_nothing: bool = False) -> None:
        """Fail with one sentence for people.

        `retry_is_pointless` if only a heal can help, `heals_nothing` if only a person can.
        """
        super().__init__(reason, pytrace=False)
        self.retry_is_pointless = retry_is_pointless or heals_nothing
        self.heals_nothing = heals_nothing


class OverLimit(ServiceDown):
    """What was measured exceeds its limit. `for` of a declared check may say that this is no failure yet."""

    __module__ = "builtins"

    def confirmed(self) -> OverLimit:
        """Return it as a failure that needs no retry, because what was measured has lasted."""
        self.retry_is_pointless = True
        return self


class Slower(ServiceDown):
    """A check took longer than before the deployment."""

    __module__ = "builtins"
