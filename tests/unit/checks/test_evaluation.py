"""One attempt at a declared check, in a thread."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from remediation.checks.errors import ServiceDown
from remediation.checks.evaluation import Attempt, Evaluator, Subject
from remediation.config.load import load_project
from remediation.config.model import Project
from remediation.state.service_state import Store


def configured(root: Path, check: str) -> Project:
    """A project with a service that nothing serves, its check, and another service."""
    others = '[services.db]\nurl = "http://127.0.0.1:2"\n'
    (root / "auto-heal.toml").write_text(f'[services.api]\nurl = "http://127.0.0.1:1"\nchecks = [{check}]\n{others}')
    return load_project(root, {})


def attempt(project: Project) -> Attempt:
    """Make an attempt at the check in a run of its own."""
    service = project.services["api"]
    evaluator = Evaluator(project, Store(project), sessions={}, timeout=5.0)
    return evaluator.attempt(Subject(service, service.checks[0], service.checks[0].name))


def test_what_no_restart_mends_is_one_sentence_and_heals_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dns.resolver", None)

    error = attempt(configured(tmp_path, '{ dns = "localhost" }')).error

    # Of any other error, pytest would show the traceback through our own code.
    assert isinstance(error, ServiceDown)
    assert error.heals_nothing
    assert str(error) == "probe.dns needs dnspython; pip install 'pytest-auto-heal[dns]'"


def test_the_count_begins_anew_after_a_heal_of_the_service_that_the_check_names(tmp_path: Path) -> None:
    project = configured(tmp_path, '{ disk_free = "100%", for = 2, heals = ["db"] }')
    assert [attempt(project).error is None for _ in range(2)] == [True, False]
    store, db = Store(project), project.services["db"]

    state = store.recall(db)
    store.keep(db, replace(state, heals=state.heals + 1))

    # Otherwise the other service would be restarted in each run.
    assert [attempt(project).error is None for _ in range(2)] == [True, False]
