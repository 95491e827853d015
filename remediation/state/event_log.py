"""Log events in the user's language: a line in the log file, and the same text on the terminal."""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from remediation.config.model import LogFormat, Project
from remediation.config.schema import NAME
from remediation.messages.catalog import CATALOG, Language, Level
from remediation.messages.message import Message
from remediation.system import files, journal, logrotate

_COLOURS = {Level.SUCCESS: "\033[32m", Level.WARN: "\033[33m", Level.ERROR: "\033[31m", Level.INFO: ""}

_PRIORITIES = {Level.ERROR: journal.ERROR, Level.WARN: journal.WARNING}
# What only somebody who searches the log needs, by the id of an incident.
_LOG_ONLY = frozenset({"incident", "incident_healed"})
# The sign of a rule, its substitute where the locale has no such sign, and the greatest width in columns.
_RULE, _PLAIN_RULE, _WIDEST_RULE = "━", "-", 60

Terminal = Callable[[str, Level], None]

_broken_logs: set[Path] = set()


def colourful(stream_fd: int, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether to use colours: NO_COLOR, then FORCE_COLOR, then whether it is a terminal (no-color.org)."""
    if environ.get("NO_COLOR"):
        return False
    return bool(environ.get("FORCE_COLOR")) or (os.isatty(stream_fd) and environ.get("TERM") != "dumb")


def rule(fd: int) -> str:
    """Return a line that sets apart what is shown on a terminal, not wider than it; empty if `fd` is no terminal."""
    try:
        # 0 if the terminal does not know its width.
        columns = os.get_terminal_size(fd).columns or _WIDEST_RULE
    except OSError:
        return ""
    try:
        _RULE.encode(_encoding())
    except UnicodeEncodeError:
        return _PLAIN_RULE * min(columns, _WIDEST_RULE)
    return _RULE * min(columns, _WIDEST_RULE)


def _encoding() -> str:
    return getattr(sys.__stdout__, "encoding", None) or "utf-8"


def terminal(fd: int, *, patience: float | None = None) -> Terminal:
    """Return a terminal that writes each text as one line to a descriptor; errors of the descriptor are ignored.

    In systemd's journal, each line has the priority of its level.
    It waits for a descriptor that accepts no data, because of Ctrl+S or a slow reader. With `patience`, it waits that
    many seconds once, and after that drops lines without waiting until the descriptor accepts data again.
    """
    in_journal = journal.is_journal(fd)
    coloured = not in_journal and colourful(fd)
    encoding = _encoding()
    left = patience

    def show(text: str, level: Level) -> None:
        nonlocal left
        line = f"{_COLOURS[level]}{text}\033[0m" if coloured and _COLOURS[level] else text
        if in_journal:
            line = f"{_PRIORITIES.get(level, journal.INFORMATION)}{text}"
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
    """The log of a project's events. Several threads may use it; lines never mix."""

    def __init__(
        self,
        *,
        language: Language,
        log_file: Path,
        named: bool,
        terminal: Terminal | None = None,
        log_size: int = 5_000_000,
        log_format: LogFormat = "text",
        remember: bool = True,
    ) -> None:
        """Log in `language`; with `named`, add the name of the service.

        The log file has lines of text, or JSON objects. At `log_size` bytes, it is renamed to NAME.1. A process that
        runs for long should not `remember`.
        """
        self.language: Language = language
        self._log_file = log_file
        self._named = named
        self._terminal = terminal
        self._log_size = log_size
        self._log_format = log_format
        self._remember = remember
        self._lock = threading.Lock()
        self.lines: list[str] = []
        """All lines of text; empty without `remember`."""
        self.incidents: dict[str, str] = {}
        """The ids of the open incidents, by service."""

    @classmethod
    def of(cls, project: Project, *, terminal: Terminal | None = None, remember: bool = True) -> EventLog:
        """Return the event log of a project."""
        named = len(project.services) > 1
        return cls(
            language=project.language, log_file=project.log_file, named=named, terminal=terminal,
            log_size=project.log_size, log_format=project.log_format, remember=remember,
        )  # fmt: skip

    def log(self, key: str, **values: object) -> None:
        """Log a text of the catalogue."""
        self.log_message(Message(key, values))

    def log_message(self, message: Message) -> None:
        """Log a message, in the user's language."""
        level, text = CATALOG[message.key].level, message.render(self.language, named=self._named)
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} [{level.value}] {text}"
        with self._lock:
            if self._remember:
                self.lines.append(line)
            self._write(self._as_json(message, level, text) if self._log_format == "json" else line)
            if self._terminal and message.key not in _LOG_ONLY:
                self._terminal(_without_commands(text) if os.environ.get("GITHUB_ACTIONS") == "true" else text, level)

    def _as_json(self, message: Message, level: Level, text: str) -> str:
        """Return an event as a JSON object: RFC 3339 time, level, key, text, values, service and open incident."""
        from datetime import datetime

        import msgspec

        values = message.plain(self.language)
        event: dict[str, object] = {
            "ts": datetime.now().astimezone().isoformat(timespec="milliseconds"),
            "level": level.value,
            "event": message.key,
            "text": text,
        }
        # Some texts name several services in one value.
        name = str(values.pop("name", ""))
        if NAME.fullmatch(name):
            event["service"] = name
            if incident := self.incidents.get(name):
                event["incident"] = incident
        elif name:
            values["name"] = name
        return msgspec.json.encode(event | ({"values": values} if values else {})).decode()

    def show(self, line: str) -> None:
        """Show a line on the terminal only, unchanged."""
        with self._lock:
            if self._terminal:
                self._terminal(line, Level.INFO)

    def _write(self, line: str) -> None:
        # If the log cannot be rotated, append to it all the same.
        with suppress(OSError):
            logrotate.idle(self._log_file, self._log_size)
        try:
            files.append(self._log_file, f"{line}\n".encode(errors="backslashreplace"))
        except files.FolderGoneError:
            # The project's folder is gone, so write nothing there; the caller reports it.
            return
        except OSError as error:
            # A healer that cannot write its log still heals; one warning is enough.
            if self._log_file not in _broken_logs:
                _broken_logs.add(self._log_file)
                self._warn(f"cannot write {self._log_file}: {error.strerror or error}")

    def _warn(self, text: str) -> None:
        if self._terminal:
            self._terminal(text, Level.WARN)
        else:
            print(f"auto-heal: {text}", file=sys.stderr)


def _without_commands(text: str) -> str:
    """Return a line in which GitHub's runner finds no command: `::` starts one in front, `##[` anywhere."""
    text = text.replace("##[", "## [")
    return f"> {text}" if text.lstrip().startswith("::") else text
