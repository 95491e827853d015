"""Keep secrets and terminal escape sequences out of everything that pytest shows and writes about a check.

Terminal, XML, cache, our own report and the controller of xdist all use pytest's report of a check, so the report
itself is redacted: it has no secrets, and no escape characters from a response.
"""

from __future__ import annotations

import dataclasses
import linecache
import os
import re
import warnings
from collections.abc import Callable, Generator
from typing import Any, Protocol

import pytest

from remediation.checks.pytest_internals import ReprEntry, ascii_escaped, highlighting, set_nodeid
from remediation.messages.message import printable, visible
from remediation.system.secrets import (
    MASK,
    is_secret,
    learn,
    redacted,
    redacted_parts,
    redacted_source,
    redacted_value,
)
from remediation.system.tracebacks import redacted_output

# The maximum nesting of the parts of an exception; pytest's own exceptions are less deep.
_MAX_DEPTH = 20
# Marks an escape character of pytest itself, to distinguish it from those of a response. A server cannot guess it: it
# is one of the 65,534 private-use characters of plane 16.
_OWN_ESCAPE = chr(0x100000 + int.from_bytes(os.urandom(2), "big") % 0xFFFE)
# What pytest colours in the captured log: the level, before the logger's name, file and line.
_LOG_LEVEL = re.compile(r"^(?:\x1b\[[\d;]+m)+[A-Z]+ *\x1b\[0m(?= +[\w.]+:[\w.\-]+:\d+ )", re.MULTILINE)
# Begins a line with the error in an entry of a traceback; the lines above are source.
_ERROR_PREFIX = "E   "
_RENAMED = pytest.StashKey[str]()


class _Report(Protocol):
    longrepr: Any
    sections: list[tuple[str, str]]


class Redaction:
    """The plugin that redacts reports. Its hooks run last, after all other plugins have changed the reports."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_pycollect_makeitem(self) -> Generator[None, Any, Any]:
        """Remove the secrets in parameters from the names of checks, for display and selection."""
        items = yield
        names = set[str]()
        for item in items if isinstance(items, list) else []:
            if isinstance(item, pytest.Item):
                _rename(item, names)
        return items

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_assertrepr_compare(self, config: pytest.Config) -> Generator[None, Any, Any]:
        """Redact the values in a comparison before pytest colours them, which would separate names from values."""
        if not config.pluginmanager.has_plugin("terminalreporter"):
            return (yield)
        with highlighting(config.get_terminal_writer(), _highlighted):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Redact the error of a failed collection."""
        report = yield
        _redact(report)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Redact the outcome of a phase of a check, its output, and the values that it shows."""
        report = yield
        if call.excinfo and report.failed:
            _learn_locals(call.excinfo)
        _redact(report)
        # pytest's JUnit report escapes the value of a property, but not its name.
        report.user_properties[:] = [
            (printable(redacted(str(name))), _property(name, value)) for name, value in report.user_properties
        ]
        if (old_name := item.stash.get(_RENAMED, "")) in report.keywords:
            report.keywords = {
                item.name if name == old_name else name: value for name, value in report.keywords.items()
            }
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Redact the data that a subtest adds to its report after the report is made."""
        if context := getattr(report, "context", None):
            _redact_sections(report)
            _redact_part(context)

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excrepr: object) -> None:
        """Redact an internal error of pytest."""
        _redact_part(excrepr)

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Redact a warning, and the source line that pytest shows with it."""
        text = str(warning_message.message)
        line = warning_message.line or linecache.getline(warning_message.filename, warning_message.lineno)
        if (shown := visible(redacted(text))) != text:
            warning_message.message = shown
        if (shown := redacted_source(line)) != line:
            warning_message.line = shown


def _highlighted(colour: Callable[[str, str], str], source: str, lexer: str) -> str:
    """Redact text before pytest colours it, and mark pytest's own escape characters."""
    return colour(visible(redacted(source)), lexer).replace("\x1b", _OWN_ESCAPE)


def _shown(text: str) -> str:
    """Return a redacted text of a report, in which only pytest's own escape characters are left."""
    return _with_own_colours(redacted(text))


def _with_own_colours(text: str) -> str:
    return "\x1b".join(map(visible, text.split(_OWN_ESCAPE)))


