"""The process that the monitor's cycles are forked from: a pytest session that has collected and waits.

A cycle so pays neither for the start of Python nor for imports nor for collection, and whatever a check does, to its
memory or by `sys.exit`, ends with its own process. Run as `python -m remediation.monitor.forkserver FD ARGUMENTS`;
FD is a socket to the monitor.
"""

from __future__ import annotations

import atexit
import gc
import os
import random
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from remediation.monitor.cycle import Cycle
from remediation.monitor.family import end_family
from remediation.monitor.messages import Again, Begin, Channel, Finish, FromCycle, Order, Over, Ready, RoundEnded
from remediation.monitor.preload import preload
from remediation.monitor.pulse import FOR_EVER, GRACE, SLOTS, Board, Pulse
from remediation.session.handles import prepare, project_of
from remediation.session.patience import heals
from remediation.session.rounds import FAILED, HEALED, INTERNAL_ERROR, PASSED, Fork

# In a fork: allocations between two looks for young garbage, and how many of these before one for older.
_GARBAGE = (20_000, 10, 10)
# How long a cycle that is broken off has to tear its fixtures down.
_TEARDOWN = 2.0
# The end of what a broken cycle printed, in bytes.
_OUTPUT = 4_000


@dataclass(frozen=True, slots=True)
class _Errand:
    """What a fork is for."""

    number: int
    """The number of its cycle."""
    services: list[str] | None
    folder: Path | None = None
    """Where a round leaves what it finds; None for a cycle."""


@dataclass(slots=True)
class _Child:
    """A fork: a cycle, or a round that a cycle asked for."""

    pid: int
    slot: int
    number: int
    channel: Channel
    pidfd: int | None
    output: IO[bytes]
    asker: _Child | None = None
    """The cycle that waits for this round."""
    problem: str = ""
    killed_at: float | None = None


