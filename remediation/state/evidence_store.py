"""Store the evidence about a service before a heal: a folder for each heal, within limits of age and size."""

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
# The names begin with this time in UTC. So their order is that of the heals, even if the files' own times change.
_STAMP = "%Y%m%dT%H%M%S"
_NAME = re.compile(r"\d{8}T\d{6}\.")
# How many names to try; few heals can begin in the same microsecond.
_ATTEMPTS = 100


class Archive:
    """The evidence of a project's heals."""

    def __init__(self, project: Project) -> None:
        """Keep the evidence in the project's own folder."""
        self.path = project.state_folder / "evidence"
        self._limits = project.evidence

    @contextmanager
    def new(self, service: str) -> Iterator[Folder]:
        """Yield a new folder for one heal, then delete evidence beyond the limits. OSError if there can be no folder.

        If the block fails, its folder is removed.
        """
        with Folder.at(self.path) as archive:
            with self._create(archive, service) as folder:
                try:
                    yield folder
                except BaseException:
                    _remove(archive, folder.path.name)
                    raise
            self._delete_excess(archive)

    @staticmethod
    def _create(archive: Folder, service: str) -> Folder:
        for _ in range(_ATTEMPTS):
            seconds, fraction = divmod(time.time_ns() // 1000, 1_000_000)
            stamp = time.strftime(_STAMP, time.gmtime(seconds))
            with suppress(FileExistsError):
                return archive.new(f"{stamp}.{fraction:06}Z-{service}")
        raise FileExistsError(errno.EEXIST, "no name is left for it", str(archive.path))

    def prune(self) -> None:
        """Delete evidence that is too old. OSError if that is not possible."""
        if self.path.exists():
            with Folder.at(self.path) as archive:
                self._delete_old(archive)

    def _delete_old(self, archive: Folder) -> list[str]:
        """Delete evidence that is too old, and return the names that are left, the newest first."""
        oldest = time.strftime(_STAMP, time.gmtime(time.time() - self._limits.days * _DAY))
        # A folder with any other name is not ours.
        names = sorted(filter(_NAME.match, archive.folders()), reverse=True)
        for name in names:
            if name < oldest:
                _remove(archive, name)
        return [name for name in names if name >= oldest]

    def _delete_excess(self, archive: Folder) -> None:
        left = self._limits.megabytes * _MEGABYTE
        for number, name in enumerate(self._delete_old(archive)):
            with suppress(OSError):
                left -= archive.size(name)
            # Keep the newest at any size: the log names it.
            if number and left < 0:
                _remove(archive, name)


def _remove(archive: Folder, name: str) -> None:
    # Another healer may be removing it as well, or it may contain files that are not ours.
    with suppress(OSError):
        archive.remove(name)
