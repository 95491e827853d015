"""Makes the mutants of a module: small faults, one at a time, that its tests should notice.

They are the faults of decisions: a condition that always or never holds, a bound that is off by one, an operand, an
element, an argument or a statement that is missing, an order that is reversed. Texts are left alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from copy import copy
from itertools import pairwise, takewhile
from typing import Any, NamedTuple

_OPERATORS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list", "reversed": "list"}

# How many of the words before and after a fault are in its name.
_CONTEXT = 3


class Mutant(NamedTuple):
    """One fault: its name, such as `worst: set(codes) - {PASSED} -> set(codes)`, and the source that has it."""

    name: str
    source: bytes
    lines: tuple[int, int]
    """From the beginning of its statement to its own end."""


def mutants(source: bytes, only: Sequence[str] = ()) -> Iterator[Mutant]:
    """Yield the mutants of a module, or those inside of the classes and functions called `only`."""
    starts = [0]
    for content in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(content))
    for path, line, node, after in _faults(ast.parse(source), (), 1):
        if ast.unparse(node) == after or (only and not {*path} & {*only}):
            continue
        at: Any = node
        if isinstance(node, ast.ClassDef) and not _is_iterated(node.name, source.decode()):
            continue
        begin, end = starts[at.lineno - 1] + at.col_offset, starts[at.end_lineno - 1] + at.end_col_offset
        text = f"({after})" if isinstance(node, ast.expr) else after
        name = f"{'.'.join(path)}: {_difference(ast.unparse(node), after)}"
        yield Mutant(name, source[:begin] + text.encode() + source[end:], (line, at.end_lineno))


def _is_iterated(name: str, source: str) -> bool:
    """Return whether the order of an enum's members matters."""
    return re.search(rf"\bin (cls|{name})\b|\({name}\)", source) is not None


def _difference(before: str, after: str) -> str:
    """Return both texts, each without most of the words that they have in common."""
    old, new = before.split(), after.split()
    first, last = _common(old, new), _common(old[::-1], new[::-1])
    begin, end = max(0, first - _CONTEXT), max(0, min(last, len(old) - first, len(new) - first) - _CONTEXT)
    parts = [["..."] * (begin > 0) + words[begin : len(words) - end] + ["..."] * (end > 0) for words in (old, new)]
    return " -> ".join(" ".join(part) for part in parts)


