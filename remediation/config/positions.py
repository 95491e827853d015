"""Where in the configuration each declared check is, for reports: tomllib does not tell the places of values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from remediation.config.load import tomllib

# A key that no check has, without quotes, so that it ends no string in which a brace was taken for a table.
_LINE = "auto-heal-line"
# What opens an inline table, and the header of an entry of an array of tables.
_OPENS = re.compile(r"\{(?=\s*(\}?))|^[ \t]*\[\[.*\]\][ \t]*(?:#.*)?$", re.MULTILINE)


def lines_of_checks(text: str, *path: str) -> dict[str, list[int | None]]:
    """Return the lines, from 1 on, of the checks of each service; `path` leads to the table of the project.

    It writes each line into a copy of the text, as one more key of the table that begins there, and parses the copy.
    Where such a copy is no TOML, the lines are unknown.
    """
    try:
        table: Any = tomllib.loads(_OPENS.sub(_numbered(text), text))
    except (ValueError, RecursionError):
        return {}
    for part in (*path, "services"):
        table = table.get(part) if isinstance(table, Mapping) else None
    services = table if isinstance(table, Mapping) else {}
    return {name: [_line(check) for check in service.get("checks", ())] for name, service in services.items()}


def _numbered(text: str) -> Any:
    counted, line = 0, 1

    def number(match: re.Match[str]) -> str:
        nonlocal counted, line
        line += text.count("\n", counted, match.start())
        counted = match.start()
        entry = f"{_LINE} = {line}"
        if not match[0].startswith("{"):
            return f"{match[0]}\n{entry}"
        return f"{{{entry}" if match[1] else f"{{{entry}, "

    return number


def _line(check: object) -> int | None:
    return check.get(_LINE) if isinstance(check, Mapping) else None
