"""The workers of pytest-xdist, seen from the supervisor, while their session comes and goes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from remediation.config.load import load_project
from remediation.config.model import Project
from remediation.supervision.death import STACK_SIGNAL
from remediation.supervision.heartbeat import Heartbeats
from remediation.supervision.worker_watch import WorkerWatch
from remediation.system.process import Identity


@pytest.fixture
def loaded(tmp_path: Path) -> Project:
    """A project without services that run."""
    (tmp_path / "auto-heal.toml").write_text('[services.api]\nurl = "http://localhost:1"\n', encoding="utf-8")
    return load_project(tmp_path, {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder that a session shares with its workers."""
    folder = tmp_path / "workers"
    folder.mkdir()
    (folder / "board").touch()
    return folder


def test_what_workers_begin_is_counted(loaded: Project, folder: Path) -> None:
    watch = WorkerWatch(folder, loaded)
    (folder / "gw0.log").write_bytes(b"12")
    (folder / "gw1.log").write_bytes(b"345")

    assert watch.begun == 5


def test_a_log_that_the_session_removes_meanwhile_counts_nothing(loaded: Project, folder: Path) -> None:
    watch = WorkerWatch(folder, loaded)
    (folder / "gw0.log").write_bytes(b"12")
    # Listed, but gone when it is opened.
    (folder / "gw1.log").symlink_to(folder / "removed")
    (folder / "gw0.stack").symlink_to(folder / "removed")

    assert watch.begun == 2


def test_a_hung_worker_is_ended_although_the_session_has_removed_the_folder(loaded: Project, folder: Path) -> None:
    watch = WorkerWatch(folder, loaded)
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as worker:
        identity = Identity.of(worker.pid)
        assert identity
        heartbeats = Heartbeats(folder / "board")
        heartbeats.sign(0, identity.pid, identity.born)
        heartbeats.take(0, 0.0)
        for path in (folder / "board", folder):
            path.unlink() if path.is_file() else path.rmdir()

        watch.end_overdue()

        assert os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1]) in {-signal.SIGKILL, -STACK_SIGNAL}
        worker.returncode = 0


def test_a_folder_that_the_session_removes_meanwhile_counts_nothing(
    loaded: Project, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = WorkerWatch(folder, loaded)
    shutil.rmtree(folder)
    # What pathlib's glob asks first, just before the folder goes.
    monkeypatch.setattr(Path, "is_dir", lambda _: True)

    assert watch.begun == 0