def _common(one: list[str], other: list[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _faults(node: ast.AST, path: tuple[str, ...], line: int) -> Iterator[tuple[tuple[str, ...], int, ast.AST, str]]:
    """Yield the faults in a node and below it: path and line of the statement, the node, and the text in its place."""
    if isinstance(node, ast.stmt):
        line = node.lineno
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        path = (*path, node.name)
    if isinstance(node, ast.expr):
        yield from ((path, line, node, ast.unparse(new)) for new in _expressions(node, is_global=not path))
    else:
        yield from ((path, line, place, ast.unparse(new)) for place, new in _statements(node))
    for child in _executed(node):
        yield from _faults(child, path, line)


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is executed below a node: no annotation, decorator, pattern, target, import or formatted text."""
    match node:
        case ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return
        case ast.Subscript(value=ast.Name(id="Literal" | "tuple" | "list" | "dict")):
            # A type.
            return
        case ast.FunctionDef(args=arguments):
            yield from (default for default in (*arguments.defaults, *arguments.kw_defaults) if default)
            yield from node.body
        case ast.ClassDef():
            yield from node.body
        case ast.AnnAssign() | ast.Assign() | ast.AugAssign():
            yield from [node.value] if node.value else []
        case ast.match_case():
            yield from [*([node.guard] if node.guard else []), *node.body]
        case _:
            yield from ast.iter_child_nodes(node)


def _statements(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:  # noqa: PLR0912 - a table of cases
    """Yield what may be wrong with a statement: a part of it, or all, and what stands in its place."""
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return
        case ast.If(test=test):
            yield from ((test, new) for new in _always_and_never(test))
        case ast.While(test=test):
            yield test, [*_always_and_never(test)][1]
        case ast.match_case(guard=ast.expr() as guard):
            yield from ((guard, new) for new in _always_and_never(guard))
        case ast.comprehension(ifs=tests):
            yield node.iter, ast.Tuple([], ast.Load())
            yield from ((test, new) for test in tests for new in _always_and_never(test))
        case ast.For():
            yield node.iter, ast.Tuple([], ast.Load())
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield node, ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.Continue() | ast.Break() | ast.AugAssign():
            yield node, ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield node, ast.Pass()
        case ast.ClassDef(bases=[ast.Name(id="Enum")]):
            members = [statement for statement in node.body if isinstance(statement, ast.Assign)]
            for one, other in pairwise(members):
                swapped: dict[ast.stmt, ast.stmt] = {one: other, other: one}
                yield node, _with(node, body=[swapped.get(each, each) for each in node.body])
    if isinstance(node, (ast.Assign, ast.Return)) and isinstance(node.value, ast.Tuple):
        elements = node.value.elts
        for at in range(1, len(elements)):
            swapped_elements = [*elements[: at - 1], elements[at], elements[at - 1], *elements[at + 1 :]]
            yield node.value, _with(node.value, elts=swapped_elements)


def _expressions(node: ast.expr, *, is_global: bool) -> Iterator[ast.expr]:  # noqa: PLR0912 - a table of cases
    """Yield what may stand in place of an expression by mistake."""
    match node:
        case ast.IfExp():
            yield from (node.body, node.orelse)
        case ast.BoolOp(values=values):
            yield from (rest[0] if len(rest) == 1 else _with(node, values=rest) for rest in _without_one(values))
        case ast.BinOp():
            yield from (node.left, node.right)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.Compare(ops=operators):
            for at, operator in enumerate(operators):
                new, right = [_OPERATORS[type(operator)]], node.comparators[at]
                if isinstance(operator, ast.Eq) and isinstance(right, ast.Constant) and isinstance(right.value, int):
                    new += [ast.GtE, ast.LtE]
                yield from (_with(node, ops=[*operators[:at], each(), *operators[at + 1 :]]) for each in new)
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value) if not (is_global and isinstance(value, float)):
            # A time limit of a whole module may well be another.
            yield ast.Constant(value + 1)
        case ast.Call(func=ast.Name(id=name)) if name in _FUNCTIONS:
            yield _with(node, func=ast.Name(_FUNCTIONS[name]))
        case ast.Set(elts=elements) | ast.List(elts=elements) | ast.Tuple(elts=elements, ctx=ast.Load()):
            yield from (_with(node, elts=rest) for rest in _without_one(elements))
        case ast.Dict(keys=keys, values=values):
            yield from map(ast.Dict, _without_one(keys), _without_one(values))
        case ast.Subscript(slice=ast.Slice()):
            yield node.value
    if isinstance(node, ast.Call):
        yield from (_with(node, keywords=rest) for rest in _without_one(node.keywords))
        if isinstance(node.func, ast.Name) and node.func.id == "suppress":
            yield from (_with(node, args=rest) for rest in _without_one(node.args))


def _always_and_never(test: ast.expr) -> Iterator[ast.expr]:
    # It is evaluated all the same, because it may assign a name.
    yield ast.BoolOp(ast.Or(), [test, ast.Constant(value=True)])
    yield ast.BoolOp(ast.And(), [test, ast.Constant(value=False)])


def _without_one(parts: Sequence[Any]) -> Iterator[list[Any]]:
    for at in range(len(parts)):
        yield [*parts[:at], *parts[at + 1 :]]


def _with(node: Any, **parts: Any) -> Any:
    changed = copy(node)
    for name, part in parts.items():
        setattr(changed, name, part)
    return changed
