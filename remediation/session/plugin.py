"""The pytest side of a health run: which session is one, what its checks get, what is kept of them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from remediation.primitives.dispositions import unignore
from remediation.session import FOLDER


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


def begin(config: pytest.Config) -> None:
    """Make a health run of this session if it is one. UsageError for a configuration that cannot be used."""
    config.addinivalue_line("markers", "heals(*services): the services that a failure of this check may heal.")
    if is_health_run(config):
        unignore()
        from remediation.session.checks import Checks

        config.pluginmanager.register(Checks(config), "auto-heal")
    else:
        config.pluginmanager.register(_Bystander(config), "auto-heal-bystander")


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
