"""The JSON Schema of the configuration, for editors and for those who check files without auto-heal.

It is made from the types that msgspec reads a file into. What only __post_init__ knows is added where a schema can say
it. msgspec's own schema would have the keys that no file has, and cannot show our defaults.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Mapping
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Struct, UnsetType

from remediation.config import checks, schema
from remediation.config.checks import Check
from remediation.config.model import LadderStep, Project, Service

Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_KINDS = {str: "string", int: "integer", float: "number", bool: "boolean"}
# Keys without a default in the struct, since that depends on the service's name.
_OPTIONAL = {"pid_file", "log_file"}
_BOUNDS = {
    "gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum", "pattern": "pattern",
}  # fmt: skip


def json_schema(*, in_pyproject: bool = False) -> Schema:
    """Return the schema of auto-heal.toml, or of a pyproject.toml, of which it describes one table."""
    definitions = {kind.__name__: _table(kind) for kind in _structs(Project)}
    own = _reference(Project)
    tool = {"type": "object", "properties": {"auto-heal": own}}
    whole = {"type": "object", "properties": {"tool": tool}} if in_pyproject else own
    return {"$schema": _DIALECT, "title": "auto-heal", **whole, "$defs": definitions}


def _structs(kind: Any) -> list[type[Struct]]:
    """Return a struct and all those that its keys lead to, each once."""
    found: list[type[Struct]] = []
    pending = [kind]
    while pending:
        one = pending.pop()
        if isinstance(one, type) and issubclass(one, Struct):
            if one not in found:
                found.append(one)
                pending += schema.keys(one).values()
        else:
            pending += get_args(one)
    return sorted(found, key=lambda one: one.__name__)


def _table(kind: type[Struct]) -> Schema:
    """Return the schema of a table of the file: its keys, and no others."""
    told, fields = _docstrings(kind), {field.encode_name: field for field in msgspec.structs.fields(kind)}
    table: Schema = {
        "description": inspect.getdoc(kind),
        "type": "object",
        "properties": {
            key: _described(value, fields[key].default, told.get(fields[key].name))
            for key, value in schema.keys(kind).items()
        },
        "required": [key for key in schema.keys(kind) if fields[key].required and key not in _OPTIONAL],
        "additionalProperties": False,
    }
    if kind is Project:
        table["required"] = ["services"]
        table["properties"]["services"] = {
            "type": "object",
            "patternProperties": {f"^{schema.NAME.pattern}$": _reference(Service)},
            "additionalProperties": False,
            "minProperties": 1,
        }
    elif kind is LadderStep:
        table["oneOf"] = _required(("run", "hook"))
    elif kind is Check:
        table["oneOf"] = _required(checks.KINDS)
        table["dependentSchemas"] = {key: {"anyOf": _required(kinds)} for key, kinds in checks.BESIDE.items()}
    return table


def _described(kind: Any, default: Any, text: str | None) -> Schema:
    """Return the schema of a key, with its docstring, and its default if that is a plain value."""
    known = {"description": text} if text else {}
    is_plain = default != "" and type(default) in _KINDS
    return known | _schema(kind) | ({"default": default} if is_plain else {})


def _required(keys: Iterable[str]) -> list[Schema]:
    return [{"required": [key]} for key in keys]


def _reference(kind: type[Struct]) -> Schema:
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _schema(kind: Any) -> Schema:
    """Return the schema of a type."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        found = _schema(inner[0])
        for meta in inner[1:]:
            found |= _bounds(meta, found)
        return found
    if origin in (Union, UnionType):
        # TOML has no null.
        alternatives = [_schema(one) for one in inner if one not in (NoneType, UnsetType)]
        return alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (tuple, list):
        return {"type": "array", "items": _schema(inner[0])}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _schema(inner[1])}
    return _plain(kind)


def _plain(kind: Any) -> Schema:
    if kind is Any:
        return {}
    return {"type": _KINDS[kind]} if kind in _KINDS else _reference(kind)


def _bounds(meta: Meta, found: Schema) -> Schema:
    """Return the bounds of a value in the words of JSON Schema."""
    bounds = {word: value for name, word in _BOUNDS.items() if (value := getattr(meta, name)) is not None}
    least = {"array": "minItems", "object": "minProperties"}.get(found.get("type", ""), "minLength")
    return bounds if meta.min_length is None else bounds | {least: meta.min_length}


def _docstrings(kind: type[Struct]) -> dict[str, str]:
    """Return the docstrings of the fields of a struct, which only its source has."""
    found = dict[str, str]()
    for body in ast.parse(inspect.getsource(kind)).body:
        statements = body.body if isinstance(body, ast.ClassDef) else []
        for field, text in pairwise(statements):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            ):
                found[field.target.id] = text.value.value
    return found
