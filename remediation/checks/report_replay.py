"""Show other plugins a check as if it had run here, although an earlier session ran it.

Many plugins record the outcome of a check in wrappers around set-up, call, teardown and the making of its report.
None of these phases runs again, so the wrappers are called around nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import copy
from typing import Any

import pytest

from remediation.checks import results
from remediation.supervision.attempt_log import ReportOutcome

# Modules whose plugins see no replay: pytest, auto-heal, what it builds upon, and pytest_retry, which would run a
# check again when it sees the failed report.
_EXCLUDED = ("_pytest.", "remediation.", "pytest_auto_heal", "pytest_rerunfailures", "pytest_timeout", "pytest_retry")
_MAKE = "pytest_runtest_makereport"


class ReportReplay:
    """The plugin that provides the report, instead of pytest, during a replay."""

    def __init__(self, config: pytest.Config) -> None:
        """Replay reports to the plugins of a session."""
        self._manager = config.pluginmanager
        self._report: pytest.TestReport | None = None

    def begin(self, item: pytest.Item) -> None:
        """Announce that a check begins, except to the terminal, which has shown it."""
        self._around("pytest_runtest_logstart")(nodeid=item.nodeid, location=item.location)

    def end(self, item: pytest.Item) -> None:
        """Announce that a check is over."""
        self._around("pytest_runtest_logfinish")(nodeid=item.nodeid, location=item.location)

    def _around(self, hook: str) -> Callable[..., object]:
        terminal = [plugin for name, plugin in self._manager.list_name_plugin() if name == "terminalreporter"]
        own = [impl.plugin for impl in self._impls(hook) if impl.function.__module__.startswith("remediation.")]
        return self._manager.subset_hook_caller(hook, terminal + own)

    def replay(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Replay one phase of a check, and copy what plugins add to the report.

        Each plugin is called separately, so that one that fails does not affect the others.
        """
        call = _call_of(report)
        for plugin in self._listeners(report.when):
            self._report = copy(report)
            if results.report_outcome(report) is ReportOutcome.REPEATED:
                # Only later does rerunfailures change the outcome to this.
                self._report.outcome = "failed"
            with suppress(Exception, pytest.fail.Exception, pytest.skip.Exception):
                if any(self._wraps(impl) for impl in self._impls(f"pytest_runtest_{report.when}", plugin)):
                    following = {"nextitem": None} if report.when == "teardown" else {}
                    self._only(plugin, f"pytest_runtest_{report.when}")(item=item, **following)
                self._only(plugin, _MAKE)(item=item, call=call)
            for name, value in vars(self._report).items():
                if not hasattr(report, name):
                    setattr(report, name, value)
        self._report = None

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_makereport(self) -> pytest.TestReport | None:
        """Provide the replayed report."""
        return self._report

    def _listeners(self, when: str | None) -> list[object]:
        impls = [impl for hook in (_MAKE, f"pytest_runtest_{when}") for impl in self._impls(hook)]
        others = [impl for impl in impls if not impl.function.__module__.startswith(_EXCLUDED)]
        return list({id(impl.plugin): impl.plugin for impl in others}.values())

    def _impls(self, hook: str, plugin: object = None) -> Iterator[Any]:
        for impl in getattr(self._manager.hook, hook).get_hookimpls():
            if plugin is None or impl.plugin is plugin:
                yield impl

    @staticmethod
    def _wraps(impl: Any) -> bool:
        """Return whether a hook implementation only wraps others; all others must not run again."""
        return bool(impl.wrapper or impl.hookwrapper)

    def _only(self, plugin: object, hook: str) -> Callable[..., object]:
        others = [impl.plugin for impl in self._impls(hook) if impl.plugin is not plugin and impl.plugin is not self]
        return self._manager.subset_hook_caller(hook, others)


def keep_results(config: pytest.Config) -> None:
    """Keep the files that plugins have written since the round began: they are not stale."""
    if hasattr(config.option, "clean_alluredir"):
        config.option.clean_alluredir = False


def _call_of(report: pytest.TestReport) -> pytest.CallInfo[None]:
    """Return the call information with which pytest would have made a report."""
    excinfo = None
    if not report.passed:
        kind = pytest.skip.Exception if report.skipped else pytest.fail.Exception
        try:
            raise kind(str(report.longrepr))
        except kind:
            excinfo = pytest.ExceptionInfo.from_current()
    when: Any = report.when
    return pytest.CallInfo(
        None, excinfo, start=report.start, stop=report.stop, duration=report.duration, when=when, _ispytest=True
    )
