"""How a session crashed or hung, in words and with the stack that it left."""

from __future__ import annotations

import faulthandler
import linecache
import os
import re
import signal
import time
from itertools import takewhile
from pathlib import Path
from typing import IO

from msgspec import Struct

from remediation.messages.message import seconds
from remediation.supervision.heartbeat import Phase
from remediation.system.capabilities import has_realtime_signals
from remediation.system.process import signal_name
from remediation.system.secrets import redacted

# Makes a session write its stack, wherever it hangs: faulthandler works without the interpreter.
STACK_SIGNAL = signal.SIGRTMAX if has_realtime_signals() else signal.SIGUSR2
# How long to wait for the stack of a hung session, and how often to check, in seconds.
_STACK_TIMEOUT, _POLL = 0.5, 0.005
# How much of a stack to keep, in frames and bytes.
_MOST_FRAMES, _MOST_BYTES = 40, 65_536
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<name>.*)$')
_PYTEST = re.compile(r"/(_pytest|pluggy)/")
# Keeps the file for stacks open.
_stack_files: list[IO[bytes]] = []


class Death(Struct, frozen=True):
    """The end of a session that crashed, or that was killed because it hung."""

    phase: Phase
    code: int
    """The exit code; a negative number stands for the signal that ended the session."""
    hung_for: float | None
    """The limit in seconds after which the session was killed; None if it ended by itself."""
    stack: str
    """The stack, innermost frame first; empty if it is unknown."""

    @property
    def kind(self) -> str:
        """The name of this type of failure."""
        return "Hung" if self.hung_for is not None else "Crashed"

    @property
    def sentence(self) -> str:
        """What happened, as a clause that can follow the name of a check or module."""
        if self.hung_for is not None:
            where = {Phase.SETUP: " in set-up", Phase.TEARDOWN: " in teardown"}.get(self.phase, "")
            limit = seconds(round(self.hung_for, 3))
            # In all other phases, no signal was sent.
            signals = ", and no signal interrupts it" if self.phase.of_check or self.phase is Phase.COLLECT else ""
            return f"hung{where}: no end within {limit}s{signals}"
        if self.code >= 0:
            return f"ended its process with exit code {self.code}"
        name = signal_name(-self.code)
        why = ", as the system does when it is out of memory" if -self.code == signal.SIGKILL else ""
        return f"crashed: its process was killed by {name}{why}"

    @property
    def text(self) -> str:
        """The sentence with the stack."""
        return f"{self.sentence}\n\nThe innermost frame first:\n{self.stack}" if self.stack else self.sentence

    def place(self, root: Path) -> str:
        """Return the innermost frame below `root`, or else of all, as file:line; empty without a stack."""
        frames = re.findall(r'^ *File "(.*)", line (\d+)', self.stack, flags=re.MULTILINE)
        own = [(file, line) for file, line in frames if is_own(file, root)]
        file, line = next(iter(own or frames), ("", ""))
        return f"{file.removeprefix(f'{root}/')}:{line}" if file else ""


def is_own(file: str, root: Path) -> bool:
    """Return whether a file is the project's own, and not part of a package that is installed in its folder."""
    return file.startswith(f"{root}/") and "-packages/" not in file


def write_stacks_to(file: IO[bytes]) -> None:
    """Let this process write its stack to a file when it crashes or receives STACK_SIGNAL."""
    faulthandler.enable(file=file.fileno(), all_threads=False)
    faulthandler.register(STACK_SIGNAL, file=file.fileno(), all_threads=False, chain=False)
    # faulthandler keeps only the descriptor. Without a reference, the file would be closed and its number reused.
    _stack_files[:] = [file]


def await_stack(fd: int) -> None:
    """Wait until a session has written its stack after STACK_SIGNAL. A stopped process never does, so time out."""
    deadline = time.monotonic() + _STACK_TIMEOUT
    size = -1
    while time.monotonic() < deadline:
        before, size = size, os.fstat(fd).st_size
        if size == before and size > 0:
            return
        time.sleep(_POLL)


def read_stack(fd: int) -> str:
    """Return the stack that a session left, with source lines, without secrets."""
    size = os.fstat(fd).st_size
    raw = os.pread(fd, min(size, _MOST_BYTES), max(0, size - _MOST_BYTES)).decode(errors="backslashreplace")
    frames = [frame for line in raw.splitlines() if (frame := _FRAME.match(line))]
    # The outer frames, from pytest on, are the same for every check.
    own = list(takewhile(lambda frame: not _PYTEST.search(frame["file"]), frames)) or frames
    return redacted("\n".join(map(_with_source, own[:_MOST_FRAMES])))


def _with_source(frame: re.Match[str]) -> str:
    where = f'  File "{frame["file"]}", line {frame["line"]}, in {frame["name"]}'
    source = linecache.getline(frame["file"], int(frame["line"])).strip()
    return f"{where}\n    {source}" if source else where
