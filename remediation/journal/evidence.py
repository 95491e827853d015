"""Keep what was known of a service before it was healed: a folder for each heal, the old and the many forgotten."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from remediation.primitives.folder import Folder
from remediation.project.model import Project

_DAY = 86_400.0
_MEGABYTE = 1_000_000
# The names begin so; by them, in UTC, the folders are in order whatever was done to their times.
_STAMP = "%Y%m%dT%H%M%S"
_STAMP_LENGTH = 15
# Of one microsecond, few heals can be.
_ATTEMPTS = 100


class Archive:
    """The evidence of a project's heals."""

    def __init__(self, project: Project) -> None:
        """Keep it in the project's own folder."""
        self.path = project.memory / "evidence"
        self._limits = project.evidence

    @contextmanager
    def new(self, service: str) -> Iterator[Folder]:
        """Lend a new folder for one heal, then forget what is too old or too much. OSError if there can be none.

        One that the block could not write to its end is removed.
        """
        with Folder.at(self.path) as archive:
            with self._named(archive, service) as folder:
                try:
                    yield folder
                except BaseException:
                    with suppress(OSError):
                        archive.remove(folder.path.name)
                    raise
            self._prune(archive, keep=folder.path.name)

    @staticmethod
    def _named(archive: Folder, service: str) -> Folder:
        for _ in range(_ATTEMPTS):
            seconds, fraction = divmod(time.time_ns() // 1000, 1_000_000)
            stamp = time.strftime(_STAMP, time.gmtime(seconds))
            with suppress(FileExistsError):
                return archive.new(f"{stamp}.{fraction:06}Z-{service}")
        raise FileExistsError(errno.EEXIST, "no name is left for it", str(archive.path))

    def prune(self) -> None:
        """Forget what is too old, or too much. OSError if that cannot be done."""
        if self.path.exists():
            with Folder.at(self.path) as archive:
                self._prune(archive)

    def _prune(self, archive: Folder, keep: str = "") -> None:
        oldest = time.strftime(_STAMP, time.gmtime(time.time() - self._limits.days * _DAY))
        left, size = self._limits.megabytes * _MEGABYTE, 0.0
        for name in sorted(archive.folders(), reverse=True):
            # Another healer may be at the same, and somebody may have put things here that are not ours.
            with suppress(OSError):
                size += archive.size(name)
                if name != keep and (size > left or name[:_STAMP_LENGTH] < oldest):
                    archive.remove(name)
