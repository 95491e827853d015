"""Open incidents: one id and one beginning for all runs, monitors and versions, until the first well run."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import pytest
from outcomes import outcome_of

from remediation.config.load import load_project
from remediation.config.model import Project
from remediation.state import incidents
from remediation.state.incidents import OpenIncident
from remediation.state.records import CheckOutcome, Kind, Result, Run


@pytest.fixture
def watched(tmp_path: Path) -> Project:
    """Return a project with two services."""
    (tmp_path / "auto-heal.toml").write_text('[services.api]\ncommand = "true"\n[services.db]\ncommand = "true"\n')
    return load_project(tmp_path, {})


@pytest.fixture
def told() -> list[tuple[str, object]]:
    """Return what was logged."""
    return []


def result(key: str, failed: float | None, passed: float | None, *services: str) -> Result:
    kind: Kind = "check" if "::" in key else "service"
    return Result(kind, key, key, list(services), 0.0, outcome_of(failed, passed), failed, passed)


def run(*results: Result) -> Run:
    return Run(0.0, 100.0, "check", "", None, list(results))


def quiet(_key: str, **_values: object) -> None:
    """Log nothing."""


def test_an_incident_keeps_its_id_and_its_first_failure_over_all_runs(watched: Project) -> None:
    first = incidents.begin(watched, {"api": 5.0}, quiet)["api"]
    again = incidents.begin(watched, {"api": 9.0}, quiet)["api"]
    earlier = incidents.begin(watched, {"api": 3.0}, quiet)["api"]

    assert re.fullmatch(r"[0-9a-f]{8}", first.id)
    assert again == first
    assert earlier == OpenIncident(first.id, 3.0)
    assert incidents.current(watched) == {"api": earlier}


def test_only_the_opening_of_a_services_incident_is_logged(watched: Project, told: list[tuple[str, object]]) -> None:
    def log(key: str, **values: object) -> None:
        told.append((key, values["name"]))

    for _ in range(2):
        incidents.begin(watched, {"api": 5.0, "t.py::test": 5.0}, log)

    assert told == [("incident", "api")]


def test_a_run_ends_the_incidents_of_what_is_well_and_gives_each_result_its_id(watched: Project) -> None:
    opened = incidents.begin(watched, {"api": 5.0, "db": 6.0, "t.py::alone": 7.0}, quiet)

    noted = incidents.note(
        watched,
        run(
            result("api", 9.0, 10.0), result("db", 9.0, None), result("t.py::alone", None, 10.0),
            result("t.py::api", 9.0, 10.0, "api"), result("t.py::other", None, 10.0, "db"),
        ),
        quiet,
    )  # fmt: skip

    assert [one.incident for one in noted.results] == [
        opened["api"].id, opened["db"].id, opened["t.py::alone"].id, opened["api"].id, "",
    ]  # fmt: skip
    assert incidents.current(watched) == {"db": opened["db"]}


def test_an_incident_that_begins_and_ends_in_one_run_has_an_id_too(watched: Project) -> None:
    noted = incidents.note(watched, run(result("api", 1.0, 2.0), result("t.py::api", 1.0, 2.0, "api")), quiet)

    assert len(noted.results[0].incident) == 8
    assert {one.incident for one in noted.results} == {noted.results[0].incident}
    assert incidents.current(watched) == {}


def test_a_skip_ends_no_incident(watched: Project) -> None:
    opened = incidents.begin(watched, {"api": 5.0}, quiet)

    noted = incidents.note(watched, run(Result("service", "api", "api", [], 0.0, CheckOutcome.SKIPPED)), quiet)

    assert noted.results[0].incident == ""
    assert incidents.current(watched) == opened


def test_a_healthy_run_writes_nothing(watched: Project) -> None:
    found = run(result("api", None, 1.0))

    assert incidents.note(watched, found, quiet) is found
    assert not watched.state_folder.exists()


def test_what_a_version_without_ids_left_open_has_one_id_for_all_readers(watched: Project) -> None:
    watched.state_folder.mkdir()
    (watched.state_folder / ".incidents").write_text(json.dumps({"api": 3.0, "gone": 4.0}))

    first, second = incidents.current(watched), incidents.current(watched)

    assert first == second
    assert {key: one.began for key, one in first.items()} == {"api": 3.0}
    assert incidents.begin(watched, {"api": 9.0, "db": 9.0}, quiet)["api"] == first["api"]


@pytest.mark.parametrize("content", ["", "{", '{"api": "x"}', "[]", '{"api": {"id": 1}}'])
def test_a_corrupt_file_counts_as_empty(watched: Project, content: str) -> None:
    watched.state_folder.mkdir()
    (watched.state_folder / ".incidents").write_text(content)

    assert incidents.current(watched) == {}
    assert incidents.begin(watched, {"api": 1.0}, quiet)["api"].began == 1.0


def test_incidents_that_cannot_be_written_are_known_to_this_run(watched: Project) -> None:
    watched.state_folder.write_text("no folder")

    assert incidents.begin(watched, {"api": 1.0}, quiet)["api"].began == 1.0


def test_two_writers_lose_none_of_each_others_incidents(watched: Project) -> None:
    names = [f"t.py::{number}" for number in range(40)]
    threads = [threading.Thread(target=incidents.begin, args=(watched, {name: 1.0}, quiet)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert incidents.current(watched).keys() == set(names)


def test_checks_that_never_pass_again_do_not_fill_the_file(watched: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incidents, "_MOST", 3)

    incidents.begin(watched, {"api": 0.0, **{f"t.py::{number}": float(number) for number in range(5)}}, quiet)

    assert incidents.current(watched).keys() == {"api", "t.py::3", "t.py::4"}
