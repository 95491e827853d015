"""Say what happens: one line to the log, the same text to the terminal, in the user's language."""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from remediation.config.model import Project
from remediation.messages.catalog import CATALOG, Language, Level
from remediation.messages.message import Message
from remediation.system import files, logrotate

_COLOURS = {Level.SUCCESS: "\033[32m", Level.WARN: "\033[33m", Level.ERROR: "\033[31m", Level.INFO: ""}

Terminal = Callable[[str, Level], None]

_broken_logs: set[Path] = set()


def colourful(stream_fd: int, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether to colour: NO_COLOR, then FORCE_COLOR, then whether it is a terminal (no-color.org)."""
    if environ.get("NO_COLOR"):
        return False
    return bool(environ.get("FORCE_COLOR")) or (os.isatty(stream_fd) and environ.get("TERM") != "dumb")


def terminal(fd: int, *, patience: float | None = None) -> Terminal:
    """Return a terminal that writes each text as one line to a descriptor; one that went away is ignored.

    One that was stopped by Ctrl+S, or whose reader sleeps, is waited for; with `patience`, no longer than so many
    seconds, and not at all from then on until it takes lines again.
    """
    coloured = colourful(fd)
    encoding = getattr(sys.__stdout__, "encoding", None) or "utf-8"
    left = patience

    def show(text: str, level: Level) -> None:
        nonlocal left
        line = f"{_COLOURS[level]}{text}\033[0m" if coloured and _COLOURS[level] else text
        data = f"{line}\n".encode(encoding, errors="backslashreplace")
        if left is not None:
            left = patience if select.select([], [fd], [], left)[1] else 0.0
            if not left:
                return
        while data:
            try:
                data = data[os.write(fd, data) :]
            except BlockingIOError:
                select.select([], [fd], [])
            except OSError:
                return

    return show


class EventLog:
    """Tells a project's events. Several threads may speak; lines never mix."""

    def __init__(
        self,
        *,
        language: Language,
        log_file: Path,
        named: bool,
        terminal: Terminal | None = None,
        log_size: int = 5_000_000,
        remember: bool = True,
    ) -> None:
        """Speak `language`; with `named`, say which service is meant.

        The log is renamed to NAME.1 when it has grown to `log_size` bytes. Who speaks for a year should not `remember`.
        """
        self.language: Language = language
        self._log_file = log_file
        self._named = named
        self._terminal = terminal
        self._log_size = log_size
        self._remember = remember
        self._lock = threading.Lock()
        self.lines: list[str] = []
        """All that was said, as it stands in the log; empty without `remember`."""

    @classmethod
    def of(cls, project: Project, *, terminal: Terminal | None = None, remember: bool = True) -> EventLog:
        """Return the event log of a project."""
        named = len(project.services) > 1
        return cls(
            language=project.language, log_file=project.log_file, named=named, terminal=terminal,
            log_size=project.log_size, remember=remember,
        )  # fmt: skip

    def log(self, key: str, **values: object) -> None:
        """Say a text of the catalogue."""
        self.log_message(Message(key, values))

    def log_message(self, message: Message) -> None:
        """Say a phrase, in the user's language."""
        level, text = CATALOG[message.key].level, message.render(self.language, named=self._named)
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} [{level.value}] {text}"
        with self._lock:
            if self._remember:
                self.lines.append(line)
            self._write(line)
            if self._terminal:
                self._terminal(_unheard(text) if os.environ.get("GITHUB_ACTIONS") == "true" else text, level)

    def show(self, line: str) -> None:
        """Show a line on the terminal alone, as it is."""
        with self._lock:
            if self._terminal:
                self._terminal(line, Level.INFO)

    def _write(self, line: str) -> None:
        # A log that cannot be rotated is appended to all the same.
        with suppress(OSError):
            logrotate.idle(self._log_file, self._log_size)
        try:
            files.append(self._log_file, f"{line}\n".encode(errors="backslashreplace"))
        except files.FolderGoneError:
            # Where the project was, nothing is written any more; whoever works on it says so.
            return
        except OSError as error:
            # A healer that cannot write its log still heals; saying so once is enough.
            if self._log_file not in _broken_logs:
                _broken_logs.add(self._log_file)
                self._warn(f"cannot write {self._log_file}: {error.strerror or error}")

    def _warn(self, text: str) -> None:
        if self._terminal:
            self._terminal(text, Level.WARN)
        else:
            print(f"auto-heal: {text}", file=sys.stderr)


def _unheard(text: str) -> str:
    """Return a line in which GitHub's runner finds no command: `::` begins one, `##[` does so anywhere."""
    text = text.replace("##[", "## [")
    return f"> {text}" if text.lstrip().startswith("::") else text
