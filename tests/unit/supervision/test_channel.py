"""The messages between forks and their server: none is lost or torn, even if one side is gone."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediation.checks.heartbeat_plugin import deadline_of
from remediation.monitor.protocol import (
    Again,
    Begin,
    Finish,
    FromCycle,
    Healing,
    News,
    Order,
    Over,
    Ready,
    Report,
    RoundEnded,
)
from remediation.state.records import CheckOutcome, Result, Run
from remediation.state.remediation import Remediation, RemediationResult
from remediation.supervision.channel import Channel
from remediation.supervision.heartbeat import FOR_EVER, SLOTS, Heartbeats, Phase

RESULT = Result(
    "check", "test_a.py::test_ж", "/api", ["api"], 1.0, CheckOutcome.FAILED, 2.0, None, 0.5, 3, "line\nbreak \x00 ж"
)
RUN = Run(1.0, 2.0, "monitor", "healed", 30.0, [RESULT])
HEALS = [
    Remediation("api", 3.0, "monitor", "cause", "restart", result, "", 1.0, 2.0, number=7, rolled_back=True)
    for result in RemediationResult
]


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    """A channel, and the bare other end of it."""
    ours, its = socket.socketpair()
    with closing(Channel(ours)) as channel, its:
        yield channel, its


# Messages.


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (Begin(1, None, ["web"], 0.5), Order),
        (Begin(2, ["api", "db"], [], 30.0), Order),
        (Finish(), Order),
        (Again("/a folder/ж"), FromCycle),
        (Healing(3, {"api": "line\nbreak"}), FromCycle),
        (Report(4, 1, RUN, HEALS, ["api"]), FromCycle),
        (Report(4, 1, RUN, HEALS, ["api"]), News),
        (Ready(["api"], ["/a.py"]), News),
        (Over(5, -9, "killed by SIGKILL", "last words\n"), News),
        (RoundEnded(0, ["/a"]), RoundEnded),
    ],
)
def test_a_message_arrives_as_it_was_sent(message: Any, kind: Any) -> None:
    ours, its = socket.socketpair()
    with closing(Channel(ours)) as sender, closing(Channel(its)) as receiver:
        sender.send(message)

        assert receiver.receive(kind) == [message]


def test_several_messages_in_one_piece_are_several(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends

    other.sendall(b'{"type":"Finish"}\n{"type":"Begin","number":1,"services":null,"without":[],"interval":1}\n')

    assert channel.receive(Order) == [Finish(), Begin(1, None, [], 1.0)]


def test_a_message_in_several_pieces_is_one(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    received = []

    for piece in (b'{"type":', b'"Finish', b'"}', b'\n{"type":"Finish"}\n{"ty', b'pe":"Finish"}\n'):
        other.sendall(piece)
        received.append(len(channel.receive(Order)))

    assert received == [0, 0, 0, 2, 1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=300), max_size=10), st.integers(1, 200))
def test_wherever_the_pieces_are_cut_the_texts_arrive_whole(texts: list[str], size: int) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    data = b"".join(msgspec.json.encode(Again(text)) + b"\n" for text in texts)
    ours, its = socket.socketpair()
    received: list[str] = []

    with its, closing(Channel(ours)) as receiver:
        for start in range(0, len(data), size):
            its.sendall(data[start : start + size])
            received += [message.folder for message in receiver.receive(FromCycle)]

    assert received == texts


def test_a_message_larger_than_any_buffer_arrives(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    text = "x" * 3_000_000
    with closing(Channel(other.dup())) as sender:
        thread = threading.Thread(target=sender.send, args=(Again(text),))
        thread.start()
        received: list[Any] = []
        while not received:
            received += channel.receive(FromCycle)
        thread.join()

    assert received == [Again(text)]


def test_what_was_said_before_the_end_is_heard_and_then_the_end(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    other.sendall(b'{"type":"Finish"}\n{"type":"Fini')
    other.close()

    heard = channel.receive(Order), channel.open
    end = channel.receive(Order), channel.open

    assert heard == ([Finish()], True)
    assert end == ([], False)


def test_whoever_speaks_to_nobody_is_not_harmed(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    other.close()

    channel.send(Finish())
    channel.send(Finish())

    assert not channel.open


# The board.


def in_a_fork(deed: Any) -> None:
    """Do something in a fork, and wait for its end."""
    pid = os.fork()
    if pid == 0:
        try:
            deed()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def said(heartbeats: Heartbeats, slot: int) -> tuple[float, float, Phase]:
    place = heartbeats.read(slot)
    return place.deadline, place.limit, place.phase


def test_what_a_fork_writes_is_read_by_its_parent_and_the_other_way_round() -> None:
    heartbeats = Heartbeats()
    heartbeats.take(3, 10.0)
    heartbeats.take(4, 20.0)

    in_a_fork(lambda: heartbeats.put(3, 30.0, Phase.HEAL, 5.0))
    in_a_fork(lambda: heartbeats.finish() if heartbeats.read(4).deadline == 20.0 else None)

    assert said(heartbeats, 3) == (30.0, 5.0, Phase.HEAL)
    assert said(heartbeats, 4) == (20.0, 0.0, Phase.OUTSIDE)
    assert heartbeats.finishing


def test_every_place_is_its_own() -> None:
    heartbeats = Heartbeats()

    for slot in range(SLOTS):
        heartbeats.take(slot, float(slot))
        heartbeats.put(slot, float(slot), Phase(slot % len(Phase)), slot / 2)
        heartbeats.sign(slot, slot, f"boot/{slot}")

    assert [said(heartbeats, slot) for slot in range(SLOTS)] == [
        (float(slot), slot / 2, Phase(slot % len(Phase))) for slot in range(SLOTS)
    ]
    assert [heartbeats.signed(slot) for slot in range(SLOTS)] == [(slot, f"boot/{slot}") for slot in range(SLOTS)]
    assert not heartbeats.finishing


def test_a_place_that_is_taken_again_knows_nothing_of_the_one_before() -> None:
    heartbeats = Heartbeats()
    heartbeats.take(1, 10.0)
    heartbeats.help(1)
    heartbeats.acknowledge(1)
    heartbeats.put(1, FOR_EVER, Phase.HEAL, 5.0)
    helped = heartbeats.read(1).helped

    before = time.monotonic()
    heartbeats.take(1, 20.0)

    place = heartbeats.read(1)
    assert helped
    assert (place.deadline, place.phase, place.heals, place.helped) == (20.0, Phase.OUTSIDE, False, False)
    assert not heartbeats.has_acknowledged(1)
    assert before <= place.claimed <= time.monotonic()


@pytest.mark.parametrize(
    ("marker", "option", "expected"),
    [
        (pytest.mark.timeout(5), None, 5.0),
        (pytest.mark.timeout(timeout=7), None, 7.0),
        (pytest.mark.timeout(5, method="signal"), 60.0, 5.0),
        (None, 60.0, 60.0),
        (None, None, FOR_EVER),
        (None, 0, FOR_EVER),
        (pytest.mark.timeout(0), 60.0, FOR_EVER),
    ],
)
def test_a_phase_may_take_as_long_as_its_deadline_allows(marker: Any, option: Any, expected: float) -> None:
    config = SimpleNamespace(getoption=lambda _name, _default: option)
    item: Any = SimpleNamespace(get_closest_marker=lambda _name: marker and marker.mark, config=config)

    assert deadline_of(item) == expected
