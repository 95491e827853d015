"""Say what is wrong with a configuration: which keys are not known, which values are of the wrong type.

msgspec finds a wrong value, and stops at the first; the walk over the keys finds every wrong one in one run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from remediation.config.model import InvalidValueError
from remediation.messages.message import printable
from remediation.system.secrets import redacted

# Part of file names and of pytest's markers.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
NAME_RULE = "a service's name has up to 64 letters, digits, - and _"


class ConfigError(Exception):
    """The configuration cannot be used; the message says what is wrong, where, and how to mend it."""

    def __init__(self, problem: str) -> None:
        """Say what is wrong in one sentence, which holds no secret and is safe for a terminal."""
        super().__init__(printable(redacted(problem)))


Kind = TypeVar("Kind")

_KINDS = {
    "array": "a list", "bool": "true or false", "date": "a date", "datetime": "a date", "float": "a number",
    "int": "a whole number", "object": "a table", "str": "a string", "time": "a time",
}  # fmt: skip
_UNIONS = {
    frozenset({"array", "str"}): "a list of strings or one string",
    frozenset({"array", "object", "str"}): "a list of strings, one string or a table",
    frozenset({"object", "str"}): '"restart" or a table',
}


def check_keys(values: object, kind: Any, where: str) -> None:
    """Raise ConfigError if a table holds keys that a `kind` does not have; it names all of them.

    `where` says where the table stands, and ends as a key may follow.
    """
    wrong = list(_wrong_keys(values, kind, where))
    if len(wrong) == 1:
        raise ConfigError(wrong[0])
    if wrong:
        raise ConfigError(" ".join(one if one.endswith("?") else f"{one}." for one in wrong))


@cache
def keys(kind: type[Struct]) -> Mapping[str, Any]:
    """Return the type of each key that the file may have for a struct, by its name in the file."""
    derived = getattr(kind, "derived", ())
    return {one.encode_name: one.type for one in msgspec.structs.fields(kind) if one.name not in derived}


def read(value: object, kind: type[Kind], where: str) -> Kind:
    """Return a value of the file as a `kind`; ConfigError says where it is of another."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        cause = error.__cause__ if isinstance(error.__cause__, InvalidValueError) else None
        problem = str(cause) if cause else str(error).partition(" - at `")[0]
        key = str(error)[len(problem) :].removeprefix(" - at `").rstrip("`").removeprefix("$")
        if cause:
            key += f".{cause.key}" if cause.key else ""
        elif missing := re.fullmatch(r"Object missing required field `(\w+)`", problem):
            key, problem = f"{key}.{missing[1]}", "missing"
        else:
            key = _named(value, key)
            problem = _plain(problem, kind, key)
        place = f"{where}{key.removeprefix('.')}" if key else where.rstrip(".: ")
        raise ConfigError(f"{place}: {problem}") from None


def refuse_nul(value: object, where: str) -> None:
    """Raise ConfigError for a NUL character, which neither a path nor a command line can hold."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            refuse_nul(key, where)
            refuse_nul(inner, f"{where}{key}.")
    elif isinstance(value, list):
        for inner in value:
            refuse_nul(inner, where)
    elif isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{where.rstrip('.: ')}: holds a NUL character, which no path and no command can")


def _wrong_keys(value: object, kind: Any, where: str) -> Iterator[str]:
    """Yield a sentence for each unknown key of a value and of all that is in it; other mistakes are for `read`."""
    for one in _alternatives(kind):
        inner = get_args(one)
        if isinstance(value, Mapping) and isinstance(one, type) and issubclass(one, Struct):
            known = keys(one)
            for key, content in value.items():
                if key in known:
                    yield from _wrong_keys(content, known[key], f"{where}{key}.")
                else:
                    yield f"{where.rstrip('.: ')}: unknown key {key!r}; {_hint(key, list(known))}"
        elif isinstance(value, Mapping) and get_origin(one) is Mapping and issubclass(inner[1], Struct):
            for name, content in value.items():
                if NAME.fullmatch(name):
                    yield from _wrong_keys(content, inner[1], f"{where}{name}.")
                else:
                    yield f"{where}{name!r}: {NAME_RULE} only"
        elif isinstance(value, list) and get_origin(one) is tuple:
            for index, content in enumerate(value):
                yield from _wrong_keys(content, inner[0], f"{where.removesuffix('.')}[{index}].")


def _hint(key: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"


def _alternatives(kind: Any) -> Iterator[Any]:
    """Yield each of the types that a type is made of."""
    if get_origin(kind) in (Annotated, Union, UnionType):
        for one in get_args(kind):
            yield from _alternatives(one)
    else:
        yield kind


def _named(value: Any, key: str) -> str:
    """Return a key with the name of the entry that is wrong, which msgspec does not give: `env.A` for `env[...]`."""
    table, is_table, _ = key.partition("[...]")
    if not is_table:
        return key
    for part in table.split(".")[1:]:
        value = value[part]
    return next((f"{table}.{name}" for name, text in value.items() if not isinstance(text, str)), table)


def _plain(problem: str, kind: Any, key: str) -> str:
    """Say in TOML's words what msgspec says in its own."""
    if bad := re.fullmatch(r"Invalid enum value (.*)", problem):
        return f"unknown value {bad[1]}; known values: {', '.join(map(repr, _choices(kind, key)))}"
    text = re.sub(r"`([^`]*)`", lambda match: _kinds(match[1]), problem)
    return text[0].lower() + text[1:]


def _choices(kind: Any, key: str) -> list[str]:
    """Return the strings that a field takes."""
    for part in re.findall(r"[a-z_]+|\[", key):
        if part == "[":
            kind = next(get_args(one)[0] for one in _alternatives(kind) if get_origin(one) is tuple)
        else:
            kind = next(keys(one)[part] for one in _alternatives(kind) if hasattr(one, "__struct_fields__"))
    return [word for one in _alternatives(kind) if get_origin(one) is Literal for word in get_args(one)]


def _kinds(words: str) -> str:
    names = [name for name in words.split(" | ") if name != "null"]
    return _UNIONS.get(frozenset(names)) or " or ".join(_KINDS.get(name, name) for name in names)
