"""What is remembered of declared checks between runs: since when a limit is exceeded, and when a check passed last."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from remediation.config.model import Project, Service
from remediation.system import files

# A state takes a hundred bytes.
_LIMIT = 100_000


class CheckState(msgspec.Struct, frozen=True):
    """The memory of one check; times are in epoch seconds, and 0 is never."""

    exceeded_since: float = 0.0
    runs: int = 0
    """In how many runs in a row the limit was exceeded."""
    restart: str = ""
    """What tells apart the time before a restart of the service from that after it."""
    passed_at: float = 0.0
    latency: float = 0.0
    """How long the check took when it passed last, in seconds."""

    def exceeded(self, restart: str, *, counts: bool) -> CheckState:
        """Return the state after one more look that found the limit exceeded; `counts` if it is the first of a run."""
        now = time.time()
        is_new = not self.exceeded_since or self.restart != restart
        # The clock may have been set back.
        since = now if is_new else min(self.exceeded_since, now)
        runs = counts + (0 if is_new else self.runs)
        return CheckState(exceeded_since=since, runs=runs, restart=restart)


class CheckStates:
    """The states of a project's declared checks, each in a file of its own: a project may have thousands."""

    def __init__(self, project: Project) -> None:
        """Keep them in the folder of the state."""
        self._folder = project.state_folder / "checks"

    def recall(self, service: Service, check: str) -> CheckState:
        """Return the state of a check by its name; a missing or corrupt file counts as empty."""
        try:
            return msgspec.json.decode(files.read(self._file(service, check), limit=_LIMIT), type=CheckState)
        except (OSError, msgspec.MsgspecError, UnicodeError):
            return CheckState()

    def update(self, service: Service, check: str, change: Callable[[CheckState], CheckState]) -> CheckState:
        """Change the state of a check, and return the new one. What cannot be written is forgotten.

        Two processes that make the same check at once may lose a change of the other: then a limit is one look late.
        """
        before = self.recall(service, check)
        after = change(before)
        # Not on a full or a read-only disk; the check itself has its own verdict.
        with suppress(OSError):
            if after == CheckState():
                self._file(service, check).unlink(missing_ok=True)
            elif after != before:
                files.write(self._file(service, check), msgspec.json.encode(after))
        return after

    def _file(self, service: Service, check: str) -> Path:
        # A name may hold what a file's name cannot, and be longer.
        digest = hashlib.blake2b(check.encode(errors="surrogatepass"), digest_size=8).hexdigest()
        return self._folder / f"{service.name}-{digest}.json"
