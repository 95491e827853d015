"""What fails a session although no check of it has failed: a limit of some plugin, which no restart would mend."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from remediation.system.exit_codes import FAILED, NO_CHECKS


class SessionFailure:
    """The plugin that sees who else counts failures, or changes the exit code."""

    def __init__(self, config: pytest.Config) -> None:
        """Begin with none."""
        self._config = config
        self._failed = 0
        self._counted: list[str] = []
        self._code: int | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count as pytest does."""
        self._failed += bool(report.failed and not hasattr(report, "wasxfail"))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Likewise."""
        self._failed += bool(report.failed)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """See whether others have added failures, which they do around the loop over the checks."""
        result = yield
        if session.testsfailed > self._failed:
            self._counted = self._others("pytest_runtestloop")
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """See with which exit code the end begins."""
        self._code = int(exitstatus)

    def code(self, exitstatus: int) -> int:
        """Return the exit code of a session; if a check failed, whatever limit of a plugin was exceeded as well."""
        return FAILED if self._failed and exitstatus > NO_CHECKS else exitstatus

    def problem(self, code: int) -> str | None:
        """Say what failed a session that ended with a `code` for which no check accounts; None if one does."""
        if self._failed or (code <= NO_CHECKS and code != FAILED):
            return None
        others = self._counted if code == self._code else self._others("pytest_sessionfinish")
        who = f", as may be the doing of {', '.join(others)}" if others else ""
        return f"no check failed, but something else ended the session with exit code {code}{who}"

    def _others(self, hook: str) -> list[str]:
        """Return the plugins of others that have a say there: their distributions, or else their names."""
        manager = self._config.pluginmanager
        distributions = {id(plugin): found.project_name for plugin, found in manager.list_plugin_distinfo()}
        names = []
        for impl in getattr(manager.hook, hook).get_hookimpls():
            module = getattr(impl.function, "__module__", "")
            if not module.startswith(("_pytest.", "remediation.")):
                owner = manager.get_plugin(module.partition(".")[0])
                names.append(distributions.get(id(impl.plugin)) or distributions.get(id(owner)) or module)
        return list(dict.fromkeys(names))
