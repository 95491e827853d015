"""Keep secrets, and what drives a terminal, out of all that pytest shows and writes of a check.

Terminal, XML, cache, our own report, and the controller of xdist see a check by its report, so the report itself is
without secrets, and without the escape characters of an answer.
"""

from __future__ import annotations

import dataclasses
import linecache
import os
import re
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import pytest
from _pytest._code.code import ReprEntry
from _pytest.compat import ascii_escaped

from remediation.messages.message import visible
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

# Of an exception that is shown, the parts below a part; none of pytest's own is as deep.
_DEEPEST = 20
# Stands for an escape character of pytest's own, so that it can be told from those of an answer, who cannot guess it:
# one of the 65,534 of plane 16 that are for private use.
_OWN_ESCAPE = chr(0x100000 + int.from_bytes(os.urandom(2), "big") % 0xFFFE)
# What pytest colours in the captured log: the level, before the logger's name, file and line.
_LOG_LEVEL = re.compile(r"^(?:\x1b\[[\d;]+m)+[A-Z]+ *\x1b\[0m(?= +[\w.]+:[\w.\-]+:\d+ )", re.MULTILINE)
# The line that says what failed, in an entry of a traceback; what is above it is source.
_REASON = "E   "
_RENAMED = pytest.StashKey[str]()


class _Report(Protocol):
    longrepr: Any
    sections: list[tuple[str, str]]


class Redaction:
    """The plugin that takes the secrets out of reports. Its hooks come last, after all that others add to them."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_pycollect_makeitem(self) -> Generator[None, Any, Any]:
        """Name checks without the secrets that stand in their parameters, for all who show or select them."""
        made = yield
        taken = set[str]()
        for item in made if isinstance(made, list) else []:
            if isinstance(item, pytest.Item):
                _rename(item, taken)
        return made

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_assertrepr_compare(self, config: pytest.Config) -> Generator[None, Any, Any]:
        """Redact the values that an assertion compares before pytest colours them, which parts names and values."""
        if not config.pluginmanager.has_plugin("terminalreporter"):
            return (yield)
        with _highlighting_what_is_shown(config.get_terminal_writer()):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Redact why something cannot be collected."""
        report = yield
        _redact(report)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Redact how a phase of a check ended, what it printed, and what it shows."""
        report = yield
        if call.excinfo and report.failed:
            _learn_locals(call.excinfo)
        _redact(report)
        report.user_properties[:] = [(name, _property(name, value)) for name, value in report.user_properties]
        if (before := item.stash.get(_RENAMED, "")) in report.keywords:
            report.keywords = {item.name if name == before else name: one for name, one in report.keywords.items()}
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Redact what a subtest adds to the report of its check when that is made."""
        if context := getattr(report, "context", None):
            _redact_sections(report)
            _mend(context)

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excrepr: object) -> None:
        """Redact what broke pytest."""
        _mend(excrepr)

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Redact a warning, with the line of the source that pytest shows of it."""
        text = str(warning_message.message)
        line = warning_message.line or linecache.getline(warning_message.filename, warning_message.lineno)
        if (shown := visible(redacted(text))) != text:
            warning_message.message = shown
        if (shown := redacted_source(line)) != line:
            warning_message.line = shown


@contextmanager
def _highlighting_what_is_shown(writer: Any) -> Iterator[None]:
    """Let a terminal writer of pytest colour only what may be shown, with colours that can be told from others."""
    colour = writer._highlight  # noqa: SLF001 - the only place where pytest colours a part of a report

    def highlight(source: str, lexer: str = "python") -> str:
        shown: str = colour(visible(redacted(source)), lexer)
        return shown.replace("\x1b", _OWN_ESCAPE)

    writer._highlight = highlight  # noqa: SLF001
    try:
        yield
    finally:
        del writer._highlight  # noqa: SLF001


def _shown(text: str) -> str:
    """Return a text of a report as it may be shown: without secrets, and with pytest's own escape characters alone."""
    return _with_own_colours(redacted(text))


def _with_own_colours(text: str) -> str:
    return "\x1b".join(map(visible, text.split(_OWN_ESCAPE)))


