"""Files and processes of another user, seen by a user who may not write or end them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from other_user import NOBODY, as_nobody, give_away, open_project
from sandbox import Sandbox


@pytest.fixture
def project() -> Iterator[Sandbox]:
    """A project in a folder that everyone may enter, with files that belong to root."""
    for made in open_project():
        made.configure(top="retries = 1")
        yield made


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("remediation", "check"), 3), (("pytest", "healthtests"), 3), (("remediation", "monitor"), 3),
        (("remediation", "start"), 1), (("remediation", "stop"), 1), (("remediation", "pause"), 1),
    ],
)  # fmt: skip
def test_in_another_users_project_nothing_is_done_and_the_reason_told(
    project: Sandbox, words: tuple[str, str], code: int
) -> None:
    assert project.auto_heal("start").code == 0
    before = project.servers()

    result = as_nobody(project, *words)

    assert result.code == code, result
    assert "Permission denied" in result.output
    assert "Traceback" not in result.output
    assert project.servers() == before


def test_another_users_files_in_a_folder_of_ours_are_replaced_or_named(project: Sandbox) -> None:
    give_away(project)
    (project.root / ".auto-heal").mkdir()
    os.chown(project.root / ".auto-heal", NOBODY, NOBODY)
    files = [".api-server.pid", "auto-heal.log", ".auto-heal/api.json", ".auto-heal/history.db", "reports/health.xml"]
    for name in files:
        project.write(name, "").chmod(0o600)
    os.chown(project.root / "reports", NOBODY, NOBODY)

    result = as_nobody(project, "remediation", "check")

    assert result.code == 0, result
    assert "cannot write" in result.output
    assert "auto-heal.log: Permission denied" in result.output
    assert "Not recorded: " in result.output
    assert project.answers()
    assert project.property("verdict") == "healed"
    assert (project.root / "auto-heal.log").read_bytes() == b""


@pytest.mark.parametrize("name", ["api-server.log", ".auto-heal/api.lock"])
def test_a_log_or_lock_of_another_user_keeps_the_service_from_being_healed_and_is_named(
    project: Sandbox, name: str
) -> None:
    give_away(project)
    (project.root / ".auto-heal").mkdir()
    os.chown(project.root / ".auto-heal", NOBODY, NOBODY)
    project.write(name, "").chmod(0o600)

    result = as_nobody(project, "remediation", "check")

    assert result.code == 1, result
    assert name in result.output
    assert "Permission denied" in result.output
    assert project.family() == []


def test_a_service_of_another_user_is_neither_ended_nor_started_twice(project: Sandbox) -> None:
    assert project.auto_heal("start").code == 0
    before = project.servers()
    project.get("/fall-ill/errors")
    shutil.rmtree(project.root / ".auto-heal")
    (project.root / "auto-heal.log").unlink()
    (project.root / ".api-server.pid").chmod(0o644)
    give_away(project)

    result = as_nobody(project, "remediation", "check")

    assert result.code == 1, result
    assert f"port {project.port} is held by " in result.output
    assert project.servers() == before


@pytest.mark.parametrize("words", [("remediation", "check"), ("pytest", "healthtests")])
def test_without_processes_to_be_had_nothing_is_healed_and_the_reason_told(
    project: Sandbox, words: tuple[str, str]
) -> None:
    give_away(project)

    result = as_nobody(project, *words, nproc="1")

    assert result.code in (1, 3), result
    assert "Resource temporarily unavailable" in result.output or "can't start new thread" in result.output
    assert project.family() == []
