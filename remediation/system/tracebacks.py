"""Redact texts that quote source: what a line of a traceback calls a variable is no value of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import groupby

from remediation.system.secrets import redacted, redacted_parts, redacted_source

# Above a line of source, where Python says from which file and line it is, and where pytest does in its short style.
_PLACE = re.compile(r"""\s*(?:[|+] +)?File ".*", line \d+|\S.*:\d+: in \S""")
_SOURCE = re.compile(r"\s*(?:[|+] +)?    ")
# In pytest's long style, what failed and what stands above it; the reasons begin with an E.
_LONG_STYLE = re.compile(r"(?:>   |    )")


def redacted_output(text: str) -> str:
    """Return a text with `***` for each secret in it, and the source in its tracebacks as source."""
    after_place = False

    def is_source(line: str) -> bool:
        nonlocal after_place
        is_source = after_place and bool(_SOURCE.match(line)) and not _PLACE.match(line)
        after_place = is_source or bool(_PLACE.match(line))
        return is_source

    return _by_lines(text, is_source)


def redacted_failure(text: str) -> str:
    """Return what pytest says of a failure with `***` for each secret in it, and the source in it as source."""
    return _by_lines(text, lambda line: bool(_LONG_STYLE.match(line)))


def _by_lines(text: str, is_source: Callable[[str], bool]) -> str:
    if redacted(text) == text:
        return text
    lines = text.split("\n")
    parts = [
        (redacted_source if source else redacted)("\n".join(part)) for source, part in groupby(lines, key=is_source)
    ]
    # A secret that has several lines may begin in the one and end in the other.
    return redacted_parts("\n".join(parts))
