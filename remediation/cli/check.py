"""`auto-heal check`: the same pytest run, but it prints only the texts of the catalogue."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from remediation.checks import FOLDER
from remediation.checks.stale_report import RUNS_NOTHING
from remediation.config.load import OWN_FILE, SHARED_FILE, load_project
from remediation.config.model import Project
from remediation.config.schema import ConfigError
from remediation.deployment.context import Deployment
from remediation.system.exit_codes import FAILED, PASSED, VERDICTS
from remediation.system.process_exit import flush
from remediation.system.secrets import redacted

# Options of pytest whose value is a path, but not a check to run.
_WITH_PATH = ("--deselect", "--ignore", "--ignore-glob", "--junitxml", "--junit-xml", "--rootdir", "--confcutdir")


def check(arguments: list[str], *, verbose: bool, deployment: Deployment | None = None) -> int:
    """Run the checks beside the configuration, with further `arguments` for pytest, and return its exit code.

    `deployment` is set before and after a deployment. ConfigError if there is no configuration or there are no checks.
    """
    project = load_project(Path.cwd())
    arguments = with_checks(arguments, project)
    if verbose:
        return _pytest(project, [*arguments, "-v"], deployment, None)
    with _quiet() as (terminal_fd, output):
        code = _pytest(project, arguments, deployment, terminal_fd)
    if code not in VERDICTS:
        # Interrupted, broken or wrongly used: only pytest's output has the details.
        output.seek(0)
        sys.stderr.write(redacted(output.read().decode(errors="backslashreplace")))
    return code


def refuse_idle(arguments: list[str], to: str) -> None:
    """Raise ConfigError for an option of pytest with which it runs no check; `to` names what the command does."""
    if idle := RUNS_NOTHING & set(arguments):
        raise ConfigError(f"{', '.join(sorted(idle))}: runs no check, so there is nothing to {to}")


def with_checks(arguments: list[str], project: Project) -> list[str]:
    """Return pytest's arguments, with all checks if they name none. ConfigError if there are none."""
    before = [None, *arguments]
    if any(_names_checks(argument, option) for option, argument in zip(before, arguments, strict=False)):
        return arguments
    folder = project.root / FOLDER
    if folder.is_dir():
        return [*arguments, _argument(folder, project)]
    if project.declares_checks:
        return [*arguments, _argument(project.source, project)]
    raise ConfigError(
        f"{project.source.name}: no service has checks, and there is no folder {FOLDER} in {project.root}; "
        f"add checks = [...] to a service, or tests to {FOLDER}/"
    )


def _argument(path: Path, project: Project) -> str:
    """Return a file in a project's folder as an argument of pytest, which takes no absolute path with a bracket."""
    # A monitor goes to that folder, and so needs an absolute one from any other.
    return path.name if Path.cwd() == project.root else str(path)


def _names_checks(argument: str, option: str | None) -> bool:
    path = Path(argument.partition("::")[0])
    is_path = not argument.startswith("-") and option not in _WITH_PATH
    return is_path and (FOLDER in path.parts or path.name in (OWN_FILE, SHARED_FILE))


def _pytest(project: Project, arguments: list[str], deployment: Deployment | None, terminal_fd: int | None) -> int:
    from remediation.run.supervised import from_beginning

    code, has_verdict = from_beginning(project, arguments, deployment=deployment, terminal_fd=terminal_fd)
    if code in (PASSED, FAILED) and not has_verdict:
        # Without our plugin a pass proves nothing, and nothing would report it.
        raise ConfigError(
            "pytest ran without auto-heal's plugin; remove -p no:auto-heal and PYTEST_DISABLE_PLUGIN_AUTOLOAD, "
            "or install it into this environment once more"
        )
    return code


@contextmanager
def _quiet() -> Iterator[tuple[int, IO[bytes]]]:
    """Redirect stdout and stderr to a file; yield a descriptor of the real stdout, and that file."""
    flush()
    saved = [os.dup(1), os.dup(2)]
    terminal_fd = os.dup(1)
    output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with its last reference
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    try:
        yield terminal_fd, output
    finally:
        flush()
        for number, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, number)
            os.close(copy)
        os.close(terminal_fd)
