"""Keep what was known of a service before it was healed: a folder for each heal, the old and the many forgotten."""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from remediation.config.model import Project
from remediation.system.files import Folder

_DAY = 86_400.0
_MEGABYTE = 1_000_000
# The names begin so; by them, in UTC, the folders are in order whatever was done to their times.
_STAMP = "%Y%m%dT%H%M%S"
_NAME = re.compile(r"\d{8}T\d{6}\.")
# Of one microsecond, few heals can be.
_ATTEMPTS = 100


class Archive:
    """The evidence of a project's heals."""

    def __init__(self, project: Project) -> None:
        """Keep it in the project's own folder."""
        self.path = project.state_folder / "evidence"
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
                    _remove(archive, folder.path.name)
                    raise
            self._forget_most(archive)

    @staticmethod
    def _named(archive: Folder, service: str) -> Folder:
        for _ in range(_ATTEMPTS):
            seconds, fraction = divmod(time.time_ns() // 1000, 1_000_000)
            stamp = time.strftime(_STAMP, time.gmtime(seconds))
            with suppress(FileExistsError):
                return archive.new(f"{stamp}.{fraction:06}Z-{service}")
        raise FileExistsError(errno.EEXIST, "no name is left for it", str(archive.path))

    def prune(self) -> None:
        """Forget what is too old. OSError if that cannot be done."""
        if self.path.exists():
            with Folder.at(self.path) as archive:
                self._forget_old(archive)

    def _forget_old(self, archive: Folder) -> list[str]:
        """Return the names that are left, the newest first."""
        oldest = time.strftime(_STAMP, time.gmtime(time.time() - self._limits.days * _DAY))
        # What is not called as ours are was put here by somebody else.
        names = sorted(filter(_NAME.match, archive.folders()), reverse=True)
        for name in names:
            if name < oldest:
                _remove(archive, name)
        return [name for name in names if name >= oldest]

    def _forget_most(self, archive: Folder) -> None:
        # However big it is, the newest was just said to be there.
        left = self._limits.megabytes * _MEGABYTE
        for number, name in enumerate(self._forget_old(archive)):
            with suppress(OSError):
                left -= archive.size(name)
            if number and left < 0:
                _remove(archive, name)


def _remove(archive: Folder, name: str) -> None:
    # Another healer may be at the same, or somebody has put things there that are not ours.
    with suppress(OSError):
        archive.remove(name)
