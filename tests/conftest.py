"""Fixtures for all tests."""

from __future__ import annotations

import compileall
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from expected_skips import ExpectedSkips
from sandbox import REPOSITORY, Sandbox, sandbox

from remediation.config.load import load_project
from remediation.config.model import Service
from remediation.state.service_state import Store
from remediation.system import capabilities, environment

if TYPE_CHECKING:
    from answering import Server

# A shell ignores this signal for background jobs, and all processes that the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The language of the person who runs the tests must not change what these see.
for name in ("AUTO_HEAL_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
    os.environ.pop(name, None)

SOAK = Path(__file__).with_name("soak")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add an option for CI, where nothing may be skipped without a reason that is known."""
    parser.addoption("--expected-skips", type=Path, metavar="FILE", help="fail if a skipped test is not in FILE")


def pytest_configure(config: pytest.Config) -> None:
    """Compile the package once, because the commands that the tests run write no bytecode."""
    config.addinivalue_line("markers", "soak: takes long; run by `pytest tests/soak` and `pytest tests -m soak`")
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(REPOSITORY / "remediation", quiet=2)
        if file := config.getoption("--expected-skips"):
            config.pluginmanager.register(ExpectedSkips(file))


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers that are closed after the test."""
    from answering import serving

    with serving() as start:
        yield start


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the number of workers for `-n auto`: more than cores, because many tests wait for a process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return (3 * cores + 1) // 2


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the soak tests unless they are named, by their path or with `-m`."""
    for item in items:
        if SOAK in item.path.parents:
            item.add_marker("soak")
    if config.option.markexpr or any(_names_soak(argument) for argument in config.args):
        return
    if soak := [item for item in items if item.get_closest_marker("soak")]:
        config.hook.pytest_deselected(items=soak)
        items[:] = [item for item in items if not item.get_closest_marker("soak")]


def _names_soak(argument: str) -> bool:
    path, _, name = argument.partition("::")
    return bool(name) or SOAK in (Path(path).absolute(), *Path(path).absolute().parents)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Sandbox]:
    """A project of its own, with one service that can fail on request."""
    yield from sandbox(tmp_path)


@pytest.fixture
def healthy(project: Sandbox) -> Sandbox:
    """A project whose service is up."""
    result = project.auto_heal("start")
    assert result.code == 0, result
    return project


@pytest.fixture
def service(project: Sandbox) -> Service:
    """Return the service of the project."""
    return load_project(project.root, {}).services["api"]


@pytest.fixture
def store(project: Sandbox) -> Store:
    """Return the store of the project."""
    return Store(load_project(project.root, {}))


@pytest.fixture
def only_posix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take from this process and its children what Linux has beyond POSIX."""
    monkeypatch.setattr(capabilities, "_has_only_posix", True)
    monkeypatch.setenv(environment.TEST_PORTABLE, "1")


@pytest.fixture(params=["all of Linux", "only POSIX"])
def either_way(request: pytest.FixtureRequest) -> None:
    """Run a test with all that this system offers, and as on one that has only POSIX."""
    if request.param == "only POSIX":
        request.getfixturevalue("only_posix")
