"""How a session ended in the middle of something, in words and with the stack that it left."""

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
from remediation.system.process import signal_name
from remediation.system.secrets import redacted

# Makes a session write down its stack, wherever it hangs: faulthandler does so without the interpreter's help.
STACK_SIGNAL = getattr(signal, "SIGRTMAX", signal.SIGUSR2)
# How long a session that hangs may take for that, and how often it is looked for, in seconds.
_STACK_TIMEOUT, _POLL = 0.5, 0.005
# Of a stack, in frames and bytes.
_MOST_FRAMES, _MOST_BYTES = 40, 65_536
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<name>.*)$')
_PYTEST = re.compile(r"/(_pytest|pluggy)/")
# The file that stacks are written to.
_kept: list[IO[bytes]] = []


class Death(Struct, frozen=True):
    """The end of a session that did not end by itself, or not as it should."""

    phase: Phase
    code: int
    """Its exit code; below zero, minus the signal that ended it."""
    hung_for: float | None
    """Seconds without a sign of life after which it was ended; None if it ended by itself."""
    stack: str
    """Where it was, the innermost frame first; empty if that is not known."""

    @property
    def kind(self) -> str:
        """What to call it, as the type of a failure."""
        return "Hung" if self.hung_for is not None else "Crashed"

    @property
    def sentence(self) -> str:
        """Say what happened, to stand alone or after the name of what it happened to."""
        if self.hung_for is not None:
            where = {Phase.SETUP: " in set-up", Phase.TEARDOWN: " in teardown"}.get(self.phase, "")
            limit = seconds(round(self.hung_for, 3))
            # Elsewhere nobody has tried.
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
        """Return the innermost frame below a folder, or else of all, as file:line; empty if none is known."""
        frames = re.findall(r'^ *File "(.*)", line (\d+)', self.stack, flags=re.MULTILINE)
        own = [(file, line) for file, line in frames if is_own(file, root)]
        file, line = next(iter(own or frames), ("", ""))
        return f"{file.removeprefix(f'{root}/')}:{line}" if file else ""


def is_own(file: str, root: Path) -> bool:
    """Return whether a file is the project's own, and of no package that is installed in its folder."""
    return file.startswith(f"{root}/") and "-packages/" not in file


def write_stacks_to(file: IO[bytes]) -> None:
    """From now on, leave the stack in a file, of a crash or when STACK_SIGNAL asks for it."""
    faulthandler.enable(file=file.fileno(), all_threads=False)
    faulthandler.register(STACK_SIGNAL, file=file.fileno(), all_threads=False, chain=False)
    # It knows the number alone: with the last reference the file would be closed, and the number another file's.
    _kept[:] = [file]


def await_stack(fd: int) -> None:
    """Wait until a session that was asked for its stack has written it, which one that is stopped never does."""
    deadline = time.monotonic() + _STACK_TIMEOUT
    size = -1
    while time.monotonic() < deadline:
        before, size = size, os.fstat(fd).st_size
        if size == before and size > 0:
            return
        time.sleep(_POLL)


def read_stack(fd: int) -> str:
    """Return the stack that a session left, with lines of the source, without secrets."""
    size = os.fstat(fd).st_size
    raw = os.pread(fd, min(size, _MOST_BYTES), max(0, size - _MOST_BYTES)).decode(errors="backslashreplace")
    frames = [found for line in raw.splitlines() if (found := _FRAME.match(line))]
    # From where pytest called it on, it is the same for all.
    own = list(takewhile(lambda frame: not _PYTEST.search(frame["file"]), frames)) or frames
    return redacted("\n".join(map(_with_source, own[:_MOST_FRAMES])))


def _with_source(frame: re.Match[str]) -> str:
    where = f'  File "{frame["file"]}", line {frame["line"]}, in {frame["name"]}'
    source = linecache.getline(frame["file"], int(frame["line"])).strip()
    return f"{where}\n    {source}" if source else where
