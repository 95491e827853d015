"""The memory that sessions share with their supervisor."""

from __future__ import annotations

import multiprocessing
import time

from remediation.supervision.heartbeat import Heartbeats, Phase


def _beat(heartbeats: Heartbeats, until: float) -> None:
    while time.monotonic() < until:
        for _ in range(1000):
            heartbeats.put(1, 5.0, Phase.SETUP, 11.0)


def test_a_supervisor_reads_no_heartbeat_that_is_half_written() -> None:
    heartbeats = Heartbeats()
    heartbeats.put(1, 5.0, Phase.SETUP, 11.0)
    session = multiprocessing.get_context("fork").Process(target=_beat, args=(heartbeats, time.monotonic() + 0.3))
    session.start()

    read = set()
    while session.is_alive():
        heartbeat = heartbeats.read(1)
        read.add((heartbeat.deadline, heartbeat.limit, heartbeat.phase))
    session.join()

    # A deadline of 0 would be over: a session that is well would be killed as one that hangs.
    assert read == {(5.0, 11.0, Phase.SETUP)}
