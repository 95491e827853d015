"""The loop of the fork server: hear the monitor and the forks, fork when asked to, end what hangs."""

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
from remediation.monitor.protocol import (
    Again,
    Begin,
    Finish,
    FromCycle,
    Gather,
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

# When all forks of a round have been at the same checks for so long, in seconds, another one goes on with the rest.
STALLED = 0.2
# Forks of one round; one that hangs costs no CPU, but memory.
_MOST_FORKS = 20


class ScheduledRound(Struct):
    """Checks that run now, in one fork or more; a cycle's first round, or a later one that it asked for."""

    number: int
    """That of the cycle."""
    groups: list[list[pytest.Item]]
    claims: Claims
    folder: Path
    asker: Child | None = None
    """The cycle that waits for it; of a first round, once it has run its own part."""
    later: bool = False
    forks: list[Child] = field(default_factory=list)
    """All of them, the first one of a first round being the cycle itself."""
    is_helpless: bool = False
    """Whether no further fork can be had for it."""
    reported: bool = False
    """Whether it has told how it ended."""
    folders: list[str] = field(default_factory=list)
    """Where those that somebody waits for leave what they find."""

    @property
    def selected(self) -> list[str]:
        """The node IDs of the checks."""
        return [item.nodeid for group in self.groups for item in group]

    @property
    def running(self) -> list[Child]:
        """The forks that have not ended."""
        return [child for child in self.forks if child.code is None]

    def stalls_at(self, heartbeats: Heartbeats) -> float:
        """Return when another fork should go on with what nobody has claimed, on the monotonic clock."""
        running = self.running
        if self.is_helpless or not running or len(running) >= _MOST_FORKS or not self.claims.left:
            return FOR_EVER
        return max(heartbeats.read(child.slot).claimed for child in running) + STALLED

    def answer_if_over(self) -> None:
        """Answer the cycle that waits for the others, if they have all ended."""
        others = self.forks if self.later else self.forks[1:]
        codes = [child.code for child in others if child.code is not None]
        if self.asker and len(codes) == len(others):
            self.asker.channel.send(RoundEnded(worst(codes), self.folders))


_INDEX = struct.Struct("H")
# As many as a pipe takes at once, pipe(7); what is more joins the last.
_MOST = 4096 // _INDEX.size


def groups(items: Iterable[pytest.Item], services: Mapping[str, Service]) -> list[list[pytest.Item]]:
    """Return the checks in groups, each in order: together stay those of services that depend on each other.

    So their heals are in order too. A check that heals nothing stays with those of its file.
    """
    links = {name: set(service.depends_on) for name, service in services.items()}
    found: dict[str, list[pytest.Item]] = {}
    ordered = [(item, heals(item)) for item in items]
    for _, names in ordered:
        for name in names[1:]:
            links[names[0]].add(name)
    leaders = _leaders(links)
    for item, names in ordered:
        found.setdefault(leaders[names[0]] if names else f"/{item.path}", []).append(item)
    cut = list(found.values())
    return [*cut[: _MOST - 1], [item for group in cut[_MOST - 1 :] for item in group]] if len(cut) > _MOST else cut


def _leaders(links: Mapping[str, set[str]]) -> dict[str, str]:
    """Return for each name one that stands for all that are linked, directly or not."""
    both: dict[str, set[str]] = {name: set(others) for name, others in links.items()}
    for name, others in links.items():
        for other in others:
            both[other].add(name)
    leaders: dict[str, str] = {}
    for name in both:
        pending = [name]
        while pending:
            one = pending.pop()
            if one not in leaders:
                leaders[one] = name
                pending += both[one]
    return leaders


class Claims:
    """The groups that nobody runs yet, by index; a pipe, of which each reader gets another part."""

    def __init__(self, count: int) -> None:
        """Begin with all of them."""
        self._reader, writer = os.pipe()
        os.write(writer, b"".join(map(_INDEX.pack, range(count))))
        os.close(writer)

    def next(self) -> int | None:
        """Claim the next group; None if there is none left."""
        data = os.read(self._reader, _INDEX.size)
        return int(_INDEX.unpack(data)[0]) if data else None

    @property
    def left(self) -> bool:
        """Whether there is one left."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        return any(event & select.POLLIN for _, event in poll.poll(0))

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self._reader)


# How often the monitor is told that this process goes on, in seconds.
_STILL_HERE = 5.0


class Server:
    """Serves one monitor. Whatever may fork returns the round of a fork there, and None in the server itself."""

    def __init__(
        self,
        monitor: Channel,
        heartbeats: Heartbeats,
        *,
        project: Project,
        items: Sequence[pytest.Item],
        folder: Path,
        become: Callable[[ScheduledRound, Child, Path, bool], None],
    ) -> None:
        """Fork for the checks `items`, each cycle with a place in `folder`; a fork is told what to `become`."""
        self._monitor = monitor
        self._heartbeats = heartbeats
        self._project = project
        self._items = items
        self._folder = folder
        self._become = become
        self._rounds: list[ScheduledRound] = []
        self._finishing = False
        self._said_at = 0.0
        self.interval = 0.0
        """Seconds from one cycle of the monitor to the next."""

    @property
    def _children(self) -> list[Child]:
        return [child for one in self._rounds for child in one.forks if child.code is None]

    def serve(self) -> ScheduledRound | None:
        """Fork when asked to; return None at the end."""
        while True:
            # Before the first wait, too: the monitor may be gone already, and then nobody would ever wake us.
            mine = self._hear_monitor() or self._hear_children() or self._help_stalled()
            if mine:
                return mine
            for child in self._children:
                child.end_if_overdue()
            if self._finishing and not self._children:
                return None
            self._say_still_here()
            self._wait()

    def _say_still_here(self) -> None:
        """While forks are at work, let the monitor know now and then that somebody looks after them."""
        now = time.monotonic()
        if self._children and now >= self._said_at + _STILL_HERE:
            self._said_at = now
            self._monitor.send(Taken())

    def _wait(self) -> None:
        """Sleep until something happens; nobody wakes us before a deadline."""
        poll = select.poll()
        if self._monitor.open:
            poll.register(self._monitor, select.POLLIN)
        children = self._children
        for fd in (fd for child in children for fd in child.fds):
            poll.register(fd, select.POLLIN)
        moments = [child.moment for child in children]
        moments += [one.stalls_at(self._heartbeats) for one in self._rounds if not self._finishing]
        first = min(moments, default=FOR_EVER)
        poll.poll(None if first == FOR_EVER else max(0.0, first - time.monotonic()) * 1000 + 1)

    def _hear_monitor(self) -> ScheduledRound | None:
        for order in self._monitor.receive(Order) if self._monitor.has_news else ():
            self._monitor.send(Taken())
            if isinstance(order, Begin) and (mine := self._begin(order)):
                return mine
            self._finishing |= isinstance(order, Finish)
        self._finishing |= not self._monitor.open
        if self._finishing:
            self._finish()
        return None

    def _hear_children(self) -> ScheduledRound | None:
        for one in list(self._rounds):
            for child in list(one.forks):
                if child.code is not None:
                    continue
                # First whether it has ended, then what it said last.
                ended = child.has_ended()
                while child.channel.has_news:
                    for message in child.channel.receive(FromCycle):
                        if mine := self._answer(one, child, message):
                            return mine
                if ended and (mine := self._ended(one, child)):
                    return mine
        return None

    def _answer(self, one: ScheduledRound, child: Child, message: FromCycle) -> ScheduledRound | None:
        match message:
            case Again(folder):
                wanted = set(json.loads((Path(folder) / SELECTED_NAME).read_bytes()))
                items = [item for item in self._items if item.nodeid in wanted]
                return self._start(one.number, items, Path(folder), asker=child)
            case Gather():
                one.asker = child
                one.answer_if_over()
            case _:
                one.reported |= isinstance(message, Report)
                self._monitor.send(message)
        return None

    def _finish(self) -> None:
        """Let no heal begin, and break off what only checks; a heal that is under way goes on to its end."""
        self._heartbeats.finish()
        for one in self._rounds:
            for child in one.forks:
                # A later round belongs to a heal.
                if child.code is None and not one.later and child.only_checks:
                    child.break_off()

    # Rounds.

    def _begin(self, order: Begin) -> ScheduledRound | None:
        self.interval = order.interval
        wanted, unwanted = None if order.services is None else set(order.services), set(order.without)
        named = ((item, set(heals(item))) for item in self._items)
        items = [item for item, names in named if not names & unwanted and (wanted is None or names & wanted)]
        return self._start(order.number, items, self._folder / f"cycle-{order.number}")

    def _start(
        self, number: int, items: Iterable[pytest.Item], folder: Path, *, asker: Child | None = None
    ) -> ScheduledRound | None:
        cut = groups(items, self._project.services)
        one = ScheduledRound(number, cut, Claims(len(cut)), folder, asker, later=asker is not None)
        self._rounds.append(one)
        return self._fork(one)

    def _help_stalled(self) -> ScheduledRound | None:
        now = time.monotonic()
        for one in self._rounds if not self._finishing else ():
            if now >= one.stalls_at(self._heartbeats) and (mine := self._fork(one)):
                return mine
        return None

    def _ended(self, one: ScheduledRound, child: Child) -> ScheduledRound | None:
        """Go on after the end of a fork; one that ended in the middle of a check is followed by another one."""
        if not self._finishing and (known := child.known.after(child.log.read(), child.death, self._project.root)):
            return self._fork(one, replaces=child, known=known)
        code = child.code if child.code is not None else INTERNAL_ERROR
        is_cycle = not one.later and child is one.forks[0]
        problem = "a heal or the report hangs for good" if child.hung else child.problem
        if is_cycle:
            output = "" if one.reported and code in VERDICTS else child.last_words()
            self._monitor.send(Over(one.number, code, problem, output))
            shutil.rmtree(one.folder, ignore_errors=True)
            self._abandon(one, child)
        child.forget()
        if not is_cycle:
            one.answer_if_over()
        if all(other.code is not None for other in one.forks):
            one.claims.close()
            self._rounds.remove(one)
        return None

    def _abandon(self, first: ScheduledRound, cycle: Child) -> None:
        """End the forks that worked for a cycle which is gone before they are."""
        for one in self._rounds:
            for child in one.running if one is first or one.asker is cycle else ():
                child.end()

    # Forks.

    def _fork(
        self, one: ScheduledRound, *, replaces: Child | None = None, known: Handover | None = None
    ) -> ScheduledRound | None:
        """Fork for a round, or to take over from a fork of it with what is `known`; in the fork, return the round."""
        number = one.forks.index(replaces) if replaces else len(one.forks)
        folder = one.folder / f"part-{number + 1}" if number else one.folder
        # Before its place is given away.
        is_helped = replaces is not None and self._heartbeats.read(replaces.slot).helped
        try:
            child = self._place_for_child(known or Handover())
            folder.mkdir(exist_ok=True)
            if number and not replaces:
                self._heartbeats.help(one.forks[0].slot)
            if replaces:
                replaces.forget()
            if is_helped:
                self._heartbeats.help(child.slot)
            pid = fork()
        except OSError as error:
            # No space, memory, or process to be had. A round that has begun goes on without further help.
            one.is_helpless = True
            if not one.forks or replaces:
                self._refuse(one, error.strerror or str(error))
            return None
        if pid == 0:
            self._become(one, child, folder, one.later or number > 0)
            return one
        child.born(pid)
        if replaces:
            one.forks[number] = child
            return None
        one.forks.append(child)
        if one.later or len(one.forks) > 1:
            one.folders.append(str(folder))
        return None

    def _place_for_child(self, known: Handover) -> Child:
        slot = next(iter(set(range(SLOTS)) - {child.slot for child in self._children}), None)
        if slot is None:
            raise OSError(f"{SLOTS} processes check already")
        self._heartbeats.take(slot, time.monotonic() + GRACE)
        return Child(self._heartbeats, slot, self._project, known, apart=True)

    def _refuse(self, one: ScheduledRound, problem: str) -> None:
        """End a round that cannot begin."""
        if one.asker:
            one.asker.channel.send(RoundEnded(INTERNAL_ERROR, []))
        else:
            self._monitor.send(Over(one.number, INTERNAL_ERROR, problem))
        one.claims.close()
        self._rounds.remove(one)

    def let_go(self) -> None:
        """In a fork: close what is the server's."""
        self._monitor.close()
        for child in self._children:
            child.forget()
