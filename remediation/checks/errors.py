"""What fails a check: a service that did not answer as it should, in one sentence."""

from __future__ import annotations

import pytest


class ServiceDown(pytest.fail.Exception):  # type: ignore[misc, name-defined]
    """A service did not answer as it should. The sentence says it all, so pytest shows no traceback."""

    # As pytest's own outcomes do, so that a summary shows the bare name.
    __module__ = "builtins"

    def __init__(self, reason: str, *, hopeless: bool = False) -> None:
        """Fail with one sentence for people; `hopeless` if asking again is pointless until it is healed."""
        super().__init__(reason, pytrace=False)
        self.hopeless = hopeless


class Slower(ServiceDown):
    """A check took longer than before the deployment."""

    __module__ = "builtins"
