"""The pytest side of a health run: which session is one, what its checks get, what is kept of them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from remediation.checks import FOLDER, conftest_loading, stale_report
from remediation.supervision import protocol
from remediation.system.signals import unignore


def load(pluginmanager: pytest.PytestPluginManager) -> None:
    """As soon as pytest knows us, and before it has loaded all else: no report of before stays, nor does a hang."""
    config = pluginmanager.get_plugin("pytestconfig")
    if config is None:
        return
    arguments, place = config.invocation_params.args, config.invocation_params.dir
    named = any(not one.startswith("-") and FOLDER in Path(one.partition("::")[0]).parts for one in arguments)
    if (
        not (named or "--heal=auto" in arguments)
        or stale_report.RUNS_NOTHING & set(arguments)
        or protocol.current
        or protocol.is_watched
    ):
        return
    stale_report.remove(arguments, place)
    capture = pluginmanager.get_plugin("capturemanager")
    conftest_loading.begin(place, lambda: capture and capture.suspend_global_capture(in_=True))
    # Also if it comes to no session, as after an unknown option: whoever called pytest may go on for long.
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

    It does if an argument names something in a folder called healthtests, or with --heal=auto; never
    merely because a test failed.
    """
    if hasattr(config, "workerinput"):
        return bool(config.workerinput.get(FOLDER))
    if config.getoption("heal") == "auto":
        return True
    # Below the root alone: a project may itself lie in a folder of that name.
    return any(FOLDER in _below_root(config, argument).parts for argument in config.args)


def _below_root(config: pytest.Config, argument: str) -> Path:
    path = Path(os.path.normpath(config.invocation_params.dir / argument.partition("::")[0]))
    return path.relative_to(config.rootpath) if path.is_relative_to(config.rootpath) else Path()


def supervise(config: pytest.Config) -> int | None:
    """Run a health run in a process forked from this one, and return its exit code; None in that process.

    None as well for a session that is none, and one that is debugged: its checks run here.
    """
    from remediation.checks.retries import is_debugged

    conftest_loading.end()
    if protocol.current or protocol.is_watched or hasattr(config, "workerinput"):
        return None
    if not is_health_run(config) or is_debugged():
        return None
    from remediation.checks.client import project_of
    from remediation.run.supervised import go_on

    return go_on(config, project_of(config)[0])


def begin(config: pytest.Config) -> None:
    """Make a health run of this session if it is one. UsageError for a configuration that cannot be used."""
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
    """Return whether the coverage of the project's code is wanted of a health run: only on its own command line.

    The options of a project are those for its tests, which checks are not: a limit would fail every run.
    """
    if hasattr(config, "workerinput"):
        # What pytest-cov hands to a worker, if its controller measures.
        return "cov_master_host" in config.workerinput
    return any(argument.startswith("--cov") for argument in config.invocation_params.args)


def _stop_coverage(pluginmanager: pytest.PytestPluginManager) -> None:
    if plugin := pluginmanager.get_plugin("_cov"):
        pluginmanager.unregister(plugin)
        if controller := getattr(plugin, "cov_controller", None):
            controller.pause()


class _Bystander:
    """Keeps checks out of a session that merely comes by their folder, such as a bare `pytest`."""

    def __init__(self, config: pytest.Config) -> None:
        self._folder = config.rootpath / FOLDER

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Leave the checks of the project alone."""
        return True if collection_path == self._folder else None


def finish(session: pytest.Session) -> None:
    """At the end of a round: heal, check again, decide. Nothing for a session that is no health run."""
    if checks := session.config.pluginmanager.get_plugin("auto-heal"):
        session.exitstatus = checks.finish(int(session.exitstatus))
