"""The drill's own processes: each reads from a pipe, and ends by itself when the drill ends for any reason."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from remediation.config.model import Project
from remediation.drill.scripts.fulldisk import unmount
from remediation.system.capabilities import can_mount_over_files
from remediation.system.environment import DRILL_MARK
from remediation.system.files import make_folder, matching
from remediation.system.process import Identity, Life, marked, terminate

if TYPE_CHECKING:
    from typing_extensions import Self

# How long a helper may take to begin or to end, in seconds.
_PATIENCE = 10.0
_LONGEST_LINE = 4096


class HelperError(Exception):
    """A helper process of the drill failed; the message says why."""


class Helper:
    """A helper process that runs as long as the `with` block."""

    def __init__(self, program: str, *words: str, project: Project, env: Mapping[str, str] | None = None) -> None:
        """Start `program`, a script of the drill that imports nothing from `remediation`."""
        self._program = program
        path = Path(__file__).with_name("scripts") / f"{program}.py"
        # Isolated: a helper needs neither the user's site nor Python's variables, and starts in half the time.
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", str(path), *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, start_new_session=True,
            cwd="/", env={**(os.environ if env is None else env), DRILL_MARK: str(project.state_folder)},
        )  # fmt: skip
        # Nobody has waited for it yet, so the PID still belongs to it.
        self.identity = Identity.of(self._child.pid)
        """Its identity; None if it ended before we could read it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """Its PID."""
        return self._child.pid

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._child.poll() is not None

    def line(self) -> str:
        """Return the next line that it prints; HelperError if none comes."""
        return self.data(b"\n").decode(errors="backslashreplace").strip()

    def data(self, until: bytes) -> bytes:
        """Return what it prints up to a byte; HelperError if that byte does not come."""
        output, deadline = b"", time.monotonic() + _PATIENCE
        while not output.endswith(until):
            if not self._readable(deadline - time.monotonic()) or not (byte := self._read(1)):
                raise HelperError(f"{self._program} said nothing")
            output += byte
        return output

    def pending_output(self) -> bytes:
        """Return its output that is not read yet, without waiting for more."""
        return self._read(_LONGEST_LINE) if self._readable(0) else b""

    def write_line(self, line: str) -> None:
        """Write a line to its standard input; do nothing if it has ended."""
        if self._child.stdin:
            with suppress(OSError):
                self._child.stdin.write(f"{line}\n".encode())

    def end(self) -> None:
        """Let it end by itself, and kill it if it does not."""
        if self._child.stdin:
            self._child.stdin.close()
        if self.identity and self.identity.alive:
            try:
                self._child.wait(0.01 if self._suspended else _PATIENCE)
            except subprocess.TimeoutExpired:
                # Nobody has waited for this child, so this is still its PID.
                self._child.kill()
        self._child.wait()
        if self._child.stdout:
            self._child.stdout.close()

    @property
    def _suspended(self) -> bool:
        return bool(self.identity and self.identity.life is Life.SUSPENDED)

    def _readable(self, seconds: float) -> bool:
        if not self._child.stdout or self._child.stdout.closed:
            return False
        poll = select.poll()
        poll.register(self._child.stdout, select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def _read(self, limit: int) -> bytes:
        return os.read(self._child.stdout.fileno(), limit) if self._child.stdout else b""


def left_over(project: Project) -> list[Identity]:
    """Return the live processes of drills of this project."""
    return marked(DRILL_MARK, str(project.state_folder))


def end_left_over(project: Project) -> list[Identity]:
    """End the processes that earlier drills left, and return those that survive."""
    return terminate(lambda: left_over(project), timeout=_PATIENCE)


_PREFIX = "drill-"
# How /proc/self/mountinfo escapes characters that would break its columns, proc(5).
_ESCAPED = re.compile(r"\\([0-7]{3})")


@contextmanager
def room(project: Project) -> Iterator[Path]:
    """Remove what earlier drills left, and yield a folder for a drill. The caller must keep other drills away."""
    clean(project)
    make_folder(project.state_folder)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=project.state_folder))
    try:
        yield folder
    finally:
        clean(project)


def clean(project: Project) -> None:
    """End processes of drills that were killed, undo their mounts, and remove their folders."""
    end_left_over(project)
    for target in mounts(project):
        unmount(target)
    if mounts(project):
        # Removing the folder would empty what is mounted there.
        return
    for folder in matching(project.state_folder, f"{_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)


def mounts(project: Project) -> list[str]:
    """Return the mount points of a project's drills, the latest first."""
    if not can_mount_over_files():
        return []
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    beginning = str(project.state_folder / _PREFIX)
    targets = []
    for line in lines:
        mount, _, file_system = line.partition(" - ")
        # The source of a drill's mount, and of the bind mounts of its files, is the path of the drill's folder.
        if _unescaped(file_system.split(" ")[1]).startswith(beginning):
            targets.append(_unescaped(mount.split(" ")[4]))
    return targets[::-1]


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)
