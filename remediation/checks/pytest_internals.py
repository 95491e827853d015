"""What auto-heal needs of pytest and its plugins beyond their public interfaces; no other module uses any of it.

Tried with pytest 8.3.5 and 9.2.0, pytest-rerunfailures 16.7, pytest-xdist 3.8.0, execnet 2.1.2 and pytest-cov 7.1.0. A
unit test names what another version lacks. `system/process_exit.py` has what is private in `atexit`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from _pytest._code.code import ReprEntry
from _pytest.compat import ascii_escaped
from _pytest.junitxml import LogXML, bin_xml_escape, mangle_test_address
from _pytest.runner import runtestprotocol
from _pytest.unittest import TestCaseFunction

__all__ = [
    "ReprEntry", "TestCaseFunction", "ascii_escaped", "attempts_from", "bin_xml_escape", "highlighting",
    "mangle_test_address", "measures_coverage_in", "pause_coverage", "run_unreported", "set_nodeid", "tear_down",
    "worker_exit_code", "xml_plugins",
]  # fmt: skip


# The checks.


def set_nodeid(item: Any, nodeid: str) -> None:
    """Change the ID of a check. Since pytest 9.2, it consists of parts."""
    if hasattr(item, "_id"):
        item._id = type(item._id).parse(nodeid)
    else:
        item._nodeid = nodeid


def run_unreported(item: pytest.Item) -> list[pytest.TestReport]:
    """Run the three phases of a check without reporting them, as if a check with the same parent followed."""
    reports = runtestprotocol(item, log=False, nextitem=cast("Any", item.parent))
    item._report_sections.clear()
    return reports


def tear_down(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Tear down what `nextitem` does not need."""
    item.session._setupstate.teardown_exact(nextitem)


# The output and the reports.


@contextmanager
def highlighting(writer: Any, around: Callable[[Callable[[str, str], str], str, str], str]) -> Iterator[None]:
    """Call `around` with the terminal writer's function that colours a source, and with its arguments."""
    colour = writer._highlight

    def highlight(source: str, lexer: str = "python") -> str:
        return around(colour, source, lexer)

    writer._highlight = highlight
    try:
        yield
    finally:
        del writer._highlight


def xml_plugins(config: pytest.Config) -> list[LogXML]:
    """Return the plugins that write a JUnit XML to their `logfile`, measuring time from `pytest_sessionstart` on."""
    return [plugin for plugin in config.pluginmanager.get_plugins() if isinstance(plugin, LogXML)]


# The plugins.


def attempts_from(config: pytest.Config, known: Callable[[str], int]) -> None:
    """Make rerunfailures count the `known` attempts at a check, as it counts those of crashed workers."""
    if database := getattr(config, "failures_db", None):
        original = database.get_test_failures
        database.get_test_failures = lambda nodeid: known(nodeid) or original(nodeid)


def measures_coverage_in(worker: pytest.Config) -> bool:
    """Return whether the controller of a worker measures coverage, which pytest-cov passes on."""
    return "cov_master_host" in worker.workerinput  # type: ignore[attr-defined]


def pause_coverage(manager: pytest.PytestPluginManager) -> None:
    """Stop pytest-cov, if it is installed."""
    if plugin := manager.get_plugin("_cov"):
        manager.unregister(plugin)
        if controller := getattr(plugin, "cov_controller", None):
            controller.pause()


def worker_exit_code(node: Any, timeout: float) -> int:
    """Return the exit code of the process of an xdist worker, waiting at most `timeout` seconds; 1 if unknown."""
    popen = getattr(getattr(node.gateway, "_io", None), "popen", None)
    try:
        return int(popen.wait(timeout)) if popen else 1
    except Exception:  # noqa: BLE001 - any failure only makes a sentence less exact
        return 1
