"""One attempt at a declared check, in a thread."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from remediation.checks.errors import ServiceDown
from remediation.checks.evaluation import Attempt, Evaluator, Subject
from remediation.config.load import load_project
from remediation.state.service_state import Store


def attempt(root: Path, check: str) -> Attempt:
    """Make an attempt at a check of a service that nothing serves."""
    (root / "auto-heal.toml").write_text(f'[services.api]\nurl = "http://127.0.0.1:1"\nchecks = [{check}]\n')
    project = load_project(root, {})
    service = project.services["api"]
    evaluator = Evaluator(project, Store(project), sessions={}, timeout=5.0)
    return evaluator.attempt(Subject(service, service.checks[0], service.checks[0].name))


def test_what_no_restart_mends_is_one_sentence_and_heals_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dns.resolver", None)

    error = attempt(tmp_path, '{ dns = "localhost" }').error

    # Of any other error, pytest would show the traceback through our own code.
    assert isinstance(error, ServiceDown)
    assert error.heals_nothing
    assert str(error) == "probe.dns needs dnspython; pip install 'pytest-auto-heal[dns]'"
