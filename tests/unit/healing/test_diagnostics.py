"""The limits of evidence: no process extends its deadline, and its age and size are limited."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace
from sandbox import Sandbox, wait_for

from remediation.config.load import load_project
from remediation.config.model import EvidenceLimits, Project
from remediation.engines import ownership
from remediation.healing import diagnostics
from remediation.healing.incident import Incident
from remediation.healing.remediator import Remediator
from remediation.state.event_log import EventLog
from remediation.state.evidence_store import Archive
from remediation.state.service_state import ServiceState, Store
from remediation.system.process import Identity
from remediation.system.process_info import vitals


@pytest.fixture
def configured(project: Sandbox) -> Project:
    """Return the project."""
    return load_project(project.root, {})


def test_a_process_that_hangs_in_the_kernel_costs_the_deadline_and_its_own_further_facts(
    configured: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def hangs(identity: Identity) -> Iterator[dict[str, object]]:
        yield {"pid": identity.pid}
        over.wait()
        yield {"late": True}

    monkeypatch.setattr(diagnostics, "vitals", hangs)
    ourselves = Identity.of(os.getpid())
    assert ourselves
    monkeypatch.setattr(ownership, "family", lambda *_: [ourselves])
    monkeypatch.setattr(diagnostics, "_py_spy", lambda: None)
    service = replace(configured.services["api"], evidence_timeout=0.3)
    began = time.monotonic()

    folder = diagnostics.collect(service, ServiceState(), Incident(service, "ill", 0.0, 0), archive=Archive(configured))

    took = time.monotonic() - began
    over.set()
    assert folder
    assert took >= 0.3
    assert json.loads((folder / "processes.json").read_text()) == [{"pid": os.getpid()}]
    assert json.loads((folder / "heal.json").read_text())["missing"] == {"processes.json": "it was not found in time"}
    assert (folder / "machine.json").exists()
    wait_for(lambda: not [one for one in threading.enumerate() if one.name.startswith("evidence-")])


@pytest.mark.usefixtures("either_way")
def test_a_process_that_says_too_much_of_itself_is_cut_short(configured: Project) -> None:
    words = [sys.executable, "-c", "print(1, flush=True); import time; time.sleep(600)", "x" * 100_000]
    environ = {f"NAME_{number}": "y" * 1000 for number in range(100)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environ) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            identity = Identity.of(process.pid)
            assert identity
            facts = {name: value for fact in vitals(identity) for name, value in fact.items()}
        finally:
            process.kill()

    assert configured.services
    assert 10_000 < len(str(facts["command_line"])) < 20_000
    assert len(str(facts["environment_variables"])) < 20_000


def test_a_state_that_was_found_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    ourselves = Identity.of(os.getpid())
    assert ourselves
    monkeypatch.setattr(diagnostics, "vitals", lambda one: iter([{"pid": one.pid}, {"more": [1]}]))

    states = list(diagnostics._processes([ourselves, ourselves]))

    one, more = {"pid": os.getpid()}, {"pid": os.getpid(), "more": [1]}
    assert states == [(one,), (more,), (more, one), (more, more)]


def test_whatever_goes_wrong_with_it_the_service_is_healed(
    project: Sandbox, configured: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(diagnostics, "collect", fails)
    service, told = configured.services["api"], list[str]()
    event_log = EventLog.of(configured, terminal=lambda text, _: told.append(text))
    remediator = Remediator(Store(configured), event_log, record=lambda _: None, origin="check")

    outcome = remediator.heal(Incident(service, "ill", 0.0, 0))

    assert outcome.ok
    assert "No evidence of this: nobody thought of this" in told
    assert project.answers()


def test_a_command_that_cannot_be_ended_is_not_waited_for(configured: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing that a test may do makes a process that outlives SIGKILL; one that is not signalled is as good.
    monkeypatch.setattr(diagnostics, "send", lambda *_: None)
    monkeypatch.setattr("remediation.healing.commands.send", lambda *_: None)
    service = replace(configured.services["api"], evidence_timeout=0.5, evidence=("sleep", "600"))

    folders = [
        diagnostics.collect(service, ServiceState(), Incident(service, "ill", 0.0, 0), archive=Archive(configured))
        for _ in range(2)
    ]

    monkeypatch.undo()
    diagnostics._end_commands(service)
    for folder in folders:
        assert folder
        problem = json.loads((folder / "heal.json").read_text())["missing"]["command.txt"]
        assert problem.endswith(("did not end in time, and cannot be ended", "it was not found in time"))


def test_what_cannot_be_found_is_told(configured: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> Iterator[object]:
        raise ValueError("no such thing")
        yield

    monkeypatch.setattr(diagnostics, "_machine", fails)
    service = configured.services["api"]

    folder = diagnostics.collect(service, ServiceState(), Incident(service, "ill", 0.0, 0), archive=Archive(configured))

    assert folder
    missing = json.loads((folder / "heal.json").read_text())["missing"]
    assert missing["machine.json"] == "ValueError: no such thing"


def with_limits(project: Project, *, days: float = 30.0, megabytes: float = 100.0) -> Archive:
    """Return the project's archive, with these limits."""
    return Archive(replace(project, evidence=EvidenceLimits(days=days, megabytes=megabytes)))


