"""The loop of the fork server: it reads messages of the monitor and the forks, forks on request, and ends what hangs.

It also decides which fork runs which checks.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field

from remediation.checks.retries import heals
from remediation.config.model import Project, Service
from remediation.healing.hooks import HealEvent
from remediation.monitor.hook_forks import HookForks
from remediation.monitor.protocol import (
    Again,
    Begin,
    Finish,
    FromCycle,
    Gather,
    Notify,
    Order,
    Over,
    Report,
    RoundEnded,
    Taken,
)  # fmt: skip
from remediation.run.rounds import worst
from remediation.supervision.channel import Channel
from remediation.supervision.child import Child, fork
from remediation.supervision.handover import Handover
from remediation.supervision.heartbeat import FOR_EVER, GRACE, SLOTS, Heartbeats
from remediation.supervision.round_files import SELECTED_NAME
from remediation.system.exit_codes import INTERNAL_ERROR, VERDICTS

if TYPE_CHECKING:
    import pytest

# If all forks of a round stay in the same checks for this long, in seconds, another fork goes on with the rest.
STALLED = 0.2
# Forks of one round. A fork that hangs costs no CPU, but memory.
_MOST_FORKS = 20


class ScheduledRound(Struct):
    """Checks that run now, in one fork or more: the first round of a cycle, or a later one that a cycle requested."""

    number: int
    """The number of the cycle."""
    groups: list[list[pytest.Item]]
    claims: Claims
    folder: Path
    asker: Child | None = None
    """The cycle that waits for this round. In a first round, the cycle waits once it has run its own part."""
    later: bool = False
    forks: list[Child] = field(default_factory=list)
    """All forks. The first one of a first round is the cycle itself."""
    is_helpless: bool = False
    """Whether the system refuses another fork."""
    reported: bool = False
    """Whether the cycle has sent its report."""
    folders: list[str] = field(default_factory=list)
    """Where the forks that a cycle waits for leave their findings."""

    @property
    def selected(self) -> list[str]:
        """The node IDs of the checks."""
        return [item.nodeid for group in self.groups for item in group]

    @property
    def running(self) -> list[Child]:
        """The forks that are still running."""
        return [child for child in self.forks if child.code is None]

    def stalls_at(self, heartbeats: Heartbeats) -> float:
        """Return when another fork should go on with the unclaimed checks, on the monotonic clock."""
        running = self.running
        if self.is_helpless or not running or len(running) >= _MOST_FORKS or not self.claims.left:
            return FOR_EVER
        return max(heartbeats.read(child.slot).claimed for child in running) + STALLED

    def answer_if_over(self) -> None:
        """Answer the waiting cycle if all other forks have ended."""
        others = self.forks if self.later else self.forks[1:]
        codes = [child.code for child in others if child.code is not None]
        if self.asker and len(codes) == len(others):
            self.asker.channel.send(RoundEnded(worst(codes), self.folders))


_INDEX = struct.Struct("H")
# A pipe takes this many at once, pipe(7). All further groups join the last one.
_MOST = 4096 // _INDEX.size


def groups(items: Iterable[pytest.Item], services: Mapping[str, Service]) -> list[list[pytest.Item]]:
    """Divide the checks into groups, each in order. Checks of services that depend on each other stay together.

    This keeps their heals in order, too. A check that heals nothing stays with the checks of its file.
    """
    links = {name: set(service.depends_on) for name, service in services.items()}
    by_leader: dict[str, list[pytest.Item]] = {}
    ordered = [(item, heals(item)) for item in items]
    for _, names in ordered:
        for name in names[1:]:
            links[names[0]].add(name)
    leaders = _leaders(links)
    for item, names in ordered:
        by_leader.setdefault(leaders[names[0]] if names else f"/{item.path}", []).append(item)
    all_groups = list(by_leader.values())
    if len(all_groups) <= _MOST:
        return all_groups
    return [*all_groups[: _MOST - 1], [item for group in all_groups[_MOST - 1 :] for item in group]]


def _leaders(links: Mapping[str, set[str]]) -> dict[str, str]:
    """Return for each name the leader of all names that are linked with it, directly or not."""
    both: dict[str, set[str]] = {name: set(others) for name, others in links.items()}
    for name, others in links.items():
        for other in others:
            both[other].add(name)
    leaders: dict[str, str] = {}
    for name in both:
        pending = [name]
        while pending:
            linked = pending.pop()
            if linked not in leaders:
                leaders[linked] = name
                pending += both[linked]
    return leaders


class Claims:
    """The groups that no fork runs yet, by index. They are in a pipe, so each reader gets different ones."""

    def __init__(self, count: int) -> None:
        """Begin with `count` groups."""
        self._reader, writer = os.pipe()
        os.write(writer, b"".join(map(_INDEX.pack, range(count))))
        os.close(writer)

    def next(self) -> int | None:
        """Claim the next group. Return None if no group is left."""
        data = os.read(self._reader, _INDEX.size)
        return int(_INDEX.unpack(data)[0]) if data else None

    @property
    def left(self) -> bool:
        """Whether a group is left."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        return any(event & select.POLLIN for _, event in poll.poll(0))

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._reader)


