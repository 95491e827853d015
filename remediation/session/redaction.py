"""Keep secrets out of all that pytest shows and writes of a check: terminal, XML, cache, and our own report.

All of these, and the controller of xdist, see a check by its report, so the report itself is without secrets.
"""

from __future__ import annotations

import dataclasses
import linecache
import warnings
from collections.abc import Generator
from typing import Any, Protocol

import pytest

from remediation.primitives.secrets import learn, redacted, redacted_value

# Of an exception that is shown, the parts below a part; none of pytest's own is as deep.
_DEEPEST = 20


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
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Redact why something cannot be collected."""
        report = yield
        _redact(report)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Redact how a phase of a check ended, what it printed, and what it shows."""
        report = yield
        if call.excinfo and report.failed:
            _learn_locals(call.excinfo)
        _redact(report)
        report.user_properties[:] = [(name, _property(name, value)) for name, value in report.user_properties]
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Redact what a subtest adds to the report of its check when that is made."""
        if context := getattr(report, "context", None):
            _redact(report)
            _mend(context, _DEEPEST)

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excrepr: object) -> None:
        """Redact what broke pytest."""
        _mend(excrepr, _DEEPEST)

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Redact a warning, with the line of the source that pytest shows of it."""
        text = str(warning_message.message)
        line = warning_message.line or linecache.getline(warning_message.filename, warning_message.lineno)
        if redacted(text) != text:
            warning_message.message = redacted(text)
        if redacted(line) != line:
            warning_message.line = redacted(line)


def _learn_locals(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Know what a check calls its password, which an assertion may show without that name."""
    for entry in excinfo.traceback:
        learn({name: value for name, value in entry.frame.f_locals.items() if isinstance(value, str)})


def _rename(item: pytest.Item, taken: set[str]) -> None:
    """Redact the parameters in the name of a check, so that no other one has the same name."""
    head, bracket, parameters = item.name.partition("[")
    shown, number = redacted(parameters), 1
    name = f"{head}{bracket}{shown}"
    while name in taken and shown != parameters:
        number += 1
        name = f"{head}[{shown.removesuffix(']')}~{number}]"
    taken.add(name)
    if name != item.name:
        nodeid = f"{item.nodeid.removesuffix(item.name)}{name}"
        item.name = name
        _set_nodeid(item, nodeid)


def _set_nodeid(item: Any, nodeid: str) -> None:
    # There is no public way; since pytest 9.2 it is kept in parts.
    if hasattr(item, "_id"):
        item._id = type(item._id).parse(nodeid)  # noqa: SLF001
    else:
        item._nodeid = nodeid  # noqa: SLF001


def _redact(report: _Report) -> None:
    """Take the secrets out of a report of pytest; one without any is left as it is."""
    report.sections[:] = [(redacted(title), redacted(content)) for title, content in report.sections]
    longrepr = report.longrepr
    if isinstance(longrepr, str):
        report.longrepr = redacted(longrepr)
    elif isinstance(longrepr, tuple):
        # Of a skip: file, line and reason.
        report.longrepr = tuple(redacted(part) if isinstance(part, str) else part for part in longrepr)
    elif longrepr is not None:
        _mend(longrepr, _DEEPEST)
        if (text := str(longrepr)) != (shown := redacted(text)):
            # A secret that goes over several parts.
            report.longrepr = shown


def _property(name: str, value: object) -> object:
    """Return a value that a check shows beside its name."""
    text = str(value)
    shown = redacted_value(str(name), text)
    return value if shown == text else shown


def _mend(part: Any, depth: int) -> Any:
    """Take the secrets out of the texts of an exception as pytest shows it, and return it."""
    if isinstance(part, str):
        return redacted(part)
    if depth == 0:
        return part
    if isinstance(part, list) and part and all(isinstance(line, str) for line in part):
        return _mended_lines(part)
    if isinstance(part, list | tuple):
        return type(part)(_mend(inner, depth - 1) for inner in part)
    if isinstance(part, dict):
        return {key: _property(key, inner) for key, inner in part.items()}
    if dataclasses.is_dataclass(part):
        for field in dataclasses.fields(part):
            inner = getattr(part, field.name, None)
            if field.name == "args" and inner:
                mended: Any = [(name, _property(name, value)) for name, value in inner]
            else:
                mended = _mend(inner, depth - 1)
            # Some are frozen.
            object.__setattr__(part, field.name, mended)
    return part


def _mended_lines(lines: list[str]) -> list[str]:
    """Redact lines together, since a secret may have several."""
    end = "" if lines[0].endswith("\n") else "\n"
    text = end.join(lines)
    shown = redacted(text)
    if shown == text:
        return lines
    return shown.split("\n") if end else shown.splitlines(keepends=True)