def _learn_locals(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Learn secrets from the local variables of a check, since an assertion may show them without their names."""
    for entry in excinfo.traceback:
        learn({name: value for name, value in entry.frame.f_locals.items() if isinstance(value, str)})


def _rename(item: pytest.Item, names: set[str]) -> None:
    """Redact the parameters in the name of a check, and keep the name unique among `names`."""
    head, bracket, parameters = item.name.partition("[")
    shown, number = f"{_without_secret_parameters(item, parameters)}", 1
    name = f"{head}{bracket}{shown}"
    while name in names and shown != parameters:
        number += 1
        name = f"{head}[{shown.removesuffix(']')}~{number}]"
    names.add(name)
    if name != item.name:
        nodeid = f"{item.nodeid.removesuffix(item.name)}{name}"
        item.stash[_RENAMED] = item.name
        item.name = name
        set_nodeid(item, nodeid)


def _without_secret_parameters(item: pytest.Item, shown: str) -> str:
    """Return the parameters in a check's name without those whose argument names indicate secrets."""
    callspec = getattr(item, "callspec", None)
    for argument, value in (callspec.params if callspec else {}).items():
        if is_secret(argument) and (spelled := _spelled_in_name(value)):
            # pytest joins the parameters with hyphens, unless the project gives them an ID.
            whole = rf"(?:(?<=\A)|(?<=-)){re.escape(spelled)}(?=[\]-])"
            shown = re.sub(whole, MASK, shown) if re.search(whole, shown) else shown.replace(spelled, MASK)
    return redacted(shown)


def _spelled_in_name(value: object) -> str:
    """Return a parameter as pytest writes it into a name; empty if it cannot be a secret."""
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, bytes):
        return ascii_escaped(value)
    return ascii_escaped(value) if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""


def _redact(report: _Report) -> None:
    """Redact a report of pytest, and leave a report without secrets unchanged."""
    _redact_sections(report)
    longrepr = report.longrepr
    if isinstance(longrepr, str):
        report.longrepr = visible(redacted_output(longrepr))
    elif isinstance(longrepr, tuple):
        # File, line and reason of a skip.
        report.longrepr = tuple(_shown(part) if isinstance(part, str) else part for part in longrepr)
    elif longrepr is not None:
        _redact_part(longrepr)
        if (text := str(longrepr)) != (shown := redacted_parts(text)):
            # A secret was split across several parts.
            report.longrepr = shown


def _redact_sections(report: _Report) -> None:
    """Redact the captured output, and the sections of other plugins."""
    report.sections[:] = [(_shown(title), _captured(content)) for title, content in report.sections]


def _captured(content: str) -> str:
    content = _LOG_LEVEL.sub(lambda level: level[0].replace("\x1b", _OWN_ESCAPE), content)
    return _with_own_colours(redacted_output(content))


def _property(name: str, value: object) -> object:
    """Return the redacted value of a property, which a check shows with its name."""
    text = str(value)
    shown = visible(redacted_value(str(name), text))
    return value if shown == text else shown


def _redact_part(part: Any, depth: int = _MAX_DEPTH, seen: set[int] | None = None) -> Any:
    """Redact the texts in a part of pytest's representation of an exception, and return the part.

    A part may occur twice but must be redacted only once, because afterwards its escape characters are unmarked.
    """
    seen = set() if seen is None else seen
    if isinstance(part, str):
        return _shown(part)
    if depth == 0:
        return part
    if isinstance(part, list) and part and all(isinstance(line, str) for line in part):
        return _redacted_lines(part)
    if isinstance(part, list | tuple):
        return type(part)(_redact_part(inner, depth - 1, seen) for inner in part)
    if isinstance(part, dict):
        return {key: _property(key, inner) for key, inner in part.items()}
    if dataclasses.is_dataclass(part) and id(part) not in seen:
        seen.add(id(part))
        for field in dataclasses.fields(part):
            inner = getattr(part, field.name, None)
            if field.name == "args" and inner:
                new_value: Any = [(name, _property(name, value)) for name, value in inner]
            elif field.name == "lines" and inner and isinstance(part, ReprEntry) and part.style != "value":
                new_value = _redacted_entry(list(inner))
            else:
                new_value = _redact_part(inner, depth - 1, seen)
            # Some dataclasses are frozen.
            object.__setattr__(part, field.name, new_value)
    return part


def _redacted_entry(lines: list[str]) -> list[str]:
    """Redact an entry of a traceback: source, and the error below it."""
    start = next((number for number, line in enumerate(lines) if line.startswith(_ERROR_PREFIX)), len(lines))
    source = _with_own_colours(redacted_source("\n".join(lines[:start])))
    return [*(source.split("\n") if start else []), *(_redacted_lines(lines[start:]) if lines[start:] else [])]


def _redacted_lines(lines: list[str]) -> list[str]:
    """Redact lines together, because a secret may span several lines."""
    end = "" if lines[0].endswith("\n") else "\n"
    text = end.join(lines)
    shown = _with_own_colours(redacted_output(text))
    if shown == text:
        return lines
    return shown.split("\n") if end else shown.splitlines(keepends=True)
