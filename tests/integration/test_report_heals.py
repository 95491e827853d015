"""`auto-heal report` and `status`: each heal with its cause, its action, and the folder of its evidence."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from typing import Any

from remediations import remediation
from sandbox import Sandbox

from remediation.config.load import load_project
from remediation.state.history import History
from remediation.state.remediation import Remediation


def heal(at: float, **values: Any) -> Remediation:
    """Return a heal this many seconds ago."""
    return remediation(at=time.time() - at, **{"cause": "no answer", **values})


def test_the_last_heals_are_told_with_their_evidence_the_newest_first(project: Sandbox) -> None:
    history = History(load_project(project.root, {}))
    for number in range(9):
        history.record_remediation(heal(100.0 - number, cause=f"cause {number}"))
    now = time.time()
    history.record_remediation(
        heal(50.0, cause="died", evidence=".auto-heal/evidence/x", since=now - 10, answered_at=now - 7)
    )
    history.record_remediation(heal(40.0, cause="died\x1b[2J", ok=False, reason="no port"))

    lines = project.auto_heal("report").lines

    told = lines[lines.index("LAST HEALS") + 1 :]
    assert told[0].endswith("  api: died\\x1b[2J")
    assert told[1] == "  restart, in vain: no port"
    assert told[2].endswith("  api: died")
    assert told[3:5] == ["  restart, answered after 3.0s", "  evidence in .auto-heal/evidence/x"]
    assert [line.rpartition("  api: ")[2] for line in told[5::2]] == ["cause 8", "cause 7", "cause 6"]


def test_programs_get_all_heals(project: Sandbox) -> None:
    history = History(load_project(project.root, {}))
    now = time.time()
    for number in range(9):
        history.record_remediation(heal(100.0 - number, evidence="folder", since=now - 10, answered_at=now - 7))

    heals = json.loads(project.auto_heal("report", "--json").output)["heals"]

    assert len(heals) == 9
    assert (heals[0]["evidence"], heals[0]["ok"], round(heals[0]["downtime"], 3)) == ("folder", True, 3.0)


def test_heals_of_a_history_of_an_older_version_are_told_and_their_table_is_changed(project: Sandbox) -> None:
    history = History(load_project(project.root, {}))
    history.record_remediation(heal(10.0, cause="old"))
    with closing(sqlite3.connect(history.path)) as database:
        database.executescript("ALTER TABLE heals DROP COLUMN evidence; PRAGMA user_version = 1;")

    before = project.auto_heal("report")
    history.record_remediation(heal(5.0, cause="new", evidence="folder"))
    after = project.auto_heal("report")

    assert before.output.count("api: old") == 1, before
    assert "Traceback" not in before.output
    assert after.output.index("api: new") < after.output.index("evidence in folder") < after.output.index("api: old")


def test_heals_of_a_history_of_before_are_told(project: Sandbox) -> None:
    history = History(load_project(project.root, {}))
    history.record_remediation(remediation(at=1.0))
    now = time.time()
    row = ("api", now, "monitor", "died", "restart", 0, "exited", now - 4, None, "folder")
    with closing(sqlite3.connect(history.path)) as database, database:
        database.execute("DELETE FROM heals")
        database.execute(
            "INSERT INTO heals (service, at, origin, cause, action, ok, reason, since, answered_at, evidence)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )

    (heal,) = json.loads(project.auto_heal("report", "--json").output)["heals"]

    assert tuple(heal.values()) == (*row[:5], False, *row[6:], "", None)
    assert list(heal) == [*remediation().stored(), "downtime"]


def test_the_last_heal_in_a_state_of_before_is_told(healthy: Sandbox) -> None:
    path = healthy.root / ".auto-heal" / "api.json"
    last = {"at": 4.5, "action": "restart", "ok": False, "reason": "exited"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"heals": 3, "last_heal": last}))

    (told,) = json.loads(healthy.auto_heal("status", "--json").output)

    assert told["last_heal"] == last
