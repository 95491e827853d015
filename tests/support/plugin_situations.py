"""The situations that a plugin is tried in: each makes a project that uses it, and asserts what must be so."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

from plugin_table import Outcomes, Plugin, name_of
from sandbox import Result, Sandbox, sandbox, wait_for
from watching import kill, watching

Situation = Callable[[Plugin, Path], None]

_SHIPPED = ("test_health", "test_girls", "test_process")
_CRASH = "import os\n\n\ndef test_crash():\n    os._exit(7)\n"
# asyncio wants to be told its scope by everybody who has it, in use or not.
_WARNS = ("The configuration option .asyncio_default_fixture_loop_scope",)
# Runs a command as on a terminal, which some plugins want.
_ON_TERMINAL = """
import os, pty, sys

sys.exit(os.waitstatus_to_exitcode(pty.spawn([sys.executable, "-m", *sys.argv[1:]])))
"""
# What pytest prints when a plugin breaks, or is broken.
_BROKEN = ("INTERNALERROR", "PluggyTeardownRaisedWarning", "Traceback (most recent call last)")


@contextmanager
def project_with(plugin: Plugin, root: Path, *, up: bool) -> Iterator[Sandbox]:
    """Lend a project that uses a plugin, with its service `up` or never started."""
    for project in sandbox(root):
        project.configure(top="retries = 2\ninterval = 1")
        options = plugin.options.format(url=project.url)
        warnings = ["error", *(f"ignore:{pattern}" for pattern in (*_WARNS, *plugin.warns))]
        lines = [
            f"addopts = --strict-markers --strict-config {options}",
            *("filterwarnings =", *(f"    {one}" for one in warnings)),
            plugin.ini,
        ]
        project.write("pytest.ini", "\n".join(["[pytest]", *lines, ""]))
        for name, text in plugin.files.items():
            project.write(name, dedent(text).lstrip())
        if up:
            started = project.auto_heal("start")
            assert started.code == 0, started
        yield project


# The situations.


def heals(plugin: Plugin, root: Path) -> None:
    """The service was never started: `pytest healthtests` heals it."""
    with project_with(plugin, root, up=False) as project:
        result = _check(project, plugin)

        _proves(project, plugin, result, code=0, verdict="healed", says=plugin.says)
        assert project.answers()


def is_healthy(plugin: Plugin, root: Path) -> None:
    """All is well, and nothing is touched."""
    with project_with(plugin, root, up=True) as project:
        before = project.pid

        result = _check(project, plugin)

        _proves(project, plugin, result, code=0, verdict="healthy", says=plugin.says)
        assert project.pid == before


def heals_what_was_killed(plugin: Plugin, root: Path) -> None:
    """The service was killed: `auto-heal check` heals it."""
    with project_with(plugin, root, up=True) as project:
        kill(project)

        result = project.auto_heal("check", **_environment(plugin))

        _proves(project, plugin, result, code=0, verdict="healed")
        assert project.answers()


def heals_with_workers(plugin: Plugin, root: Path) -> None:
    """The service was killed, and the checks run in two workers."""
    with project_with(plugin, root, up=True) as project:
        kill(project)

        result = _check(project, plugin, "-n", "2", *plugin.workers.split())

        _proves(project, plugin, result, code=0, verdict="healed", workers=True)
        assert project.answers()


def watches(plugin: Plugin, root: Path) -> None:
    """A monitor heals the service when it is killed, and goes on."""
    with project_with(plugin, root, up=True) as project, watching(project, **_environment(plugin)) as monitor:
        monitor.ends_check(1)
        os.kill(project.pid, signal.SIGKILL)
        wait_for(lambda: monitor.statistics.heals == 1)
        # A check that was under way when the service died may end after the one that healed it.
        healed = monitor.statistics.checks + 1
        before, after = monitor.ends_check(healed), monitor.ends_check(healed + 2)
        code = monitor.stop()

        assert code == 0, monitor
        assert (after.errors, after.heals) == (before.errors, 1), monitor
        assert monitor.count("no verdict") == 0, monitor
        assert not any(monitor.count(text) for text in _BROKEN), monitor
        assert monitor.count("✅ All systems are healthy") >= 2, monitor


def survives_a_crash(plugin: Plugin, root: Path) -> None:
    """A check ends its process: it has failed, and the plugin hears of all checks."""
    _survives(plugin, root)


def survives_a_crash_with_workers(plugin: Plugin, root: Path) -> None:
    """A check ends the worker that it runs in."""
    _survives(plugin, root, "-n", "2", *plugin.workers.split())


def _survives(plugin: Plugin, root: Path, *arguments: str) -> None:
    with project_with(plugin, root, up=True) as project:
        # Between the others, so that there is something to hand on, and something left to be run.
        project.write("healthtests/test_k.py", _CRASH)

        result = _check(project, plugin, *arguments)

        _proves(
            project, plugin, result, code=1, verdict="sick", says=plugin.says_of_crash, more={"test_crash": "failed"},
            workers="-n" in arguments,
        )  # fmt: skip


WITHOUT_WORKERS: dict[str, Situation] = {
    "heal": heals,
    "healthy": is_healthy,
    "kill -9": heals_what_was_killed,
    "monitor": watches,
    "crash": survives_a_crash,
}
WITH_WORKERS: dict[str, Situation] = {
    "-n 2": heals_with_workers,
    "crash -n 2": survives_a_crash_with_workers,
}
SITUATIONS = WITHOUT_WORKERS | WITH_WORKERS


def _check(project: Sandbox, plugin: Plugin, *arguments: str) -> Result:
    command = ["pytest", "healthtests", *arguments]
    if plugin.on_terminal:
        project.write("on_terminal.py", _ON_TERMINAL)
        command.insert(0, "on_terminal")
    return project.run(*command, **_environment(plugin))


def _environment(plugin: Plugin) -> dict[str, str]:
    # Elsewhere in the tests plugins are kept out.
    return {"PYTEST_ADDOPTS": "", **plugin.env}


# What must be so.


def _proves(
    project: Sandbox,
    plugin: Plugin,
    result: Result,
    *,
    code: int,
    verdict: str,
    says: tuple[str, ...] = (),
    more: Outcomes | None = None,
    workers: bool = False,
) -> None:
    """Assert that a run is what it would be without the plugin, and that the plugin's own report is complete."""
    expected = dict.fromkeys([*_SHIPPED, *plugin.checks], "passed") | (more or {})
    assert result.code == code, result
    assert project.property("verdict") == verdict, result
    assert _in_report(project) == expected, (_in_report(project), result)
    for text in _BROKEN:
        assert text not in result.output, result
    for text in says:
        assert text in result.output, (text, result)
    if plugin.leaves:
        left = plugin.leaves(project)
        if workers and plugin.writes_in_workers:
            expected.pop("test_crash", None)
        assert left == expected, (left, result)
    if plugin.also:
        plugin.also(project)
    if plugin.in_one_process and not workers:
        plugin.in_one_process(project)


def _in_report(project: Sandbox) -> Outcomes:
    """Return what became of each check, as the report of the run has it."""
    outcomes: Outcomes = {}
    for case in project.report.iter("testcase"):
        failed = case.find("failure") is not None or case.find("error") is not None
        skipped = case.find("skipped") is not None
        outcomes[name_of(case.get("name", ""))] = "failed" if failed else "skipped" if skipped else "passed"
    return outcomes
