"""Files that decide what root runs, and that another user may write.

A user who can write the configuration or a check can run anything as the user who runs auto-heal.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from pwd import getpwuid

# The folder of the checks, and what pytest imports beside it.
_CHECKS = ("conftest.py", "healthtests", "healthtests/conftest.py")


def problems(root: Path, sources: Iterable[Path]) -> list[str]:
    """Return, as root, which users other than root may write the checks or the `sources`; empty for others.

    The sources are the configuration and the files of variables: LD_PRELOAD alone decides what a program does.
    """
    if os.geteuid() != 0:
        return []
    checks = [root / name for name in _CHECKS]
    checks += sorted((root / "healthtests").glob("*.py"))
    return [f"{path} can be written by {who}" for path, who in _writable([*sources, *checks])]


def _writable(files: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Yield each file, or folder on the way to it, that another user may write, and who that is."""
    seen = set[Path]()
    for file in files:
        for path in (file, *file.parents):
            if path in seen:
                break
            seen.add(path)
            try:
                status = path.stat()
            except OSError:
                continue
            # In a folder with the sticky bit, such as /tmp, a file can be replaced by its owner alone, inode(7).
            is_shared = path != file and status.st_mode & stat.S_ISVTX
            if status.st_uid != 0:
                yield path, f"the user {_name(status.st_uid)}"
            elif status.st_mode & stat.S_IWOTH and not is_shared:
                yield path, "everyone"
            elif status.st_mode & stat.S_IWGRP and status.st_gid != 0 and not is_shared:
                yield path, f"the group {status.st_gid}"


def _name(user_id: int) -> str:
    try:
        return getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)
