"""A command on a terminal of its own, as a person at a keyboard runs it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sandbox import DEADLINE, wait_for

CTRL_C = b"\x03"


class Screen:
    """What a command has shown on its terminal."""

    def __init__(self, words: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str], columns: int) -> None:
        """Start it in a session whose controlling terminal is `columns` wide; 0 if that is unknown."""
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))
        self._shown = b""
        self.process = subprocess.Popen(
            words, cwd=cwd, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - a mere system call
        )  # fmt: skip
        os.close(theirs)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        # EIO once nobody has the terminal open any more.
        with suppress(OSError):
            while data := os.read(self._ours, 65_536):
                self._shown += data

    @property
    def text(self) -> str:
        """All that was shown."""
        return self._shown.decode(errors="backslashreplace").replace("\r\n", "\n")

    def shows(self, text: str) -> None:
        """Wait until a text is shown."""
        try:
            wait_for(lambda: text in self.text)
        except AssertionError:
            raise AssertionError(f"not shown in time: {text!r}\n{self.text}") from None

    def types(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._ours, keys)

    def wait(self) -> int:
        """Wait until everything on the terminal has ended, and return the exit code of the command."""
        code = self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        assert not self._reader.is_alive(), self.text
        return code

    def clean(self) -> None:
        """End the command, and close the terminal, which hangs up with its session."""
        self.process.kill()
        self.process.wait()
        self._reader.join(DEADLINE)
        os.close(self._ours)


@contextmanager
def on_terminal(*words: str | Path, cwd: Path, env: Mapping[str, str], columns: int = 0) -> Iterator[Screen]:
    """Yield a command that runs on a terminal, and end it afterwards."""
    screen = Screen(words, cwd=cwd, env=env, columns=columns)
    try:
        yield screen
    finally:
        screen.clean()
