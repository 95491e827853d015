"""Detect that a session failed although no check did: a limit of a plugin, for example, which no restart would fix."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from remediation.system.exit_codes import FAILED, NO_CHECKS


class SessionFailure:
    """The plugin that detects which other plugins count failures or change the exit code."""

    def __init__(self, config: pytest.Config) -> None:
        """Begin without failures."""
        self._config = config
        self.failures = 0
        """How many reports of checks and of collection failed, as pytest counts them."""
        self._counting_plugins: list[str] = []
        self._code: int | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count failures in the same way as pytest."""
        self.failures += bool(report.failed and not hasattr(report, "wasxfail"))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count errors of collection in the same way as pytest."""
        self.failures += bool(report.failed)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Detect failures that other plugins add, which they do around the loop over the checks."""
        result = yield
        if session.testsfailed > self.failures:
            self._counting_plugins = self._other_plugins("pytest_runtestloop")
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Remember the exit code before other plugins may change it."""
        self._code = int(exitstatus)

    def code(self, exitstatus: int) -> int:
        """Return the corrected exit code of a session: after a failed check, other plugins' codes do not count."""
        return FAILED if self.failures and exitstatus > NO_CHECKS else exitstatus

    def problem(self, code: int) -> str | None:
        """Return why a session ended with a `code` that no check explains; None if one does."""
        if self.failures or (code <= NO_CHECKS and code != FAILED):
            return None
        plugins = self._counting_plugins if code == self._code else self._other_plugins("pytest_sessionfinish")
        suffix = f", as may be the doing of {', '.join(plugins)}" if plugins else ""
        return f"no check failed, but something else ended the session with exit code {code}{suffix}"

    def _other_plugins(self, hook: str) -> list[str]:
        """Return the third-party plugins that implement a hook: their distributions, or else their modules."""
        manager = self._config.pluginmanager
        distributions = {id(plugin): info.project_name for plugin, info in manager.list_plugin_distinfo()}
        names = []
        for impl in getattr(manager.hook, hook).get_hookimpls():
            module = getattr(impl.function, "__module__", "")
            if not module.startswith(("_pytest.", "remediation.", "pytest_auto_heal")):
                owner = manager.get_plugin(module.partition(".")[0])
                names.append(distributions.get(id(impl.plugin)) or distributions.get(id(owner)) or module)
        return list(dict.fromkeys(names))
