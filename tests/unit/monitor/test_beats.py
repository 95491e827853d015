"""Heartbeats by HTTP: only with the token, only by POST, and nothing told to anybody else."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandbox import DEADLINE, Sandbox
from scraping import serving, text

from remediation.config.load import load_project
from remediation.monitor.beats import Receiver
from remediation.monitor.metrics import Metrics
from remediation.state import heartbeats
from remediation.state.heartbeats import last

TOKEN = "0123456789abcdef-T"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def metrics(project: Sandbox) -> Iterator[Metrics]:
    """The metrics of a project that takes heartbeats."""
    project.configure(top=f'beat_token = "{TOKEN}"')
    with serving(load_project(project.root, {})) as metrics:
        yield metrics


def ask(metrics: Metrics, path: str, headers: dict[str, str], *, method: str = "POST", body: bytes = b"") -> int:
    """Return the status of an answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{metrics.port}{path}", body if method == "POST" else None, headers, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        ("/beat/backup", BEARER, 0),
        ("/beat/backup", {"authorization": f"bearer  {TOKEN}"}, 0),
        (f"/beat/backup?token={TOKEN}", {}, 0),
        ("/beat/backup/0", BEARER, 0),
        ("/beat/backup/17", BEARER, 17),
        ("/beat/backup/fail", BEARER, 1),
        ("/beat/backup", {**BEARER, "Host": "localhost:9787"}, 0),
    ],
)
def test_a_heartbeat_with_the_token_is_stored(
    metrics: Metrics, project: Sandbox, path: str, headers: dict[str, str], code: int
) -> None:
    assert ask(metrics, path, headers, body=b"x" * 200_000) == 200

    found = last(project.root / ".auto-heal", "backup")
    assert found is not None
    assert found.code == code


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/beat/backup", {}, 401),
        ("/beat/backup", {"Authorization": "Bearer "}, 401),
        ("/beat/backup", {"Authorization": f"Basic {TOKEN}"}, 401),
        ("/beat/backup", {"Authorization": f"Bearer {TOKEN}x"}, 401),
        ("/beat/backup?token=ü", {}, 401),
        ("/beat/backup", {**BEARER, "Host": "evil.example:9787"}, 404),
        ("/beat/backup", {**BEARER, "Host": "[::1"}, 404),
        ("/beat/", BEARER, 404),
        ("/beat/a.b", BEARER, 404),
        ("/beat/..%2f..%2fx", BEARER, 404),
        ("/beat/backup/256", BEARER, 404),
        ("/beat/backup/-1", BEARER, 404),
        ("/beat/backup/1/2", BEARER, 404),
        ("/beat", BEARER, 404),
        ("/metrics", BEARER, 404),
    ],
)
def test_anything_else_is_refused_and_stores_nothing(
    metrics: Metrics, project: Sandbox, path: str, headers: dict[str, str], status: int
) -> None:
    assert ask(metrics, path.replace("ü", "%C3%BC"), headers) == status

    assert list(project.root.glob(".auto-heal/.beat-*")) == []


def test_nothing_changes_by_get_and_the_metrics_are_served_as_before(metrics: Metrics, project: Sandbox) -> None:
    assert ask(metrics, f"/beat/backup?token={TOKEN}", BEARER, method="GET") == 405

    assert list(project.root.glob(".auto-heal/.beat-*")) == []
    assert "auto_heal_checks_total" in text(metrics)


def test_without_a_token_in_the_configuration_nobody_may(metrics: Metrics, project: Sandbox) -> None:
    project.configure()

    metrics.reload(load_project(project.root, {}))

    assert ask(metrics, "/beat/backup", BEARER) == 404
    assert ask(metrics, "/beat/backup?token=", {}) == 404


def test_one_name_too_many_and_a_full_disk_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "MOST", 1)
    headers = {**BEARER, "Host": "localhost"}
    receiver = Receiver(tmp_path, TOKEN)
    file = tmp_path / "file"
    file.touch()

    assert receiver.receive("/beat/a", headers) == 200
    assert receiver.receive("/beat/b", headers) == 507
    assert Receiver(file / "folder", TOKEN).receive("/beat/a", headers) == 503
