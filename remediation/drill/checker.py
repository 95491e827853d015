"""The real thing: `auto-heal check` in a process of its own, as the user would run it, and what it found."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from remediation.config.model import Project
from remediation.drill.interrupt import Interrupts
from remediation.healing.context import longest
from remediation.supervision.family import end_family
from remediation.supervision.round_files import remove_run_folders

# What a check prints is for people; of more than this only the end is kept.
_MOST_OUTPUT = 65_536
# To start Python and pytest and to collect, on a busy machine, in seconds.
_OVERHEAD = 60.0
_PREFIX, _CAUSE, _ACTION = "auto-heal.", ".cause", ".action"

Meanwhile = Callable[["subprocess.Popen[bytes]"], bool]


class Checked(Struct, frozen=True):
    """How a check ended."""

    code: int | None
    """Its exit code; None if it took too long, or was killed on purpose."""
    output: str
    causes: Mapping[str, str]
    """Why each service was to be healed."""
    actions: Mapping[str, str]
    """What was done for it, or why nothing was."""
    cases: int
    killed: bool = False


class Checker:
    """Runs checks, one after the other."""

    def __init__(self, project: Project, folder: Path, attention: Interrupts) -> None:
        """Keep reports and output in `folder`."""
        self._project = project
        self._folder = folder
        self._attention = attention
        self._cases = 0

    def look(self) -> Checked:
        """Check without healing."""
        checked = self._run(["--no-heal"], self._limit(20), lambda _: False)
        self._cases = checked.cases
        return checked

    def heal(self, meanwhile: Meanwhile = lambda _: False) -> Checked:
        """Check and heal. `meanwhile` may look on, and returns whether the check is to be killed."""
        return self._run([], self._limit(max(1, self._cases)), meanwhile)

    def _limit(self, cases: int) -> float:
        """Return the seconds that a check may take: every attempt at its limit, in every round, and every heal."""
        project, services = self._project, self._project.services.values()
        rounds = 1 + max(len(service.ladder) for service in services)
        attempts = rounds * cases * project.retries * (project.timeout + project.retry_delay)
        return _OVERHEAD + attempts + sum(2 * longest(service) * len(service.ladder) for service in services)

    def _run(self, words: list[str], limit: float, meanwhile: Meanwhile) -> Checked:
        report, output = self._folder / "check.xml", self._folder / "check.log"
        report.unlink(missing_ok=True)
        command = [sys.executable, "-m", "remediation", "check", f"--junitxml={report}", *words]
        with output.open("wb") as file:
            child = subprocess.Popen(
                command, cwd=self._project.root, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                start_new_session=True,
            )  # fmt: skip
        killed, code = False, None
        try:
            killed = meanwhile(child)
            if not killed and self._attention.child(child, limit):
                code = child.returncode
        finally:
            if child.returncode is None:
                # It was not waited for yet. What it started goes with it, but for services.
                end_family(child.pid, self._project)
                child.kill()
                child.wait()
            # What it could not do itself.
            remove_run_folders(self._project.state_folder, child.pid)
        properties, cases = _read(report)
        return Checked(
            code, _tail(output), _of_services(properties, _CAUSE), _of_services(properties, _ACTION), cases, killed
        )


def _read(report: Path) -> tuple[dict[str, str], int]:
    """Return the properties of a report, and how many cases it has."""
    try:
        root = ET.parse(report).getroot()  # noqa: S314 - written by the check that we started
    except (OSError, ET.ParseError):
        return {}, 0
    properties = {one.get("name", ""): one.get("value", "") for one in root.iter("property")}
    return properties, len(list(root.iter("testcase")))


def _of_services(properties: Mapping[str, str], suffix: str) -> dict[str, str]:
    """Return the properties that end so, by the name of the service that they are of."""
    return {
        name.removeprefix(_PREFIX).removesuffix(suffix): value
        for name, value in properties.items()
        if name.startswith(_PREFIX) and name.endswith(suffix)
    }


def _tail(path: Path) -> str:
    return path.read_bytes()[-_MOST_OUTPUT:].decode(errors="backslashreplace")
