"""Add scripts to a package.json, in the format that its text has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from json.decoder import JSONDecoder
from pathlib import Path

from msgspec import Struct

from remediation.config.schema import ConfigError

NAME = "package.json"
# What npm runs, by the name of the script.
SCRIPTS = {"doctor:auto": "auto-heal check", "doctor:monitor": "auto-heal monitor"}
_SPACE = re.compile(r"[ \t\r\n]*")
_BOM = "\ufeff"


def missing(root: Path, *, needed: bool) -> dict[str, str]:
    """Return the scripts that the package.json of a folder lacks; none if there is no such file, or it is invalid.

    ConfigError for these if it is `needed`.
    """
    path = root / NAME
    try:
        if not needed and not path.is_file():
            return {}
        scripts = _package(path, _text(path)).get("scripts", {})
        if not isinstance(scripts, dict):
            raise ConfigError(f"{NAME}: scripts: is not an object")
    except ConfigError:
        if needed:
            raise
        return {}
    return {name: command for name, command in SCRIPTS.items() if name not in scripts}


def extended(root: Path, scripts: dict[str, str]) -> bytes:
    """Return the package.json of a folder with these scripts, in its own format. ConfigError if they find no place."""
    path = root / NAME
    before = _text(path)
    package = _package(path, before)
    after = _with_scripts(before, scripts)
    own = package.get("scripts", {})
    if not isinstance(own, dict) or _package(path, after) != package | {"scripts": own | scripts}:
        raise ConfigError(f"{NAME}: finds no place for {', '.join(scripts)}; add them by hand")
    return after.encode()


def _text(path: Path) -> str:
    try:
        # Not as text, which would lose its line ends.
        return path.read_bytes().decode()
    except OSError as error:
        raise ConfigError(f"{path.name}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name}: not UTF-8: byte {error.start}") from None


def _package(path: Path, text: str) -> dict[str, object]:
    try:
        package = json.loads(text.removeprefix(_BOM))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path.name}: not valid JSON: {error}") from None
    if not isinstance(package, dict):
        raise ConfigError(f"{path.name}: is not an object")
    return package


def _with_scripts(text: str, scripts: Mapping[str, str]) -> str:
    """Return the text of a package.json with further scripts."""
    start = _skip(text, len(_BOM) if text.startswith(_BOM) else 0)
    members = list(_members(text, start))
    indent = _indent(text, members[0].start) if members else "  "
    end = "\r\n" if "\r\n" in text else "\n"
    pairs = list(map(pair, scripts.items()))
    place = next((member.value for member in reversed(members) if member.name == "scripts"), None)
    if place is None and members and _is_on_one_line(text, start, members):
        return _inserted(text, start, members, f'"scripts": {{{", ".join(pairs)}}}', before=" ", after="")
    if place is None:
        inner = f",{end}".join(f"{indent * 2}{one}" for one in pairs)
        added = f'"scripts": {{{end}{inner}{end}{indent}}}'
        return _inserted(text, start, members, added, before=f"{end}{indent}", after=end)
    own = list(_members(text, place))
    if own and _is_on_one_line(text, place, own):
        return _inserted(text, place, own, ", ".join(pairs), before=" ", after="")
    gap = f"{end}{_indent(text, own[0].start) if own else indent * 2}"
    return _inserted(text, place, own, f",{gap}".join(pairs), before=gap, after=f"{end}{indent}")


def _is_on_one_line(text: str, start: int, members: list[_Member]) -> bool:
    return "\n" not in text[start : members[0].start]


def _inserted(text: str, start: int, members: list[_Member], added: str, *, before: str, after: str) -> str:
    """Return the text with further members in the object that begins at `start`, and white space around them."""
    if members:
        return f"{text[: members[-1].end]},{before}{added}{text[members[-1].end :]}"
    return f"{text[: start + 1]}{before}{added}{after}{text[text.index('}', start) :]}"


class _Member(Struct, frozen=True):
    """A member of an object in JSON: its name, where it begins, and where its value begins and ends."""

    name: str
    start: int
    value: int
    end: int


def _members(text: str, start: int) -> Iterator[_Member]:
    """Yield the members of the object that begins at `start`, in valid JSON."""
    decoder = JSONDecoder()
    index = _skip(text, start + 1)
    while text[index] == '"':
        name, after = decoder.raw_decode(text, index)
        value = _skip(text, _skip(text, after) + 1)
        _, end = decoder.raw_decode(text, value)
        yield _Member(name, index, value, end)
        index = _skip(text, end)
        if text[index] == ",":
            index = _skip(text, index + 1)


def _skip(text: str, index: int) -> int:
    """Return the index of the first character from `index` on that is no white space."""
    match = _SPACE.match(text, index)
    return match.end() if match else index


def _indent(text: str, start: int) -> str:
    """Return the white space before what begins at `start`, if nothing else precedes it on its line."""
    before = text[:start].rpartition("\n")[2]
    return before if not before.strip() else "  "


def pair(script: tuple[str, str]) -> str:
    """Return a script as a member of an object in JSON."""
    return ": ".join(map(json.dumps, script))
