"""Let other plugins know of a check what they would if it had run here, though an earlier session ran it.

Many note what became of a check on the item or for themselves: when it is set up, called and torn down, and when its
report is made. None of this happens again, so what they have around it is called with nothing inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import copy
from typing import Any

import pytest

from remediation.checks import results
from remediation.supervision.attempt_log import ReportOutcome

# Who is not told: pytest itself, we, those that we build upon, and who would run a check again at its failed report.
_NOT_TOLD = ("_pytest.", "remediation.", "pytest_rerunfailures", "pytest_timeout", "pytest_retry")
_MAKE = "pytest_runtest_makereport"


class ReportReplay:
    """The plugin that is asked for the report in place of pytest while something is told again."""

    def __init__(self, config: pytest.Config) -> None:
        """Tell the plugins of a session."""
        self._manager = config.pluginmanager
        self._report: pytest.TestReport | None = None

    def begin(self, item: pytest.Item) -> None:
        """Say that a check begins, but not on the terminal, which has shown it."""
        self._around("pytest_runtest_logstart")(nodeid=item.nodeid, location=item.location)

    def end(self, item: pytest.Item) -> None:
        """Say that a check is over."""
        self._around("pytest_runtest_logfinish")(nodeid=item.nodeid, location=item.location)

    def _around(self, hook: str) -> Callable[..., object]:
        hushed = [plugin for name, plugin in self._manager.list_name_plugin() if name == "terminalreporter"]
        ours = [impl.plugin for impl in self._impls(hook) if impl.function.__module__.startswith("remediation.")]
        return self._manager.subset_hook_caller(hook, hushed + ours)

    def tell(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Tell of one phase of a check, and add to its report what a plugin adds to it.

        Each plugin is told by itself: one that cannot do with so little keeps none of the others from hearing it.
        """
        call = _call_of(report)
        for plugin in self._listeners(report.when):
            self._report = copy(report)
            if results.report_outcome(report) is ReportOutcome.REPEATED:
                # It is called so only later.
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
        """Hand in the report that is told again."""
        return self._report

    def _listeners(self, when: str | None) -> list[object]:
        impls = [impl for hook in (_MAKE, f"pytest_runtest_{when}") for impl in self._impls(hook)]
        others = [impl for impl in impls if not impl.function.__module__.startswith(_NOT_TOLD)]
        return list({id(impl.plugin): impl.plugin for impl in others}.values())

    def _impls(self, hook: str, plugin: object = None) -> Iterator[Any]:
        for impl in getattr(self._manager.hook, hook).get_hookimpls():
            if plugin is None or impl.plugin is plugin:
                yield impl

    @staticmethod
    def _wraps(impl: Any) -> bool:
        """Return whether a hook is there for what others do; one that does something itself is not called again."""
        return bool(impl.wrapper or impl.hookwrapper)

    def _only(self, plugin: object, hook: str) -> Callable[..., object]:
        others = [impl.plugin for impl in self._impls(hook) if impl.plugin is not plugin and impl.plugin is not self]
        return self._manager.subset_hook_caller(hook, others)


def keep_results(config: pytest.Config) -> None:
    """Keep what others have written since the round began: in the middle of it, nothing is stale."""
    if hasattr(config.option, "clean_alluredir"):
        config.option.clean_alluredir = False


def _call_of(report: pytest.TestReport) -> pytest.CallInfo[None]:
    """Return what pytest would have had in hand when it made a report."""
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
