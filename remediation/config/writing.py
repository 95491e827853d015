"""Write values in TOML, as a person would: strings, numbers, lists and inline tables."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

# The keys that need no quotes, TOML 1.0 "Keys".
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def written(value: object) -> str:
    """Return a value in TOML, on one line."""
    if isinstance(value, Mapping):
        entries = ", ".join(f"{_key(name)} = {written(inner)}" for name, inner in value.items())
        return f"{{ {entries} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    # JSON is TOML here, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def table(header: str, values: Mapping[str, object]) -> str:
    """Return a table with its header, each value on a line; of a list of tables, each on a line of its own."""
    lines = [f"[{header}]"]
    for name, value in values.items():
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            lines += [f"{_key(name)} = [", *(f"  {written(entry)}," for entry in value), "]"]
        else:
            lines.append(f"{_key(name)} = {written(value)}")
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")
