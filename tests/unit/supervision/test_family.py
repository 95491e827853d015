"""The processes of a group and of a child, and that those of another user are left alone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import psutil
import pytest
from sandbox import Sandbox, wait_for

from remediation.config.load import load_project
from remediation.supervision.child import Child
from remediation.supervision.handover import Handover
from remediation.supervision.heartbeat import Heartbeats
from remediation.system.process import Identity, group


@pytest.fixture
def leader() -> Iterator[tuple[subprocess.Popen[bytes], psutil.Process]]:
    """A process that leads a group, and one that belongs to it."""
    command = ["sh", "-c", "sleep 600 & echo $!; exec sleep 600"]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE) as leading:
        assert leading.stdout is not None
        member = psutil.Process(int(leading.stdout.readline()))
        try:
            yield leading, member
        finally:
            leading.kill()
            member.kill()


def test_a_group_has_its_leader_and_its_members_and_nobody_else(
    leader: tuple[subprocess.Popen[bytes], psutil.Process],
) -> None:
    assert {identity.pid for identity in group(leader[0].pid)} == {process.pid for process in leader}


def test_a_group_whose_leader_ended_has_its_members(leader: tuple[subprocess.Popen[bytes], psutil.Process]) -> None:
    leading, member = leader
    leading.kill()
    wait_for(lambda: Identity.of(leading.pid) is None)

    assert [identity.pid for identity in group(leading.pid)] == [member.pid]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_a_process_of_another_user_is_left_alone(project: Sandbox) -> None:
    reader, writer = os.pipe()
    child = Child(Heartbeats(), 0, load_project(project.root, {}), Handover(), is_separate=True)
    pid = os.fork()
    if pid == 0:
        child.become()
        started = subprocess.Popen(["sleep", "600"], user=65_534, stdout=subprocess.DEVNULL)
        os.write(writer, f"{started.pid}\n".encode())
        os._exit(0)
    child.watch(pid)
    with os.fdopen(reader) as told:
        other = psutil.Process(int(told.readline()))
    try:
        wait_for(child.has_ended)

        assert child.code == 0
        assert other.status() != psutil.STATUS_ZOMBIE
    finally:
        other.kill()
        os.close(writer)
        child.close()
