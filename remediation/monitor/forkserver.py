"""The process that the monitor's cycles are forked from: a pytest session that has collected and waits.

A cycle so pays neither for the start of Python nor for imports nor for collection, and whatever a check does, to its
memory or by `sys.exit`, ends with its own process. Run as `python -m remediation.monitor.forkserver FD ARGUMENTS`;
FD is a socket to the monitor.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import random
import select
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterable
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from remediation.journal.record import Result
from remediation.monitor.child import Child
from remediation.monitor.claims import Claims, groups
from remediation.monitor.cycle import Cycle
from remediation.monitor.messages import (
    Again,
    Begin,
    Channel,
    Finish,
    FromCycle,
    Gather,
    Order,
    Over,
    Ready,
    Report,
    RoundEnded,
    Taken,
)
from remediation.monitor.preload import preload
from remediation.monitor.pulse import FOR_EVER, GRACE, NO_CHECK, SLOTS, Board, Pulse
from remediation.monitor.round import Round
from remediation.monitor.sources import imported_from
from remediation.session.checks import Checks
from remediation.session.handles import prepare, project_of
from remediation.session.patience import heals
from remediation.session.results import hung
from remediation.session.rounds import (
    FAILED,
    HEALED,
    INTERNAL_ERROR,
    PASSED,
    SELECTED_NAME,
    TERMINAL_FD,
    Fork,
)

# In a fork: allocations between two looks for young garbage, and how many of these before one for older.
_GARBAGE = (20_000, 10, 10)


class ForkServer:
    """The plugin that serves in place of pytest's own loop over the checks."""

    def __init__(self, monitor: Channel) -> None:
        """Serve a monitor."""
        self._monitor = monitor
        self._board = Board()
        self._rounds: list[Round] = []
        self._hung: dict[int, list[Result]] = {}
        self._interval = 0.0
        self._finishing = False
        self.is_fork = False
        """Whether this process is no longer the server, but a fork of it."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Do without the workers of xdist, whatever the project's options say: forks are ours to make."""
        if hasattr(config.option, "numprocesses"):
            config.option.numprocesses, config.option.dist, config.option.tx = None, "no", []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Serve until the monitor has enough; in a fork, run the checks that it is for."""
        if session.testsfailed or not session.items:
            # pytest itself says best what is wrong.
            return None
        self._prepare(session)
        mine = self._serve()
        if mine is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            # As far as a process can that must not end its session as if it had run it.
            atexit._run_exitfuncs()  # noqa: SLF001 - there is no public way
            os._exit(0)
        self._run(session, mine)
        return True

    def _prepare(self, session: pytest.Session) -> None:
        """Import what a cycle and its heals need, and tell the monitor that we are ready."""
        config = session.config
        self._project, _, sessions = project_of(config)
        preload(self._project)
        prepare(self._project, sessions)
        self._items = list(session.items)
        checks: Any = config.pluginmanager.get_plugin("auto-heal")
        self._checks: Checks = checks
        self._folder = self._checks.folder
        self._pulse = Pulse(self._board, {item.nodeid: index for index, item in enumerate(self._items)})
        config.pluginmanager.register(self._pulse)
        # Nobody reads what these would print or write down; if pytest itself breaks, it says so on stderr.
        for name in ("terminalreporter", "lfplugin", "nfplugin", "stepwiseplugin"):
            config.pluginmanager.set_blocked(name)
        # Children that are ignored cannot be waited for.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        gc.collect()
        gc.freeze()
        services = sorted({name for item in self._items for name in heals(item)})
        self._monitor.send(Ready(services, imported_from(config.rootpath)))

    # The loop of the server. Whatever may fork returns the round of a fork, and None in the server itself.

    @property
    def _children(self) -> list[Child]:
        return [child for one in self._rounds for child in one.forks if child.code is None]

    def _serve(self) -> Round | None:
        """Fork when asked to; return None at the end."""
        while not self._finishing or self._children:
            self._wait()
            mine = self._hear_monitor() or self._hear_children() or self._help_stalled()
            if mine:
                return mine
            for child in self._children:
                child.end_if_overdue()
        return None

    def _wait(self) -> None:
        """Sleep until something happens; nobody wakes us before a deadline."""
        poll = select.poll()
        if self._monitor.open:
            poll.register(self._monitor, select.POLLIN)
        children = self._children
        for fd in (fd for child in children for fd in child.fds):
            poll.register(fd, select.POLLIN)
        moments = [child.moment for child in children]
        moments += [one.stalls_at(self._board) for one in self._rounds if not self._finishing]
        first = min(moments, default=FOR_EVER)
        poll.poll(None if first == FOR_EVER else max(0.0, first - time.monotonic()) * 1000 + 1)

    def _hear_monitor(self) -> Round | None:
        poll = select.poll()
        poll.register(self._monitor, select.POLLIN)
        for order in self._monitor.receive(Order) if self._monitor.open and poll.poll(0) else ():
            self._monitor.send(Taken())
            if isinstance(order, Begin) and (mine := self._begin(order)):
                return mine
            self._finishing |= isinstance(order, Finish)
        self._finishing |= not self._monitor.open
        if self._finishing:
            self._finish()
        return None

    def _hear_children(self) -> Round | None:
        for one in list(self._rounds):
            for child in list(one.forks):
                if child.code is not None:
                    continue
                # First whether it has ended, then what it said last.
                ended = child.has_ended()
                while child.has_news:
                    for message in child.channel.receive(FromCycle):
                        if mine := self._answer(one, child, message):
                            return mine
                if ended:
                    self._ended(one, child)
        return None

    def _answer(self, one: Round, child: Child, message: FromCycle) -> Round | None:
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
        self._board.finish()
        for one in self._rounds:
            for child in one.forks:
                # A later round belongs to a heal.
                if child.code is None and not one.later and child.only_checks:
                    child.break_off()

    # Rounds.

    def _begin(self, order: Begin) -> Round | None:
        self._interval = order.interval
        wanted, unwanted = None if order.services is None else set(order.services), set(order.without)
        named = ((item, set(heals(item))) for item in self._items)
        items = [item for item, names in named if not names & unwanted and (wanted is None or names & wanted)]
        return self._start(order.number, items, self._folder / f"cycle-{order.number}")

    def _start(
        self, number: int, items: Iterable[pytest.Item], folder: Path, *, asker: Child | None = None
    ) -> Round | None:
        cut = groups(items, self._project.services)
        one = Round(number, cut, Claims(len(cut)), folder, asker, later=asker is not None)
        self._rounds.append(one)
        return self._fork(one)

    def _help_stalled(self) -> Round | None:
        now = time.monotonic()
        for one in self._rounds if not self._finishing else ():
            if now >= one.stalls_at(self._board) and (mine := self._fork(one)):
                return mine
        return None

    def _ended(self, one: Round, child: Child) -> None:
        code = child.code if child.code is not None else INTERNAL_ERROR
        is_cycle = not one.later and child is one.forks[0]
        problem = child.problem
        if child.hung:
            item = self._items[child.check] if child.check != NO_CHECK else None
            problem = f"{item.nodeid if item else 'a heal or the report'} hangs for good"
            self._hung[one.number] = self._hung.get(one.number, []) + (hung(item, problem) if item else [])
        if is_cycle:
            output = "" if one.reported and code in (PASSED, FAILED, HEALED) else child.last_words()
            self._monitor.send(Over(one.number, code, problem, output, self._hung.pop(one.number, [])))
            shutil.rmtree(one.folder, ignore_errors=True)
            self._abandon(one, child)
        child.forget()
        if not is_cycle:
            one.answer_if_over()
        if all(other.code is not None for other in one.forks):
            one.claims.close()
            self._rounds.remove(one)

    def _abandon(self, first: Round, cycle: Child) -> None:
        """End the forks that worked for a cycle which is gone before they are."""
        for one in self._rounds:
            for child in one.running if one is first or one.asker is cycle else ():
                child.end()

    # Forks.

    def _fork(self, one: Round) -> Round | None:
        """Fork for a round; in the fork, return the round."""
        folder = one.folder / f"part-{len(one.forks) + 1}" if one.forks else one.folder
        try:
            child = self._place_for_child()
            folder.mkdir(exist_ok=True)
            if one.forks:
                self._board.help(one.forks[0].slot)
            pid = os.fork()
        except OSError as error:
            # No space, memory, or process to be had. A round that has begun goes on without further help.
            one.is_helpless = True
            if not one.forks:
                self._refuse(one, error.strerror or str(error))
            return None
        if pid == 0:
            self._become_fork(one, child, folder)
            return one
        child.born(pid)
        one.forks.append(child)
        if one.later or len(one.forks) > 1:
            one.folders.append(str(folder))
        return None

    def _place_for_child(self) -> Child:
        slot = next(iter(set(range(SLOTS)) - {child.slot for child in self._children}), None)
        if slot is None:
            raise OSError(f"{SLOTS} processes check already")
        self._board.take(slot, time.monotonic() + GRACE)
        return Child(self._board, slot, self._project)

    def _refuse(self, one: Round, problem: str) -> None:
        """End a round that cannot begin."""
        if one.asker:
            one.asker.channel.send(RoundEnded(INTERNAL_ERROR, []))
        else:
            self._monitor.send(Over(one.number, INTERNAL_ERROR, problem))
        one.claims.close()
        self._rounds.remove(one)

    def _become_fork(self, one: Round, child: Child, folder: Path) -> None:
        """Let go of all that is the fork server's, and take what is ours."""
        self.is_fork = True
        self._monitor.close()
        for other in self._children:
            other.forget()
        channel, slot = child.become(), child.slot
        later = one.later or bool(one.forks)
        # What was opened before the fork is not ours to close.
        atexit._clear()  # noqa: SLF001 - there is no public way
        # All forks would draw the same numbers.
        random.seed()
        # What was there before is frozen, and we do not live long: rarely looking for garbage costs less.
        gc.set_threshold(*_GARBAGE)
        self._pulse.slot = slot
        cycle = Cycle(channel, self._board, slot, one.number)
        fork = Fork(
            one.selected, folder, later, cycle.others, cycle.again, cycle.may_heal, cycle.ended, self._interval
        )  # fmt: skip
        cycle.services = self._checks.begin_anew(fork)

    def _run(self, session: pytest.Session, one: Round) -> None:
        """In a fork: run one group after the other, as pytest's own loop does its items."""
        while (index := one.claims.next()) is not None:
            group = one.groups[index]
            self._board.claim(self._pulse.slot)
            self._checks.claim(group)
            for item, following in zip_longest(group, group[1:]):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.shouldfail:
                    raise session.Failed(session.shouldfail)
                if session.shouldstop:
                    raise session.Interrupted(session.shouldstop)


def main() -> None:
    """Collect and serve; in a fork, end as its session does."""
    # What checks start must not keep the monitor from seeing our end.
    for fd in (int(sys.argv[1]), int(os.environ[TERMINAL_FD])):
        os.set_inheritable(fd, False)
    # In a session of our own, so the terminal's Ctrl+C does not reach us; whoever ends us does so on purpose.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    server = ForkServer(Channel(socket.socket(fileno=int(sys.argv[1]))))
    # Descriptors that capture into a file would be shared by all forks; what they print goes to a file of each.
    try:
        code = int(pytest.main([*sys.argv[2:], "--capture=sys"], plugins=[server]))
    except BaseException:
        if not server.is_fork:
            raise
        # The interpreter's own code for this would be that of checks which fail.
        traceback.print_exc()
        code = INTERNAL_ERROR
    if not server.is_fork:
        sys.exit(code)
    # What a normal exit does beyond this, taking all modules apart, would only cost time.
    atexit._run_exitfuncs()  # noqa: SLF001 - there is no public way
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