def _learn_locals(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Know what a check calls its password, which an assertion may show without that name."""
    for entry in excinfo.traceback:
        learn({name: value for name, value in entry.frame.f_locals.items() if isinstance(value, str)})


def _rename(item: pytest.Item, taken: set[str]) -> None:
    """Redact the parameters in the name of a check, so that no other one has the same name."""
    head, bracket, parameters = item.name.partition("[")
    shown, number = f"{_without_secret_parameters(item, parameters)}", 1
    name = f"{head}{bracket}{shown}"
    while name in taken and shown != parameters:
        number += 1
        name = f"{head}[{shown.removesuffix(']')}~{number}]"
    taken.add(name)
    if name != item.name:
        nodeid = f"{item.nodeid.removesuffix(item.name)}{name}"
        item.stash[_RENAMED] = item.name
        item.name = name
        _set_nodeid(item, nodeid)


def _without_secret_parameters(item: pytest.Item, shown: str) -> str:
    """Return the parameters in a check's name without those whose arguments are called as secrets are."""
    callspec = getattr(item, "callspec", None)
    for argument, value in (callspec.params if callspec else {}).items():
        if is_secret(argument) and (spelled := _as_in_a_name(value)):
            # A name joins its parameters by hyphens; one that is given a name of its own is known by that.
            whole = rf"(?:(?<=\A)|(?<=-)){re.escape(spelled)}(?=[\]-])"
            shown = re.sub(whole, MASK, shown) if re.search(whole, shown) else shown.replace(spelled, MASK)
    return redacted(shown)


def _as_in_a_name(value: object) -> str:
    """Return a parameter as pytest writes it into a name; nothing for what cannot be a secret."""
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, bytes):
        return ascii_escaped(value)
    return ascii_escaped(value) if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""


def _set_nodeid(item: Any, nodeid: str) -> None:
    # There is no public way; since pytest 9.2 it is kept in parts.
    if hasattr(item, "_id"):
        item._id = type(item._id).parse(nodeid)  # noqa: SLF001
    else:
        item._nodeid = nodeid  # noqa: SLF001


def _redact(report: _Report) -> None:
    """Take out of a report of pytest what may not be shown; one without any of that is left as it is."""
    _redact_sections(report)
    longrepr = report.longrepr
    if isinstance(longrepr, str):
        report.longrepr = visible(redacted_output(longrepr))
    elif isinstance(longrepr, tuple):
        # Of a skip: file, line and reason.
        report.longrepr = tuple(_shown(part) if isinstance(part, str) else part for part in longrepr)
    elif longrepr is not None:
        _mend(longrepr)
        if (text := str(longrepr)) != (shown := redacted_parts(text)):
            # A secret that goes over several parts.
            report.longrepr = shown


def _redact_sections(report: _Report) -> None:
    """Redact what was captured, and what others have added."""
    report.sections[:] = [(_shown(title), _captured(content)) for title, content in report.sections]


def _captured(content: str) -> str:
    content = _LOG_LEVEL.sub(lambda level: level[0].replace("\x1b", _OWN_ESCAPE), content)
    return _with_own_colours(redacted_output(content))


def _property(name: str, value: object) -> object:
    """Return a value that a check shows beside its name."""
    text = str(value)
    shown = visible(redacted_value(str(name), text))
    return value if shown == text else shown


def _mend(part: Any, depth: int = _DEEPEST, seen: set[int] | None = None) -> Any:
    """Take out of the texts of an exception, as pytest shows it, what may not be shown, and return it.

    A part may be there twice; once is enough, since the colours in it are its own from then on.
    """
    seen = set() if seen is None else seen
    if isinstance(part, str):
        return _shown(part)
    if depth == 0:
        return part
    if isinstance(part, list) and part and all(isinstance(line, str) for line in part):
        return _mended_lines(part)
    if isinstance(part, list | tuple):
        return type(part)(_mend(inner, depth - 1, seen) for inner in part)
    if isinstance(part, dict):
        return {key: _property(key, inner) for key, inner in part.items()}
    if dataclasses.is_dataclass(part) and id(part) not in seen:
        seen.add(id(part))
        for field in dataclasses.fields(part):
            inner = getattr(part, field.name, None)
            if field.name == "args" and inner:
                mended: Any = [(name, _property(name, value)) for name, value in inner]
            elif field.name == "lines" and inner and isinstance(part, ReprEntry) and part.style != "value":
                mended = _mended_entry(list(inner))
            else:
                mended = _mend(inner, depth - 1, seen)
            # Some are frozen.
            object.__setattr__(part, field.name, mended)
    return part


def _mended_entry(lines: list[str]) -> list[str]:
    """Redact an entry of a traceback: source, and the reasons below it."""
    reasons = next((number for number, line in enumerate(lines) if line.startswith(_REASON)), len(lines))
    source = _with_own_colours(redacted_source("\n".join(lines[:reasons])))
    return [*(source.split("\n") if reasons else []), *(_mended_lines(lines[reasons:]) if lines[reasons:] else [])]


def _mended_lines(lines: list[str]) -> list[str]:
    """Redact lines together, since a secret may have several."""
    end = "" if lines[0].endswith("\n") else "\n"
    text = end.join(lines)
    shown = _with_own_colours(redacted_output(text))
    if shown == text:
        return lines
    return shown.split("\n") if end else shown.splitlines(keepends=True)