class ForkServer:
    """The plugin that serves in place of pytest's own loop over the checks."""

    def __init__(self, monitor: Channel) -> None:
        """Serve a monitor."""
        self._monitor = monitor
        self._board = Board()
        self._children: list[_Child] = []
        self._interval = 0.0
        self.cycle: Cycle | None = None
        """What this process does, once it is a fork."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Serve until the monitor has enough; in a fork, let the checks run that it is for."""
        if session.testsfailed or not session.items:
            # pytest itself says best what is wrong.
            return
        self._prepare(session)
        if not self._serve(session):
            plugin = session.config.pluginmanager.get_plugin("auto-heal-files")
            shutil.rmtree(plugin.folder, ignore_errors=True) if plugin else None
            os._exit(0)

    def _prepare(self, session: pytest.Session) -> None:
        """Import what a cycle and its heals need, and tell the monitor that we are ready."""
        project, _, sessions = project_of(session.config)
        preload(project)
        prepare(project, sessions)
        services = sorted({name for item in session.items for name in heals(item)})
        plugins = session.config.pluginmanager
        self._pulse = Pulse(self._board, {item.nodeid: index for index, item in enumerate(session.items)})
        plugins.register(self._pulse)
        # Nobody reads what these would print or write down; if pytest itself breaks, it says so on stderr.
        for name in ("terminalreporter", "lfplugin", "nfplugin", "stepwiseplugin"):
            plugins.set_blocked(name)
        gc.collect()
        gc.freeze()
        self._monitor.send(Ready(services, _own_files(session.config.rootpath)))

    # The loop.

    def _serve(self, session: pytest.Session) -> bool:
        """Fork when asked to, and return whether we are such a fork; False at the end."""
        finishing = False
        while not finishing or self._children:
            for fd in self._wait():
                if fd == self._monitor.fileno():
                    for order in self._monitor.receive(Order):
                        if isinstance(order, Begin) and self._begin(session, order):
                            return True
                        finishing |= isinstance(order, Finish)
                    finishing |= not self._monitor.open
                    if finishing:
                        self._finish()
                elif (child := self._child_at(fd)) and self._attend(session, child):
                    return True
            self._reap()
            self._end_hung(session)
        return False

    def _wait(self) -> list[int]:
        """Return the descriptors at which something happened; nobody wakes us before a deadline."""
        poll = select.poll()
        if self._monitor.open:
            poll.register(self._monitor, select.POLLIN)
        moments = []
        for child in self._children:
            if child.channel.open:
                poll.register(child.channel, select.POLLIN)
            if child.pidfd is not None:
                poll.register(child.pidfd, select.POLLIN)
            moments.append(child.killed_at + _TEARDOWN if child.killed_at else self._board.read(child.slot)[0])
            if child.pidfd is None or not child.channel.open:
                # Without a pidfd, the end of its channel is the first sign of its end.
                moments.append(time.monotonic() + (FOR_EVER if child.channel.open or child.pidfd else 0.02))
        first = min(moments, default=FOR_EVER)
        timeout = None if first == FOR_EVER else max(0.0, first - time.monotonic()) * 1000 + 1
        return [fd for fd, _ in poll.poll(timeout)]

    def _child_at(self, fd: int) -> _Child | None:
        return next((child for child in self._children if child.channel.open and child.channel.fileno() == fd), None)

    def _attend(self, session: pytest.Session, child: _Child) -> bool:
        """Do what a cycle asks for, and hand on to the monitor what it says; return whether we are a fork now."""
        for message in child.channel.receive(FromCycle):
            if not isinstance(message, Again):
                self._monitor.send(message)
            elif self._fork(session, _Errand(child.number, None, Path(message.folder)), asker=child):
                return True
        return False

    # Forks.

    def _begin(self, session: pytest.Session, order: Begin) -> bool:
        self._interval = order.interval
        return self._fork(session, _Errand(order.number, order.services))

    def _fork(self, session: pytest.Session, errand: _Errand, asker: _Child | None = None) -> bool:
        """Fork, and return whether we are the fork."""
        slot = next(iter(set(range(SLOTS)) - {child.slot for child in self._children}), None)
        if slot is None:
            self._monitor.send(Over(errand.number, INTERNAL_ERROR, problem=f"{SLOTS} cycles are under way"))
            return False
        self._board.put(slot, time.monotonic() + GRACE)
        ours, its = socket.socketpair()
        output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the fork has ended
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become_fork(session, errand, Channel(its), slot, output)
            return True
        its.close()
        pidfd = None
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):
                pidfd = os.pidfd_open(pid)
        self._children.append(_Child(pid, slot, errand.number, Channel(ours), pidfd, output, asker))
        return False

    def _become_fork(
        self, session: pytest.Session, errand: _Errand, channel: Channel, slot: int, output: IO[bytes]
    ) -> None:
        """Let go of all that is the fork server's, and take what is ours."""
        self._monitor.close()
        for child in self._children:
            child.channel.close()
            child.output.close()
            if child.pidfd is not None:
                os.close(child.pidfd)
        self._children = []
        # All forks would draw the same numbers.
        random.seed()
        # What was there before is frozen, and we do not live long: rarely looking for garbage costs less.
        gc.set_threshold(*_GARBAGE)
        config = session.config
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        output.close()
        self.cycle = Cycle(channel, self._board, slot, errand.number)
        self._pulse.slot = slot
        fork = Fork(
            self.cycle.again, self.cycle.may_heal, self.cycle.ended,
            services=errand.services, folder=errand.folder, interval=self._interval,
        )  # fmt: skip
        checks: Any = config.pluginmanager.get_plugin("auto-heal")
        self.cycle.services = checks.begin_anew(session, fork)

    # Ends.

    def _reap(self) -> None:
        for child in list(self._children):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if not pid:
                continue
            self._children.remove(child)
            # What it said last may not have been read yet.
            if child.channel.open:
                self._hand_on_the_rest(child)
            code = os.waitstatus_to_exitcode(status)
            if child.asker:
                child.asker.channel.send(RoundEnded(code))
            else:
                self._monitor.send(Over(child.number, code, child.problem or _killed(code), _end_of(child, code)))
            child.channel.close()
            child.output.close()
            if child.pidfd is not None:
                os.close(child.pidfd)

    def _hand_on_the_rest(self, child: _Child) -> None:
        poll = select.poll()
        poll.register(child.channel, select.POLLIN)
        while child.channel.open and poll.poll(0):
            for message in child.channel.receive(FromCycle):
                if not isinstance(message, Again):
                    self._monitor.send(message)

    def _end_hung(self, session: pytest.Session) -> None:
        now = time.monotonic()
        for child in self._children:
            deadline, index, _ = self._board.read(child.slot)
            if child.killed_at is not None and now >= child.killed_at + _TEARDOWN:
                end_family(child.pid)
            elif child.killed_at is None and now >= deadline:
                where = session.items[index].nodeid if index >= 0 else "a heal or the report"
                child.problem = f"{where} hangs for good"
                end_family(child.pid)
                self._board.put(child.slot, FOR_EVER)

    def _finish(self) -> None:
        """Let no heal begin, and break off what only checks; a heal that is under way goes on to its end."""
        self._board.finish()
        for child in self._children:
            if child.asker is None and child.killed_at is None and not self._board.read(child.slot)[2]:
                child.killed_at = time.monotonic()
                # Our own child, not waited for yet: nobody else can have its PID.
                os.kill(child.pid, signal.SIGINT)


def _killed(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 and -code in signal.valid_signals() else ""


def _end_of(child: _Child, code: int) -> str:
    """Return the end of what a cycle printed, if it ended in a way that needs an explanation."""
    if code in (PASSED, FAILED, HEALED):
        return ""
    end = child.output.seek(0, os.SEEK_END)
    child.output.seek(max(0, end - _OUTPUT))
    return child.output.read().decode(errors="backslashreplace")


def _own_files(root: Path) -> list[str]:
    """Return the project's own files that were imported: an edit of one makes it necessary to collect anew."""
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    own = {file for file in files if file and Path(file).is_relative_to(root)}
    return sorted(file for file in own if not {"site-packages", "dist-packages"} & set(Path(file).parts))


def main() -> None:
    """Collect and serve; in a fork, end as its session does."""
    # In a session of our own, so the terminal's Ctrl+C does not reach us; whoever ends us does so on purpose.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    server = ForkServer(Channel(socket.socket(fileno=int(sys.argv[1]))))
    # Descriptors that capture into a file would be shared by all forks; what they print goes to a file of each.
    code = int(pytest.main([*sys.argv[2:], "--capture=sys"], plugins=[server]))
    if server.cycle is None:
        sys.exit(code)
    # What a normal exit does beyond this, taking all modules apart, would only cost time.
    atexit._run_exitfuncs()  # noqa: SLF001 - there is no public way
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
