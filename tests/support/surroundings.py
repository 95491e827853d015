"""Hostile surroundings, all of them real: a small disk, planted files, limits of the system."""

from __future__ import annotations

import os
import resource
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from sandbox import DEADLINE, Result, Sandbox

KIB = 1024
# More than a test could write, or wait for.
_LARGEST_DISK = 64 * KIB * KIB

# Things that may lie in place of our files.
LINKS = ["symlink", "dangling symlink", "hard link"]
SPECIAL = ["fifo", "directory", "socket"]


@contextmanager
def small_disk(folder: Path, *, kibibytes: int) -> Iterator[None]:
    """Mount an empty file system of a few blocks at a folder; skip the test without the right to mount."""
    folder.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k,mode=755", "auto-heal-test", str(folder)]
    mounted = subprocess.run(words, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        # Works even while a file of it is open.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Fill the small file system of a folder, and return the file that takes the space."""
    found = os.statvfs(folder)
    assert found.f_blocks * found.f_frsize <= _LARGEST_DISK, f"{folder} is on no small disk"
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file:
        while space := os.statvfs(folder).f_bavail * found.f_frsize:
            file.write(bytes(min(space, KIB * KIB)))
    return ballast


class Victim:
    """A file, or a folder with a file, that is foreign to auto-heal."""

    def __init__(self, path: Path, *, folder: bool = False) -> None:
        """Create it."""
        self.path = path
        self._file = path / "file" if folder else path
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_bytes(b"untouched")
        self._file.chmod(0o640)

    def plant(self, path: Path, kind: str) -> None:
        """Put something at a path: a link to the victim, or something that is not a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        match kind:
            case "symlink":
                path.symlink_to(self.path)
            case "dangling symlink":
                path.symlink_to(self.path.with_name("made"))
            case "hard link":
                path.hardlink_to(self.path)
            case "fifo":
                os.mkfifo(path)
            case "directory":
                path.mkdir()
            case "socket":
                _bind(path)
            case _:
                path.write_bytes(b"")

    def is_untouched(self) -> None:
        """Assert that nothing was written or changed, and no file was made beside it."""
        assert self._file.read_bytes() == b"untouched"
        assert stat.S_IMODE(self._file.stat().st_mode) == 0o640
        assert not os.path.lexists(self.path.with_name("made"))
        if self.path != self._file:
            assert [path.name for path in self.path.iterdir()] == ["file"]


def _bind(path: Path) -> None:
    # By a short name, since the path of a socket is limited.
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(path.parent)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.fchdir(here)
        os.close(here)


def run(
    project: Sandbox, *words: str, limits: Mapping[int, int] | None = None, before: Callable[[], object] | None = None
) -> Result:
    """Run `python -m` with these arguments within system limits, after calling `before` in its process."""

    def prepare() -> None:
        for limit, value in (limits or {}).items():
            resource.setrlimit(limit, (value, value))
        if before:
            before()

    process = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=project.root, env=project.environment(), preexec_fn=prepare, timeout=2 * DEADLINE,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return Result(process.returncode, process.stdout.decode(errors="backslashreplace"))


def tells_no_lie(project: Sandbox, result: Result) -> None:
    """Assert that only healthy services pass, every failure has a reason, and there is one server."""
    assert result.code in (0, 1, 3), result
    assert result.code or project.answers(), result
    assert len(result.output.strip()) > 0, result
    assert len(project.servers()) <= 1, result
