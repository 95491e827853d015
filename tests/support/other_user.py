"""Run commands as a user who owns nothing, wherever Python itself is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sandbox import DEADLINE, Result, Sandbox, sandbox

NOBODY = 65_534
# In a mount namespace of its own, so for this command alone: a folder that only its owner may enter is covered, and
# what we run from shows up in it again.
_OPENED = """
set -e
mount --bind "$1" /mnt
mount -t tmpfs -o mode=755 tmpfs "$2"
mkdir -p "$1"
mount --move /mnt "$1"
shift 2
exec "$@"
"""


def open_project() -> Iterator[Sandbox]:
    """Yield a project in a folder that everyone may enter; skip the test if we cannot become another user."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can become another user, by setpriv")
    if closed(Path(sys.prefix)):
        pytest.skip(f"another user cannot enter the virtual environment {sys.prefix}")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield from sandbox(Path(folder))


def closed(place: Path) -> Path | None:
    """Return the first folder on the path to a place that only its owner may enter, if there is one."""
    return next((folder for folder in (*reversed(place.parents), place) if not folder.stat().st_mode & 0o001), None)


def by_nobody(*words: str, nproc: str = "") -> list[str]:
    """Return the command that runs `python -m` with these arguments as a user who owns nothing."""
    command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    if nproc:
        command += ["prlimit", f"--nproc={nproc}"]
    command += [sys.executable, "-m", *words]
    home = Path(sys.base_prefix)
    if folder := closed(home):
        command = ["unshare", "--mount", "sh", "-c", _OPENED, "sh", str(home), str(folder), *command]
    return command


def as_nobody(project: Sandbox, *words: str, nproc: str = "") -> Result:
    """Run `python -m` with these arguments as a user who owns nothing."""
    result = subprocess.run(
        by_nobody(*words, nproc=nproc), cwd=project.root, env=project.environment(HOME="/"), timeout=4 * DEADLINE,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return Result(result.returncode, result.stdout.decode(errors="backslashreplace"))


@contextmanager
def started_by_nobody(project: Sandbox, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start such a command, yield it, and kill it with its session."""
    process = subprocess.Popen(
        by_nobody(*words), cwd=project.root, env=project.environment(HOME="/"), text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            project.kill(process)
        process.communicate()


def give_away(project: Sandbox, *, whole: bool = False) -> None:
    """Let that user own the folder and, if `whole`, the files in it."""
    for path in (project.root, *(project.root.rglob("*") if whole else ())):
        os.chown(path, NOBODY, NOBODY)