# How often the server confirms to the monitor that it is running, in seconds.
_CONFIRM_EVERY = 5.0


class Server:
    """Serves one monitor. Methods that may fork return the round in the fork, and None in the server itself."""

    def __init__(
        self,
        monitor: Channel,
        heartbeats: Heartbeats,
        *,
        project: Project,
        items: Sequence[pytest.Item],
        folder: Path,
        become: Callable[[ScheduledRound, Child, Path, bool], None],
        notify: Callable[[HealEvent], None],
    ) -> None:
        """Fork for the checks `items`. Each cycle has a place in `folder`, and each fork calls `become`.

        `notify` tells the project's hooks of an event.
        """
        self._monitor = monitor
        self._heartbeats = heartbeats
        self._project = project
        self._items = items
        self._folder = folder
        self._become = become
        self._rounds: list[ScheduledRound] = []
        self._hook_forks = HookForks(notify, self.close_in_fork)
        self._finishing = False
        self._confirmed_at = 0.0
        self.interval = 0.0
        """Seconds from one cycle of the monitor to the next."""

    @property
    def _children(self) -> list[Child]:
        return [child for round_ in self._rounds for child in round_.forks if child.code is None]

    def serve(self) -> ScheduledRound | None:
        """Fork on request. Return None at the end."""
        while True:
            # Before the first wait, too: the monitor may be gone already, and then nothing would ever wake the server.
            forked = self._read_monitor() or self._read_children() or self._help_stalled()
            if forked:
                return forked
            for child in self._children:
                child.end_if_overdue()
            if not self._hook_forks.attend() and self._finishing and not self._children:
                return None
            self._confirm_running()
            self._wait()

    def _confirm_running(self) -> None:
        """While forks are at work, confirm to the monitor at intervals that this server supervises them."""
        now = time.monotonic()
        if self._children and now >= self._confirmed_at + _CONFIRM_EVERY:
            self._confirmed_at = now
            self._monitor.send(Taken())

    def _wait(self) -> None:
        """Sleep until a message arrives, a fork ends, or a deadline passes."""
        poll = select.poll()
        if self._monitor.open:
            poll.register(self._monitor, select.POLLIN)
        children = self._children
        for fd in (fd for child in children for fd in child.fds):
            poll.register(fd, select.POLLIN)
        moments = [child.moment for child in children]
        moments += [moment for moment in [self._hook_forks.moment] if moment]
        moments += [round_.stalls_at(self._heartbeats) for round_ in self._rounds if not self._finishing]
        first = min(moments, default=FOR_EVER)
        poll.poll(None if first == FOR_EVER else max(0.0, first - time.monotonic()) * 1000 + 1)

    def _read_monitor(self) -> ScheduledRound | None:
        for order in self._monitor.receive(Order) if self._monitor.has_news else ():
            self._monitor.send(Taken())
            if isinstance(order, Begin) and (forked := self._begin(order)):
                return forked
            if isinstance(order, Notify):
                self._hook_forks.tell(order.event)
            self._finishing |= isinstance(order, Finish)
        self._finishing |= not self._monitor.open
        if self._finishing:
            self._finish()
        return None

    def _read_children(self) -> ScheduledRound | None:
        for round_ in list(self._rounds):
            for child in list(round_.forks):
                if child.code is not None:
                    continue
                # In this order, so that no last message is lost.
                ended = child.has_ended()
                while child.channel.has_news:
                    for message in child.channel.receive(FromCycle):
                        if forked := self._answer(round_, child, message):
                            return forked
                if ended and (forked := self._ended(round_, child)):
                    return forked
        return None

    def _answer(self, round_: ScheduledRound, child: Child, message: FromCycle) -> ScheduledRound | None:
        match message:
            case Again(folder):
                wanted = set(json.loads((Path(folder) / SELECTED_NAME).read_bytes()))
                items = [item for item in self._items if item.nodeid in wanted]
                return self._start(round_.number, items, Path(folder), asker=child)
            case Gather():
                round_.asker = child
                round_.answer_if_over()
            case _:
                round_.reported |= isinstance(message, Report)
                self._monitor.send(message)
        return None

    def _finish(self) -> None:
        """Allow no more heals, and interrupt forks that only check. A heal under way continues to its end."""
        self._heartbeats.finish()
        for round_ in self._rounds:
            for child in round_.forks:
                # A later round belongs to a heal.
                if child.code is None and not round_.later and child.only_checks:
                    child.interrupt()

    # Rounds.

    def _begin(self, order: Begin) -> ScheduledRound | None:
        self.interval = order.interval
        included, excluded = None if order.services is None else set(order.services), set(order.without)
        named = ((item, set(heals(item))) for item in self._items)
        items = [item for item, names in named if not names & excluded and (included is None or names & included)]
        return self._start(order.number, items, self._folder / f"cycle-{order.number}")

    def _start(
        self, number: int, items: Iterable[pytest.Item], folder: Path, *, asker: Child | None = None
    ) -> ScheduledRound | None:
        in_groups = groups(items, self._project.services)
        round_ = ScheduledRound(number, in_groups, Claims(len(in_groups)), folder, asker, later=asker is not None)
        self._rounds.append(round_)
        return self._fork(round_)

    def _help_stalled(self) -> ScheduledRound | None:
        now = time.monotonic()
        for round_ in self._rounds if not self._finishing else ():
            if now >= round_.stalls_at(self._heartbeats) and (forked := self._fork(round_)):
                return forked
        return None

    def _ended(self, round_: ScheduledRound, child: Child) -> ScheduledRound | None:
        """Handle the end of a fork. If it ended in the middle of a check, another fork takes over."""
        if not self._finishing and (
            handover := child.handover.after(child.log.read(), child.death, self._project.root)
        ):
            return self._fork(round_, replaces=child, handover=handover)
        code = child.code if child.code is not None else INTERNAL_ERROR
        is_cycle = not round_.later and child is round_.forks[0]
        problem = "a heal or the report hangs for good" if child.hung else child.problem
        if is_cycle:
            output = "" if round_.reported and code in VERDICTS else child.last_output()
            self._monitor.send(Over(round_.number, code, problem, output))
            shutil.rmtree(round_.folder, ignore_errors=True)
            self._abandon(round_, child)
        child.close()
        if not is_cycle:
            round_.answer_if_over()
        if all(other.code is not None for other in round_.forks):
            round_.claims.close()
            self._rounds.remove(round_)
        return None

    def _abandon(self, first: ScheduledRound, cycle: Child) -> None:
        """End the forks that outlive their cycle."""
        for round_ in self._rounds:
            for child in round_.running if round_ is first or round_.asker is cycle else ():
                child.end()

    # Forks.

    def _fork(
        self, round_: ScheduledRound, *, replaces: Child | None = None, handover: Handover | None = None
    ) -> ScheduledRound | None:
        """Fork for a round, or with a `handover` from the fork that this one replaces. Return the round in the fork."""
        number = round_.forks.index(replaces) if replaces else len(round_.forks)
        folder = round_.folder / f"part-{number + 1}" if number else round_.folder
        # Read before another fork takes the slot.
        is_helped = replaces is not None and self._heartbeats.read(replaces.slot).helped
        try:
            child = self._make_child(handover or Handover())
            folder.mkdir(exist_ok=True)
            if number and not replaces:
                self._heartbeats.help(round_.forks[0].slot)
            if replaces:
                replaces.close()
            if is_helped:
                self._heartbeats.help(child.slot)
            pid = fork()
        except OSError as error:
            # No disk space, memory or process is available. A round that has begun continues without further help.
            round_.is_helpless = True
            if not round_.forks or replaces:
                self._refuse(round_, error.strerror or str(error))
            return None
        if pid == 0:
            self._become(round_, child, folder, round_.later or number > 0)
            return round_
        child.watch(pid)
        if replaces:
            round_.forks[number] = child
            return None
        round_.forks.append(child)
        if round_.later or len(round_.forks) > 1:
            round_.folders.append(str(folder))
        return None

    def _make_child(self, handover: Handover) -> Child:
        slot = next(iter(set(range(SLOTS)) - {child.slot for child in self._children}), None)
        if slot is None:
            raise OSError(f"{SLOTS} processes check already")
        self._heartbeats.take(slot, time.monotonic() + GRACE)
        return Child(self._heartbeats, slot, self._project, handover, is_separate=True)

    def _refuse(self, round_: ScheduledRound, problem: str) -> None:
        """End a round that cannot begin."""
        if round_.asker:
            round_.asker.channel.send(RoundEnded(INTERNAL_ERROR, []))
        else:
            self._monitor.send(Over(round_.number, INTERNAL_ERROR, problem))
        round_.claims.close()
        self._rounds.remove(round_)

    def close_in_fork(self) -> None:
        """Close the server's descriptors, in a fork."""
        self._monitor.close()
        for child in self._children:
            child.close()
