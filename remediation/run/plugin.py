"""The hooks that turn a pytest session into a health run. A conftest may call them; otherwise the plugin does."""

from __future__ import annotations

import pytest
from pytest_auto_heal import RUN, add_marker, add_options, is_health_run, may_be_health_run, stand_by

from remediation.checks import conftest_loading, pytest_internals, stale_report
from remediation.supervision import protocol
from remediation.system.signals import unignore

__all__ = ["add_options", "begin", "finish", "is_health_run", "load", "measures_coverage", "supervise"]

_FINISHED = pytest.StashKey[bool]()


def load(pluginmanager: pytest.PytestPluginManager) -> None:
    """Remove an old report and watch for a hang as early as possible, before pytest loads other plugins."""
    config = pluginmanager.get_plugin("pytestconfig")
    if config is None or not may_be_health_run(config) or pluginmanager.has_plugin(RUN):
        return
    arguments, folder = config.invocation_params.args, config.invocation_params.dir
    if stale_report.RUNS_NOTHING & set(arguments) or protocol.current or protocol.is_watched:
        return
    stale_report.remove(arguments, folder)
    conftest_loading.begin(folder, lambda: _suspend_capture(pluginmanager))
    # Needed if no session begins, as after an unknown option: the caller of pytest may run on for long.
    config.add_cleanup(conftest_loading.end)


def _suspend_capture(pluginmanager: pytest.PytestPluginManager) -> None:
    if capture := pluginmanager.get_plugin("capturemanager"):
        capture.suspend_global_capture(in_=True)


def supervise(config: pytest.Config) -> int | None:
    """Run a health run in a forked process, and return its exit code; return None in that process.

    Also return None for other sessions, and under a debugger: these run in this process.
    """
    from remediation.checks.retries import is_debugged

    conftest_loading.end()
    if protocol.current or protocol.is_watched or hasattr(config, "workerinput"):
        return None
    if not is_health_run(config) or is_debugged():
        return None
    from remediation.checks.client import project_of
    from remediation.run.supervised import continue_session

    return continue_session(config, project_of(config)[0])


def begin(config: pytest.Config) -> None:
    """Register the plugins of a health run, if this session is one. UsageError for an invalid configuration."""
    add_marker(config)
    if config.pluginmanager.has_plugin(RUN):
        return
    if is_health_run(config):
        unignore()
        if not measures_coverage(config):
            pytest_internals.pause_coverage(config.pluginmanager)
        from remediation.run.session_plugin import SessionPlugin

        config.pluginmanager.register(SessionPlugin(config), RUN)
    else:
        stand_by(config)


def measures_coverage(config: pytest.Config) -> bool:
    """Return whether the command line of a health run requests coverage.

    The options in a project's configuration are for its tests, not for checks: a coverage limit would fail every run.
    """
    if hasattr(config, "workerinput"):
        return pytest_internals.measures_coverage_in(config)
    return any(argument.startswith("--cov") for argument in config.invocation_params.args)


def finish(session: pytest.Session) -> None:
    """Heal, check again and decide at the end of a round. Do nothing in a session that is not a health run."""
    plugin = session.config.pluginmanager.get_plugin(RUN)
    if plugin and not session.config.stash.get(_FINISHED, False):
        session.config.stash[_FINISHED] = True
        session.exitstatus = plugin.finish(int(session.exitstatus))
