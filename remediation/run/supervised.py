"""Run pytest under a supervisor: from the point where it has read its options, or from its start."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from remediation.config.model import Project
from remediation.deployment.context import Deployment
from remediation.state.event_log import EventLog, terminal
from remediation.supervision.supervisor import Supervisor
from remediation.system.exit_codes import INTERNAL_ERROR, USAGE_ERROR
from remediation.system.process_exit import flush

if TYPE_CHECKING:
    import pytest

STDOUT = 1


def continue_session(config: pytest.Config, project: Project) -> int:
    """Run the session of a pytest that has read its options, and return its exit code.

    If this process exists only for pytest, end it at once, without waiting for what modules have left behind.
    """
    invocation = config.invocation_params

    def first() -> int:
        return _exit_code(lambda: int(config.hook.pytest_cmdline_main(config=config)))

    def again() -> int:
        _unconfigure_early_plugins(config)
        return _run_pytest(list(invocation.args), invocation.dir, invocation.plugins)

    code = Supervisor(project, _event_log(project, STDOUT), first=first, again=again).run()
    if _runs_only_pytest():
        flush()
        os._exit(code)
    return code


def _unconfigure_early_plugins(config: pytest.Config) -> None:
    """Let plugins undo what they did to the process when pytest started, because pytest starts once more.

    For example, pytest-django replaces a method of Django's and would take its own for the original. Only plugins
    that act so early are called; the others have not done anything yet.
    """
    manager = config.pluginmanager
    early = {id(impl.plugin) for impl in manager.hook.pytest_load_initial_conftests.get_hookimpls()}
    installed = [plugin for plugin, _ in manager.list_plugin_distinfo() if id(plugin) in early]
    impls = manager.hook.pytest_unconfigure.get_hookimpls()
    for plugin in installed:
        with suppress(Exception):
            others = [impl.plugin for impl in impls if impl.plugin is not plugin]
            manager.subset_hook_caller("pytest_unconfigure", others)(config=config)


def from_beginning(
    project: Project, arguments: list[str], *, deployment: Deployment | None = None, terminal_fd: int | None = None
) -> tuple[int, bool]:
    """Run pytest with these arguments; return its exit code, and whether it reached a verdict.

    `deployment` says whether the run is before or after one. `terminal_fd` is for the run's own output; the default
    is pytest's stdout.
    """
    folder = Path.cwd()

    def begin() -> int:
        return _run_pytest(arguments, folder)

    event_log = _event_log(project, STDOUT if terminal_fd is None else terminal_fd)
    supervisor = Supervisor(
        project, event_log, first=begin, again=begin, deployment=deployment, terminal_fd=terminal_fd
    )
    code = supervisor.run()
    return code, supervisor.verdict is not None


def _event_log(project: Project, fd: int) -> EventLog:
    return EventLog.of(project, terminal=terminal(fd))


def _run_pytest(arguments: list[str], folder: Path, plugins: Sequence[object] | None = None) -> int:
    import pytest

    os.chdir(folder)
    return _exit_code(lambda: int(pytest.main(arguments, plugins=plugins)))


def _exit_code(body: Callable[[], int]) -> int:
    import pytest

    try:
        return body()
    except pytest.UsageError as error:
        # In the format of pytest.main.
        for problem in error.args:
            sys.stderr.write(f"ERROR: {problem}\n\n")
        return USAGE_ERROR
    except Exception:  # noqa: BLE001 - a failure of pytest is not a verdict
        traceback.print_exc()
        return INTERNAL_ERROR


def _runs_only_pytest() -> bool:
    """Return whether this process was started as pytest, and not by a program that goes on after it."""
    main = sys.modules.get("__main__")
    if spec := getattr(main, "__spec__", None):
        return spec.name in ("pytest", "pytest.__main__")
    return Path(getattr(main, "__file__", None) or "").name in ("pytest", "py.test")
