"""One round of checks in the fork server: the forks that run it, and when they need help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field

from remediation.monitor.claims import Claims
from remediation.monitor.protocol import RoundEnded
from remediation.run.rounds import worst
from remediation.supervision.child import Child
from remediation.supervision.heartbeat import FOR_EVER, Board

if TYPE_CHECKING:
    import pytest

# When all forks of a round have been at the same checks for so long, in seconds, another one goes on with the rest.
STALLED = 0.2
# Forks of one round; one that hangs costs no CPU, but memory.
_MOST_FORKS = 20


class Round(Struct):
    """Checks that run now, in one fork or more; a cycle's first round, or a later one that it asked for."""

    number: int
    """That of the cycle."""
    groups: list[list[pytest.Item]]
    claims: Claims
    folder: Path
    asker: Child | None = None
    """The cycle that waits for it; of a first round, once it has run its own part."""
    later: bool = False
    forks: list[Child] = field(default_factory=list)
    """All of them, the first one of a first round being the cycle itself."""
    is_helpless: bool = False
    """Whether no further fork can be had for it."""
    reported: bool = False
    """Whether it has told how it ended."""
    folders: list[str] = field(default_factory=list)
    """Where those that somebody waits for leave what they find."""

    @property
    def selected(self) -> list[str]:
        """The node IDs of the checks."""
        return [item.nodeid for group in self.groups for item in group]

    @property
    def running(self) -> list[Child]:
        """The forks that have not ended."""
        return [child for child in self.forks if child.code is None]

    def stalls_at(self, board: Board) -> float:
        """Return when another fork should go on with what nobody has claimed, on the monotonic clock."""
        running = self.running
        if self.is_helpless or not running or len(running) >= _MOST_FORKS or not self.claims.left:
            return FOR_EVER
        return max(board.read(child.slot).claimed for child in running) + STALLED

    def answer_if_over(self) -> None:
        """Answer the cycle that waits for the others, if they have all ended."""
        others = self.forks if self.later else self.forks[1:]
        codes = [child.code for child in others if child.code is not None]
        if self.asker and len(codes) == len(others):
            self.asker.channel.send(RoundEnded(worst(codes), self.folders))
