"""`auto-heal validate`: say whether the configuration can be used, and whether the checks can be collected."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from remediation.checks import FOLDER
from remediation.cli.check import with_checks
from remediation.config.load import load_project
from remediation.config.model import Project
from remediation.config.schema import ConfigError
from remediation.messages.message import Message, seconds
from remediation.monitor.pool import COLLECT_TIMEOUT, telling_line
from remediation.system import python
from remediation.system.exit_codes import NO_CHECKS
from remediation.system.secrets import redacted
from remediation.system.telling import without_colours


def validate(*, checks: bool) -> int:
    """Print one line and return 0 if the configuration is valid; with `checks`, if they can be collected too.

    ConfigError if not.
    """
    project = load_project(Path.cwd())
    if checks:
        _require_checks(project)
    values = {"file": project.source.name, "names": list(project.services)}
    print(Message("valid", values).render(project.language, named=True))
    return 0


def _require_checks(project: Project) -> None:
    """Collect the checks in another process, as a monitor would. ConfigError if that fails."""
    arguments = with_checks(["--collect-only", "--quiet", "--color=no", "-p", "no:cacheprovider"], project)
    command = python.command("remediation.cli.validate", "collect", *arguments)
    try:
        done = subprocess.run(
            command, cwd=project.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=COLLECT_TIMEOUT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ConfigError(f"the checks cannot be collected within {seconds(COLLECT_TIMEOUT)}s") from None
    if done.returncode == NO_CHECKS:
        raise ConfigError(f"there is no check in {project.root / FOLDER}")
    if done.returncode:
        output = redacted(without_colours(done.stdout.decode(errors="backslashreplace")))
        raise ConfigError(f"the checks cannot be collected: {telling_line(output.splitlines())}")


def collect() -> NoReturn:
    """Run pytest with the arguments of this process."""
    import pytest

    sys.exit(pytest.main(sys.argv[1:]))
