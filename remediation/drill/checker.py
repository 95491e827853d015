"""Runs `auto-heal check` in a process of its own, as the user would, and reads its results."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from remediation.config.model import Project
from remediation.drill.interrupt import Interrupts
from remediation.healing.context import longest
from remediation.supervision.family import end_family
from remediation.supervision.round_files import remove_run_folders
from remediation.system import python

# What a check prints is for people. If it is longer than this, in bytes, only the end is kept.
_MOST_OUTPUT = 65_536
# The time to start Python and pytest and to collect, on a busy machine, in seconds.
_OVERHEAD = 60.0
_PREFIX, _CAUSE, _ACTION = "auto-heal.", ".cause", ".action"

Meanwhile = Callable[["subprocess.Popen[bytes]"], bool]


class Checked(Struct, frozen=True):
    """How a check ended."""

    code: int | None
    """The exit code; None if the check took too long, or was killed on purpose."""
    output: str
    causes: Mapping[str, str]
    """Why each service needed a heal."""
    actions: Mapping[str, str]
    """What was done for each service, or why nothing was done."""
    cases: int
    killed: bool = False


class Checker:
    """Runs checks, one after the other."""

    def __init__(self, project: Project, folder: Path, interrupts: Interrupts) -> None:
        """Keep reports and output in `folder`."""
        self._project = project
        self._folder = folder
        self._interrupts = interrupts
        self._cases = 0

    def check_only(self) -> Checked:
        """Check without healing."""
        checked = self._run(["--no-heal"], self._limit(20), lambda _: False)
        self._cases = checked.cases
        return checked

    def heal(self, meanwhile: Meanwhile = lambda _: False) -> Checked:
        """Check and heal. `meanwhile` runs during the check, and returns whether to kill it."""
        return self._run([], self._limit(max(1, self._cases)), meanwhile)

    def _limit(self, cases: int) -> float:
        """Return the seconds that a check may take if every attempt and every heal takes as long as it may."""
        project, services = self._project, self._project.services.values()
        rounds = 1 + max(len(service.ladder) for service in services)
        attempts = rounds * cases * project.retries * (project.timeout + project.retry_delay)
        return _OVERHEAD + attempts + sum(2 * longest(service) * len(service.ladder) for service in services)

    def _run(self, options: list[str], limit: float, meanwhile: Meanwhile) -> Checked:
        report, output = self._folder / "check.xml", self._folder / "check.log"
        report.unlink(missing_ok=True)
        command = python.command("remediation.cli.main", "run", "check", f"--junitxml={report}", *options)
        with output.open("wb") as file:
            child = subprocess.Popen(
                command, cwd=self._project.root, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                start_new_session=True,
            )  # fmt: skip
        killed, code = False, None
        try:
            killed = meanwhile(child)
            if not killed and self._interrupts.child(child, limit):
                code = child.returncode
        finally:
            if child.returncode is None:
                # Nobody has waited for it yet. End it with all that it started, except services.
                end_family(child.pid, self._project)
                child.kill()
                child.wait()
            # A killed check cannot remove its own folders.
            remove_run_folders(self._project.state_folder, child.pid)
        properties, cases = _read(report)
        return Checked(
            code, _tail(output), _of_services(properties, _CAUSE), _of_services(properties, _ACTION), cases, killed
        )


def _read(report: Path) -> tuple[dict[str, str], int]:
    """Return the properties of a report, and its number of cases."""
    try:
        root = ET.parse(report).getroot()  # noqa: S314 - written by the check that we started
    except (OSError, ET.ParseError):
        return {}, 0
    properties = {element.get("name", ""): element.get("value", "") for element in root.iter("property")}
    return properties, len(list(root.iter("testcase")))


def _of_services(properties: Mapping[str, str], suffix: str) -> dict[str, str]:
    """Return the properties with this suffix, by the name of their service."""
    return {
        name.removeprefix(_PREFIX).removesuffix(suffix): value
        for name, value in properties.items()
        if name.startswith(_PREFIX) and name.endswith(suffix)
    }


def _tail(path: Path) -> str:
    return path.read_bytes()[-_MOST_OUTPUT:].decode(errors="backslashreplace")
