"""Redact texts that quote source: in a line of a traceback, the name of a variable is not a secret value."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import groupby

from remediation.system.secrets import redacted, redacted_parts, redacted_source

# The line above a line of source, with its file and number: Python's, or pytest's in short style.
_PLACE = re.compile(r"""\s*(?:[|+] +)?File ".*", line \d+|\S.*:\d+: in \S""")
_SOURCE = re.compile(r"\s*(?:[|+] +)?    ")
# In pytest's long style, the failing line and the lines above it; reasons begin with an E.
_LONG_STYLE = re.compile(r"(?:>   |    )")


def redacted_output(text: str) -> str:
    """Return a text with `***` for each secret; treat source lines in tracebacks as source."""
    after_place = False

    def is_source(line: str) -> bool:
        nonlocal after_place
        is_source = after_place and bool(_SOURCE.match(line)) and not _PLACE.match(line)
        after_place = is_source or bool(_PLACE.match(line))
        return is_source

    return _by_lines(text, is_source)


def redacted_failure(text: str) -> str:
    """Return pytest's text of a failure with `***` for each secret; treat source lines as source."""
    return _by_lines(text, lambda line: bool(_LONG_STYLE.match(line)))


def _by_lines(text: str, is_source: Callable[[str], bool]) -> str:
    if redacted(text) == text:
        return text
    lines = text.split("\n")
    parts = [
        (redacted_source if source else redacted)("\n".join(part)) for source, part in groupby(lines, key=is_source)
    ]
    # A secret of several lines may begin in one part and end in another.
    return redacted_parts("\n".join(parts))
