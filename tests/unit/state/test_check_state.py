"""The memory of declared checks between runs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from remediation.config.load import load_project
from remediation.config.model import Project
from remediation.state.check_state import CheckState, CheckStates


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "auto-heal.toml").write_text('[services.api]\nurl = "http://localhost:1"\n')
    return load_project(tmp_path, {})


def clock(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    monkeypatch.setattr(time, "time", lambda: now)


def test_a_limit_is_exceeded_since_the_first_look_and_in_each_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, 100.0)
    state = CheckState().exceeded("a", counts=True)
    clock(monkeypatch, 130.0)
    state = state.exceeded("a", counts=True).exceeded("a", counts=False)

    assert (state.exceeded_since, state.runs) == (100.0, 2)


def test_a_restart_begins_the_count_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, 100.0)
    state = CheckState().exceeded("a", counts=True)
    clock(monkeypatch, 130.0)
    # The round after a heal is no run of its own.
    state = state.exceeded("b", counts=False)
    assert (state.exceeded_since, state.runs) == (130.0, 0)

    clock(monkeypatch, 160.0)
    state = state.exceeded("b", counts=True)
    assert (state.exceeded_since, state.runs) == (130.0, 1)


def test_a_clock_that_was_set_back_begins_the_time_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, 100.0)
    state = CheckState().exceeded("a", counts=True)
    clock(monkeypatch, 50.0)

    assert state.exceeded("a", counts=True).exceeded_since == 50.0


def test_states_are_kept_by_check_and_outlive_a_process(project: Project) -> None:
    service = project.services["api"]
    CheckStates(project).update(service, "GET /", lambda _: CheckState(passed_at=5.0))
    CheckStates(project).update(service, "TCP", lambda _: CheckState(passed_at=6.0))

    states = CheckStates(project)
    assert states.recall(service, "GET /").passed_at == 5.0
    assert states.recall(service, "TCP").passed_at == 6.0
    assert states.recall(service, "DNS a") == CheckState()


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"GET /": 1}', b"\xff"])
def test_a_corrupt_file_counts_as_none(project: Project, content: bytes) -> None:
    service = project.services["api"]
    CheckStates(project).update(service, "GET /", lambda _: CheckState(runs=5))
    (file,) = (project.state_folder / "checks").iterdir()
    file.write_bytes(content)

    assert CheckStates(project).recall(service, "GET /") == CheckState()
    assert CheckStates(project).update(service, "GET /", lambda _: CheckState(runs=1)).runs == 1
    assert CheckStates(project).recall(service, "GET /").runs == 1


def test_what_cannot_be_written_is_forgotten(project: Project) -> None:
    project.state_folder.write_text("not a folder")

    changed = CheckStates(project).update(project.services["api"], "GET /", lambda _: CheckState(runs=1))

    assert changed.runs == 1


def test_a_check_of_which_nothing_is_to_be_remembered_leaves_no_file(project: Project) -> None:
    states, service = CheckStates(project), project.services["api"]
    states.update(service, "GET /", lambda _: CheckState(runs=1))
    states.update(service, "GET /", lambda _: CheckState())
    states.update(service, "TCP", lambda _: CheckState())

    assert [*(project.state_folder / "checks").iterdir()] == []
