"""The hooks that turn a pytest session into a health run, and the options of the command line."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from remediation.checks import FOLDER, conftest_loading, stale_report
from remediation.supervision import protocol
from remediation.system.signals import unignore


def load(pluginmanager: pytest.PytestPluginManager) -> None:
    """Remove an old report and watch for a hang as early as possible, before pytest loads other plugins."""
    config = pluginmanager.get_plugin("pytestconfig")
    if config is None:
        return
    arguments, folder = config.invocation_params.args, config.invocation_params.dir
    names_checks = any(
        not argument.startswith("-") and FOLDER in Path(argument.partition("::")[0]).parts for argument in arguments
    )
    if (
        not (names_checks or "--heal=auto" in arguments)
        or stale_report.RUNS_NOTHING & set(arguments)
        or protocol.current
        or protocol.is_watched
    ):
        return
    stale_report.remove(arguments, folder)
    capture = pluginmanager.get_plugin("capturemanager")
    conftest_loading.begin(folder, lambda: capture and capture.suspend_global_capture(in_=True))
    # Needed if no session begins, as after an unknown option: the caller of pytest may run on for long.
    config.add_cleanup(conftest_loading.end)


def add_options(parser: pytest.Parser) -> None:
    """Add the options of the group auto-heal."""
    group = parser.getgroup("auto-heal")
    group.addoption(
        "--heal",
        choices=("auto", "plan", "off"),
        metavar="auto|plan|off",
        help=f"heal failed services and check again, or only tell how (default: auto for {FOLDER}/, or AUTO_HEAL)",
    )
    group.addoption("--no-heal", action="store_const", dest="heal", const="off", help="the same as --heal=off")
    group.addoption(
        "--heal-rounds",
        type=_rounds,
        metavar="N",
        help="heal at most N times (default: as often as the ladders of the sick services have rungs)",
    )
    group.addoption("--fail-on-heal", action="store_true", help="exit with 10 if all is well only after a heal")
    group.addoption(
        "--allow-unproven",
        action="store_true",
        help="exit with 0 also if no check of a service has proven anything, since all were skipped",
    )
    group.addoption(
        "--rollback",
        action="store_true",
        help="if no heal helps, run the rollback of the service and check again; exit with 11 if all is well then",
    )


def _rounds(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number, 0 or more")
    return int(text)


def is_health_run(config: pytest.Config) -> bool:
    """Return whether this session runs checks, and so may heal.

    It does if an argument names a path in a folder called healthtests, or with --heal=auto, but never merely
    because a test failed.
    """
    if hasattr(config, "workerinput"):
        return bool(config.workerinput.get(FOLDER))
    if config.getoption("heal") == "auto":
        return True
    # Only below the root, because the project itself may be in a folder of that name.
    return any(FOLDER in _below_root(config, argument).parts for argument in config.args)


def _below_root(config: pytest.Config, argument: str) -> Path:
    path = Path(os.path.normpath(config.invocation_params.dir / argument.partition("::")[0]))
    return path.relative_to(config.rootpath) if path.is_relative_to(config.rootpath) else Path()


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
    config.addinivalue_line("markers", "heals(*services): the services that a failure of this check may heal.")
    if is_health_run(config):
        unignore()
        if not measures_coverage(config):
            _stop_coverage(config.pluginmanager)
        from remediation.run.session_plugin import SessionPlugin

        config.pluginmanager.register(SessionPlugin(config), "auto-heal")
    else:
        config.pluginmanager.register(_Bystander(config), "auto-heal-bystander")


def measures_coverage(config: pytest.Config) -> bool:
    """Return whether the command line of a health run requests coverage.

    The options in a project's configuration are for its tests, not for checks: a coverage limit would fail every run.
    """
    if hasattr(config, "workerinput"):
        # pytest-cov passes this to a worker if its controller measures coverage.
        return "cov_master_host" in config.workerinput
    return any(argument.startswith("--cov") for argument in config.invocation_params.args)


def _stop_coverage(pluginmanager: pytest.PytestPluginManager) -> None:
    if plugin := pluginmanager.get_plugin("_cov"):
        pluginmanager.unregister(plugin)
        if controller := getattr(plugin, "cov_controller", None):
            controller.pause()


class _Bystander:
    """Keeps checks out of a session that only passes their folder, such as a bare `pytest`."""

    def __init__(self, config: pytest.Config) -> None:
        self._folder = config.rootpath / FOLDER

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Ignore the checks of the project."""
        return True if collection_path == self._folder else None


def finish(session: pytest.Session) -> None:
    """Heal, check again and decide at the end of a round. Do nothing in a session that is not a health run."""
    if plugin := session.config.pluginmanager.get_plugin("auto-heal"):
        session.exitstatus = plugin.finish(int(session.exitstatus))
