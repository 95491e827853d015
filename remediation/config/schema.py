"""Report mistakes in a configuration: unknown keys, and values of the wrong type.

msgspec reports wrong values but stops at the first. The walk over the keys finds all unknown ones at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from remediation.config.errors import InvalidValueError
from remediation.messages.message import printable
from remediation.system.secrets import redacted

# Names of services become parts of file names and of pytest markers.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
NAME_RULE = "a service's name has up to 64 letters, digits, - and _"


class ConfigError(Exception):
    """The configuration is invalid; the message says what is wrong, where, and how to fix it."""

    # In a check that fails by it, pytest would show the name of our module before the sentence.
    __module__ = "builtins"

    def __init__(self, problem: str) -> None:
        """Set the message: one sentence, redacted and made safe for a terminal."""
        super().__init__(printable(redacted(problem)))


Kind = TypeVar("Kind")

_KINDS = {
    "array": "a list", "bool": "true or false", "date": "a date", "datetime": "a date", "float": "a number",
    "int": "a whole number", "object": "a table", "str": "a string", "time": "a time",
}  # fmt: skip
_UNIONS = {
    frozenset({"array", "str"}): "a list of strings or one string",
    frozenset({"array", "object", "str"}): "a list of strings, one string or a table",
    frozenset({"object", "str"}): "a string or a table",
}


def check_keys(values: object, kind: Any, where: str) -> None:
    """Raise ConfigError with all keys in a table that a `kind` does not have.

    `where` is the place of the table in the file; a key can be appended to it.
    """
    refuse(list(_wrong_keys(values, kind, where)))


def refuse(problems: Sequence[str]) -> None:
    """Raise ConfigError with all problems, if there are any."""
    if len(problems) == 1:
        raise ConfigError(problems[0])
    if problems:
        raise ConfigError(" ".join(problem if problem.endswith(("?", ".")) else f"{problem}." for problem in problems))


class Problems:
    """Collects what is wrong in several places, to report all of it at once."""

    def __init__(self) -> None:
        """Start without problems."""
        self.found: list[str] = []
        """The problems, a sentence each."""

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep a ConfigError, and go on after it."""
        try:
            yield
        except ConfigError as error:
            self.found.append(str(error))

    def add(self, problem: str) -> None:
        """Add a sentence."""
        self.found.append(problem)

    def refuse(self) -> None:
        """Raise ConfigError with all problems, if there are any."""
        refuse(self.found)


@cache
def keys(kind: type[Struct]) -> Mapping[str, Any]:
    """Return the type of each key that the file may have for a struct, by the key's name in the file."""
    derived = getattr(kind, "derived", ())
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind) if field.name not in derived}


def read(value: object, kind: type[Kind], where: str) -> Kind:
    """Decode a value of the file as a `kind`; raise ConfigError with the place of a wrong value."""
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
    """Raise ConfigError for a NUL character, which neither paths nor commands can contain."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            refuse_nul(key, where)
            refuse_nul(inner, f"{where}{key}.")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            refuse_nul(inner, f"{where.removesuffix('.')}[{number}].")
    elif isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{where.rstrip('.: ')}: holds a NUL character, which no path and no command can")


def _wrong_keys(value: object, kind: Any, where: str) -> Iterator[str]:
    """Yield a sentence for each unknown key of a value, at any depth; `read` reports all other mistakes."""
    for alternative in _alternatives(kind):
        inner = get_args(alternative)
        if isinstance(value, Mapping) and _is_struct(alternative):
            types = keys(alternative)
            for key, content in value.items():
                if key in types:
                    yield from _wrong_keys(content, types[key], f"{where}{key}.")
                else:
                    yield f"{where.rstrip('.: ')}: unknown key {key!r}; {_hint(key, list(types))}"
        elif isinstance(value, Mapping) and get_origin(alternative) is Mapping and _is_struct(inner[1]):
            for name, content in value.items():
                if NAME.fullmatch(name):
                    yield from _wrong_keys(content, inner[1], f"{where}{name}.")
                else:
                    yield f"{where}{name!r}: {NAME_RULE} only"
        elif isinstance(value, list) and get_origin(alternative) is tuple:
            for index, content in enumerate(value):
                yield from _wrong_keys(content, inner[0], f"{where.removesuffix('.')}[{index}].")


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _hint(key: str, valid_keys: list[str]) -> str:
    import difflib

    matches = difflib.get_close_matches(key, valid_keys, n=1, cutoff=0.5)
    return f"did you mean {matches[0]!r}?" if matches else f"known keys: {', '.join(valid_keys)}"


def _alternatives(kind: Any) -> Iterator[Any]:
    """Yield each member of a union, and the type inside an annotation."""
    if get_origin(kind) in (Annotated, Union, UnionType):
        for argument in get_args(kind):
            yield from _alternatives(argument)
    else:
        yield kind


def _named(value: Any, key: str) -> str:
    """Return a key with the name of the wrong entry, which msgspec leaves out: `env.A` for `env[...]`."""
    table, is_table, _ = key.partition("[...]")
    if not is_table:
        return key
    for part in table.split(".")[1:]:
        value = value[part]
    return next((f"{table}.{name}" for name, text in value.items() if not isinstance(text, str)), table)


def _plain(problem: str, kind: Any, key: str) -> str:
    """Rephrase an error of msgspec in the terms of TOML."""
    if match := re.fullmatch(r"Invalid enum value (.*)", problem):
        choices = ["true" if choice is True else repr(choice) for choice in _choices(kind, key)]
        return f"unknown value {match[1]}; known values: {', '.join(choices)}"
    text = re.sub(r"`([^`]*)`", lambda match: _kinds(match[1]), problem)
    if ".ladder[" in key:
        text = text.replace("a string or", '"restart", "reload" or')
    return text[0].lower() + text[1:]


def _choices(kind: Any, key: str) -> list[Any]:
    """Return the values that a field accepts, mostly strings."""
    for part in re.findall(r"[a-z_]+|\[", key):
        if part == "[":
            kind = next(get_args(item)[0] for item in _alternatives(kind) if get_origin(item) is tuple)
        else:
            kind = next(keys(item)[part] for item in _alternatives(kind) if hasattr(item, "__struct_fields__"))
    return [word for item in _alternatives(kind) if get_origin(item) is Literal for word in get_args(item)]


def _kinds(words: str) -> str:
    names = [name for name in words.split(" | ") if name != "null"]
    return _UNIONS.get(frozenset(names)) or " or ".join(_KINDS.get(name, name) for name in names)
