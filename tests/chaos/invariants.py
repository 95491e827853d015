"""What must hold at every moment of a soak, and after every fault."""

from __future__ import annotations

import re
import sqlite3
import threading
import xml.etree.ElementTree as ET
from contextlib import closing
from pathlib import Path

from junit_schema import SCHEMA
from town import Town

from remediation.config.model import Service
from remediation.drill.helper import left_over
from remediation.drill.observer import strays
from remediation.system.process import describe, marked

_LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[(INFO|SUCCESS|WARN|ERROR)\] [^\x00-\x1f\x7f-\x9f]+")
_SAID = re.compile(r"\d+ says \d+")
_LOOKS_EVERY = 0.005


class Sentinel:
    """Looks all the time whether a service has two servers."""

    def __init__(self, town: Town) -> None:
        """Begin to look."""
        self._town = town
        self._end = threading.Event()
        self.twins: list[str] = []
        self.looks = 0
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._end.wait(_LOOKS_EVERY):
            self.looks += 1
            for service in self._town.services.values():
                # Whoever was born before the last few is surely dead.
                alive = [birth for birth in self._town.births(service)[-8:] if birth.alive]
                if len(alive) > 1:
                    self.twins.append(f"{service.name}: {[describe(one.pid) for one in alive]}")

    def end(self) -> None:
        """Look no longer."""
        self._end.set()
        self._thread.join()


def after_each(town: Town, sentinel: Sentinel) -> list[str]:
    """Return what is not as it must be, now that all is said to be well and nobody heals."""
    found = list(dict.fromkeys(sentinel.twins))
    for service in town.services.values():
        found += [f"{service.name}: a bystander: {harm}" for harm in town.herds[service.name].harmed()]
        found += [f"{service.name}: {stray}" for stray in strays(service, town.store)]
        found += [f"evidence left {describe(one.pid)}" for one in marked("AUTO_HEAL_EVIDENCE", service.mark)]
        if not town.is_well(service):
            found.append(f"{service.name} is not well: {town.store.pid_file_problem(service)}")
        if (server := town.store.proven_process(service)) and server not in town.births(service):
            found.append(f"{service.name}: its process was not born as a server")
    return found


def drafts(town: Town) -> list[str]:
    """Return the files that somebody who was killed left half-written, where nobody would ever remove them."""
    return [f"left behind: {path}" for path in town.root.glob("*.tmp")]


def report(path: Path, code: int, checks: int) -> list[str]:
    """Return what is wrong with the report of a check that ended with `code`."""
    try:
        root = ET.parse(path).getroot()
    except (OSError, ET.ParseError) as error:
        return [f"the report of a check that ended with {code} cannot be read: {error}"]
    found = [str(error.reason) for error in SCHEMA.iter_errors(root)]
    cases = list(root.iter("testcase"))
    if len({(case.get("classname"), case.get("name")) for case in cases}) != checks or len(cases) != checks:
        found.append(f"the report has {len(cases)} cases, not {checks}")
    sick = [case.get("name") for case in cases if case.find("failure") is not None or case.find("error") is not None]
    if bool(sick) != (code == 1):
        found.append(f"the check ended with {code}, but in its report failed: {sick}")
    verdict = next((one.get("value") for one in root.iter("property") if one.get("name") == "auto-heal.verdict"), None)
    if (verdict == "sick") != (code == 1):
        found.append(f"the check ended with {code}, but its report says {verdict}")
    return found


def at_the_end(town: Town) -> list[str]:
    """Return what is wrong with what stays: logs, history, processes."""
    found = [f"the drill left {describe(one.pid)}" for one in left_over(town.project) if not _stands_by(town, one.pid)]
    found += drafts(town)
    if (treasure := town.root / "treasure").exists() and treasure.read_text(encoding="ascii") != "1\n":
        found.append("a file that a planted link leads to was written")
    for log in (town.root / "auto-heal.log.1", town.root / "auto-heal.log"):
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True) if log.exists() else []
        found += [f"torn in {log.name}: {line!r}" for line in lines if not _LOG_LINE.fullmatch(line.rstrip("\n"))]
        found += [f"torn at the end of {log.name}" for line in lines[-1:] if not line.endswith("\n")]
    for service in town.services.values():
        found += _spoken(service)
    return found + _history(town)


def _stands_by(town: Town, pid: int) -> bool:
    return any(decoy.helper.pid == pid for herd in town.herds.values() for decoy in herd._decoys)


def _spoken(service: Service) -> list[str]:
    """Return the torn lines of a service's log. It is killed in the middle of words, but writes whole ones."""
    text = "".join(
        path.read_bytes().lstrip(b"\0").decode(errors="replace")
        for path in (service.log_file.with_name(f"{service.log_file.name}.1"), service.log_file)
        if path.exists()
    )
    # Before the first line of NAME.1 stands what was dropped with the log before it.
    lines = [line for line in text.splitlines()[1:] if " says " in line]
    return [f"torn in {service.log_file.name}: {line!r}" for line in lines if not _SAID.fullmatch(line)]


def _history(town: Town) -> list[str]:
    found = []
    with closing(sqlite3.connect(town.root / ".auto-heal" / "history.db")) as database:
        heals = dict(database.execute("SELECT service, count(*) FROM heals GROUP BY service").fetchall())
        checks = database.execute("SELECT count(*) FROM runs WHERE origin = 'check'").fetchone()[0]
        sound = database.execute("PRAGMA integrity_check").fetchone()[0]
    done = {service.name: town.store.recall(service).heals for service in town.services.values()}
    # A healer that is killed between what it did and its record loses that one, and no other.
    missing = {name: count - heals.get(name, 0) for name, count in done.items()}
    if min(missing.values()) < 0 or sum(missing.values()) > town.killed:
        found.append(f"heals that were done: {done}, in the history: {heals}, healers killed: {town.killed}")
    if not town.completed <= checks <= town.completed + town.killed:
        found.append(f"checks that ended: {town.completed}, in the history: {checks}, killed: {town.killed}")
    if sound != "ok":
        found.append(f"the history is damaged: {sound}")
    return found
