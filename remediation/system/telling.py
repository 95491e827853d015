"""Find the line of a program's output that tells why it failed, and cut the output down to what a person reads.

The last line is rarely it: gunicorn sums up, Node prints its version, and Java a stack of frames.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from remediation.system import files
from remediation.system.tracebacks import redacted_output

# At most so much of an output is read, in bytes. gunicorn prints about 2 KiB for each worker that fails.
_BYTES = 65_536
# At most so many lines are shown: those around the telling line, and the last ones.
_BEFORE, _AFTER, _END = 8, 3, 8
_SHOWN = _BEFORE + 1 + _AFTER + _END
_GAP = "…"
# An error is looked for in so many characters of a line.
_LOOKED_AT = 1_000

# Select Graphic Rendition, ECMA-48: servers colour their logs also where nobody sees it.
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")

_TRACEBACK = re.compile(r"Traceback \(most recent call last\):\s*$")
# Rust since 1.73 prints the message on the line below.
_RUST_PANIC = re.compile(r"^thread '.*' (?:\(\d+\) )?panicked at [^']*:\s*$")
# What names an error by itself, wherever it stands: an exception's class, a panic, a fatal level.
_NAMED = re.compile(
    r"""
    (?:^|[\s:>|\]])(?:[\w$]+(?:\.|::|\\))*(?:[A-Z]\w*)?(?:Error|Exception)
        (?:[ ]\[\w+\]|[ ]\(\d+\)|[ ]\[\w+[ ]\[Error\]\])?(?::[ ]|:?$)  # Python, Node, Java, .NET
    | \((?:\w+::)*\w*Error\)$                                         # Ruby
    | \bCaused[ ]by:[ ]\S                                             # Java
    | (?:^|\t)panic:[ ] | ^fatal[ ]error:[ ]                          # Go
    | ^thread[ ]'.*'[ ](?:\(\d+\)[ ])?panicked[ ]at[ ]                # Rust before 1.73
    | ^\*\*[ ]\(                                                      # Elixir
    | \b(?:PHP[ ])?Fatal[ ]error:[ ]                                  # PHP
    | \b(?:FATAL|EMERG|PANIC)\b | \[emerg\] | \blevel=(?:fatal|panic)\b
    | "(?:level|severity)":[ ]?"(?:fatal|panic|FATAL|PANIC|EMERGENCY)"
    """,
    re.VERBOSE,
)
_IN_USE = re.compile(r"\b(?:address|port|connection|socket)\b.{0,40}\bin use\b", re.IGNORECASE)
# What speaks of an error, but may only sum up.
_SPOKEN = re.compile(
    r"\b(?:errors?|exception|fatal|critical|crit|alert|severe|panic|fail(?:ed|ure|s)?|can(?:not|'t)|could(?: not|n't)"
    r"|unable|den(?:ied|ies)|not found|no such|refused|invalid|illegal|unknown|unrecogni[sz]ed|unexpected|missing"
    r"|not permitted|not allowed|in use|abort(?:ed|ing)?|must (?:not )?be)\b",
    re.IGNORECASE,
)
# Lines of a level below an error or that count none, and lines that only sum up or point elsewhere.
_QUIET = re.compile(
    r"\b(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING)\b|\[(?:debug|info|notice|warn)\]|\blevel=(?:debug|info|warn\w*)\b"
    r'|"level":[ ]?"(?:trace|debug|info|warn\w*)"|\b(?:0|no|without) (?:errors?|failures?|problems?)\b'
)
_SUMMARY = re.compile(
    r"<HaltServer | still could not bind\(\)$|configuration file .* test failed"  # gunicorn, nginx
    r"|could not create any TCP/IP sockets|configuration file .* contains errors"  # PostgreSQL
    r"|Fatal errors found|[Ee]rror\(s\) found"  # haproxy
    r"|^npm (?:ERR!|error)(?:  | To see | A complete log |\s*$)|Emitted 'error' event"  # npm, Node
    r"|compilation aborted|\bAborting$"  # Perl, MySQL
)


def without_colours(text: str) -> str:
    """Return a text without the colours of a terminal."""
    return _COLOUR.sub("", text)


class Excerpt(Struct, frozen=True):
    """What to show of an output, without secrets."""

    lines: list[str]
    telling: str
    """The line that tells why the program failed; the last one if none names an error. Empty without output."""
    names_error: bool
    """Whether the telling line speaks of an error at all."""


NOTHING = Excerpt([], "", names_error=False)


def read_excerpt(log: Path, *, start: int | None) -> Excerpt:
    """Return the excerpt of what was written to a log after the offset `start`.

    It is empty if the log cannot be read, or `start` is None, since nothing was kept.
    """
    try:
        data = b"" if start is None else files.tail(log, start=start, limit=_BYTES)
    except OSError:
        data = b""
    if len(data) == _BYTES:
        # A line that lost its beginning may hold the end of a secret that nobody can recognize.
        data = data.partition(b"\n")[2]
    # Redact before splitting into lines, since a secret may span several, but without colours in between.
    text = redacted_output(without_colours(data.decode(errors="backslashreplace")))
    return excerpt(text.splitlines())


def excerpt(lines: Sequence[str]) -> Excerpt:
    """Return the excerpt of an output that has no secrets any more."""
    telling = _telling([line[:_LOOKED_AT] for line in lines])
    if telling is None:
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return Excerpt(list(lines[-_SHOWN:]), last, names_error=False)
    return Excerpt(_around(lines, telling), lines[telling].strip(), names_error=True)


def _around(lines: Sequence[str], telling: int) -> list[str]:
    """Return the lines around the telling one, and the end."""
    end = len(lines) - _END
    if telling >= end or len(lines) <= _SHOWN:
        return list(lines[-_SHOWN:])
    after = telling + 1 + _AFTER
    gap = [_GAP] if after < end else []
    return [*lines[max(0, telling - _BEFORE) : after], *gap, *lines[max(after, end) :]]


def _telling(lines: Sequence[str]) -> int | None:
    """Return the index of the last line that names an error, or else speaks of one."""
    named = [*_ends_of_tracebacks(lines), *_messages_of_panics(lines)]
    named += (number for number, line in enumerate(lines) if _names_error(line))
    if named:
        return max(named)
    return next((number for number in reversed(range(len(lines))) if _speaks_of_error(lines[number])), None)


def _names_error(line: str) -> bool:
    if _SUMMARY.search(line) or _RUST_PANIC.search(line):
        return False
    return bool(_IN_USE.search(line)) or (bool(_NAMED.search(line)) and not _QUIET.search(line))


def _speaks_of_error(line: str) -> bool:
    return bool(_SPOKEN.search(line)) and not _QUIET.search(line) and not _SUMMARY.search(line)


def _ends_of_tracebacks(lines: Sequence[str]) -> list[int]:
    """Return the lines below Python's frames, where any class may stand, such as ImproperlyConfigured."""
    ends, prefix = list[int](), None
    for number, line in enumerate(lines):
        if match := _TRACEBACK.search(line):
            prefix = line[: match.start()]
        elif prefix is not None:
            rest = line.removeprefix(prefix)
            if rest[:1].strip():
                ends += [] if _SUMMARY.search(rest) else [number]
                prefix = None
    return ends


def _messages_of_panics(lines: Sequence[str]) -> list[int]:
    return [
        number + 1 if number + 1 < len(lines) else number
        for number, line in enumerate(lines)
        if _RUST_PANIC.search(line)
    ]