def keep(archive: Archive, service: str = "api", size: int = 10) -> str:
    """Store this many bytes, and return the name of the folder."""
    with archive.new(service) as folder:
        folder.write("a", b"x" * size)
    return folder.path.name


def names(archive: Archive) -> list[str]:
    """Return the names of the stored folders."""
    return sorted(path.name for path in archive.path.iterdir())


def test_heals_of_one_second_have_folders_of_their_own(configured: Project) -> None:
    archive = with_limits(configured)

    kept = [keep(archive) for _ in range(20)]

    assert names(archive) == kept


def test_what_is_older_than_its_days_goes(configured: Project) -> None:
    archive = with_limits(configured, days=2)
    kept = keep(archive)
    for age in (1.9, 2.1, 400):
        stamp = time.strftime("%Y%m%dT%H%M%S.0Z", time.gmtime(time.time() - age * 86_400))
        (archive.path / f"{stamp}-api").mkdir()

    archive.prune()

    assert len(names(archive)) == 2
    assert kept in names(archive)


def test_what_is_too_much_goes_the_oldest_first_but_never_the_newest(configured: Project) -> None:
    archive = with_limits(configured, megabytes=1)
    old = [keep(archive, size=400_000) for _ in range(3)]

    newest = keep(archive, size=2_000_000)

    assert names(archive) == [newest]
    assert newest not in old
    archive.prune()
    assert names(archive) == [newest]


def test_what_others_put_there_is_no_obstacle(configured: Project, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    archive = with_limits(configured, days=1)
    keep(archive)
    old = archive.path / "20200101T000000.0Z-api"
    old.mkdir()
    (old / "link").symlink_to(outside / "file")
    (archive.path / "20200101T000001.0Z-api").symlink_to(outside)
    (archive.path / "20200101T000002.0Z-api").mkdir()
    (archive.path / "20200101T000002.0Z-api" / "folder").mkdir()
    (archive.path / "20200101T000003.0Z-file").write_text("mine")
    (archive.path / "notes").mkdir()

    archive.prune()

    assert not old.exists()
    assert (archive.path / "notes").exists()
    assert (outside / "file").read_text() == "mine"


def test_what_could_not_be_written_to_its_end_is_removed(configured: Project) -> None:
    archive = with_limits(configured)

    with suppress(OSError), archive.new("api") as folder:
        folder.write("a", b"x")
        raise OSError(28, "No space left on device")

    assert names(archive) == []


def test_nothing_is_made_where_nothing_was_kept(configured: Project) -> None:
    with_limits(configured).prune()

    assert not configured.state_folder.exists()
