"""The process that the caller of a health run waits for. It runs no check, so no check can end it.

It forks the session before anything is collected. If a session hangs or ends in the middle of a check, another session
takes over with the findings so far. The round after a heal is a fork, too. The supervisor decides the exit code,
whatever the session did.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from msgspec import Struct, field

from remediation.config.model import Project
from remediation.deployment.context import Deployment
from remediation.state.event_log import EventLog
from remediation.supervision import protocol
from remediation.supervision.child import Child, fork
from remediation.supervision.death import write_stacks_to
from remediation.supervision.family import without_services
from remediation.supervision.frames import with_room
from remediation.supervision.handover import Handover
from remediation.supervision.heartbeat import FOR_EVER, GRACE, SLOTS, Heartbeats, Phase
from remediation.supervision.lifeline import Lifeline
from remediation.supervision.protocol import (
    Again,
    Bye,
    Ended,
    FromSession,
    Healing,
    RoundOver,
    SupervisorLink,
    Verdict,
    Workers,
)
from remediation.supervision.round_files import has_other_run, remove_run_folders
from remediation.system import environment, process
from remediation.system.capabilities import has_proc
from remediation.system.exit_codes import INTERNAL_ERROR, INTERRUPTED, VERDICTS
from remediation.system.process import Identity, descendants, terminate
from remediation.system.process_exit import clear_exit_functions, exit_at_once, flush

if TYPE_CHECKING:
    from remediation.supervision.worker_watch import WorkerWatch

# After its verdict, how long a session may take to end, and its threads to end by themselves, in seconds.
_GONE_WITHIN, _THREADS = 2.0, 1.0
# How long a session may take to acknowledge an interrupt, in seconds.
_ACKNOWLEDGED_WITHIN = 0.5
# If the supervisor wakes up this much too late, in seconds, it was stopped, and the session with it.
_OVERSLEPT = 1.0
# Without a pidfd, how often to check for the end of a session, in seconds.
_POLL = 0.02
# How much of a stack to log, in lines.
_MOST_LINES = 20
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Session(Struct):
    child: Child
    folder: str = ""
    """Where a later round leaves its findings."""
    asker: _Session | None = None
    deployment: Deployment | None = None
    """The side of a deployment that the session runs on, as far as the supervisor knows."""
    verdict: Verdict | None = None
    ended: int | None = None
    workers: WorkerWatch | None = None
    begun: int = -1
    """How much its workers had begun at the last check."""
    stalls_at: float = FOR_EVER
    """When the session counts as hung if it and its workers still wait for each other."""
    lifeline: Lifeline = field(default_factory=Lifeline)


class Supervisor:
    """Runs sessions of one project until there is an exit code."""

    def __init__(
        self,
        project: Project,
        event_log: EventLog,
        *,
        first: Callable[[], int],
        again: Callable[[], int],
        deployment: Deployment | None = None,
        terminal_fd: int | None = None,
    ) -> None:
        """Run pytest by `first`, and later rounds by `again`. Each returns its exit code.

        The first session gets `deployment`. Sessions log to `terminal_fd` or, without it, to pytest's terminal.
        """
        self._project = project
        self._event_log = event_log
        self._first, self._again = first, again
        self._deployment, self._terminal_fd = deployment, terminal_fd
        self._run_mark = os.urandom(16).hex()
        self._heartbeats = Heartbeats()
        self._slot = 0
        self._sessions: list[_Session] = []
        self._received: list[int] = []
        self._forward_at: float | None = None
        self._interrupted = False
        self._left: list[Identity] = []
        self._code = INTERNAL_ERROR
        self.verdict: Verdict | None = None
        """The verdict of the first session; None if it sent none."""

    def run(self) -> int:
        """Run a session and all that follow from it. Return the exit code."""
        environment.tell_children({environment.RUN_MARK: self._run_mark})
        try:
            with self._signals():
                self._start(_Session(self._child(Handover()), deployment=self._deployment), self._first)
                while self._sessions:
                    self._wait()
                    self._forward_signals()
                    for session in list(self._sessions):
                        self._attend(session)
        finally:
            self._tidy_up()
            gc.unfreeze()
            environment.tell_children_no_more(environment.RUN_MARK)
        return self._code

    def _tidy_up(self) -> None:
        """Remove the folders of sessions that were killed."""
        remove_run_folders(self._project.state_folder, os.getpid())

    # Sessions.

    def _child(self, handover: Handover) -> Child:
        self._slot = (self._slot + 1) % SLOTS
        limit = self._project.collect_timeout
        self._heartbeats.take(self._slot, time.monotonic() + limit + GRACE, limit)
        return Child(self._heartbeats, self._slot, self._project, handover, is_separate=False)

    def _start(self, session: _Session, body: Callable[[], int]) -> _Session:
        flush()
        # Nothing of this is garbage. A collection would touch all objects, and so copy all memory into each session.
        gc.freeze()
        pid = fork()
        if pid == 0:
            self._become(session, body)
        session.child.watch(pid)
        session.lifeline.keep()
        self._sessions.append(session)
        return session

    def _become(self, session: _Session, body: Callable[[], int]) -> NoReturn:
        """Run the session in the child, and end with its exit code."""
        code = INTERNAL_ERROR
        try:
            self._restore_signals()
            # Until its checks are collected, the session imports modules, which are not garbage.
            gc.disable()
            session.lifeline.become()
            for other in self._sessions:
                other.child.close()
                other.lifeline.close()
            child = session.child
            channel = child.become()
            _acknowledge_interrupts(self._heartbeats, child.slot)
            if session.deployment:
                environment.tell_children(session.deployment.to_environment())
            if session.folder:
                environment.tell_children({environment.ROUND_FOLDER: session.folder})
            clear_exit_functions()
            write_stacks_to(child.stacks)
            protocol.terminal_fd = self._terminal_fd
            protocol.current = SupervisorLink(
                channel, self._heartbeats, child.slot, child.log, child.stacks, child.handover
            )
            code = with_room(body)
        except BaseException:  # noqa: BLE001 - the interpreter's own exit code, 1, would mean failed checks
            traceback.print_exc()
        finally:
            _end(code)

    def _attend(self, session: _Session) -> None:
        """Handle the messages of a session, its end, and its hang."""
        child = session.child
        ended = child.has_ended()
        while child.channel.has_news:
            for message in child.channel.receive(FromSession):
                self._handle(session, message)
        if session.workers:
            session.workers.end_overdue()
            self._end_stalled(session, session.workers)
        if ended:
            self._sessions.remove(session)
            self._ended(session)
        elif child.is_overdue and not self._is_blocked(child):
            child.end_hung()

    def _end_stalled(self, session: _Session, workers: WorkerWatch) -> None:
        """End a session that waits for workers while they all wait for it, as xdist may do after a crash."""
        heartbeat, limit = self._heartbeats.read(session.child.slot), self._project.collect_timeout
        is_waiting = heartbeat.phase is Phase.OUTSIDE and heartbeat.deadline == FOR_EVER and workers.all_wait
        now, begun = time.monotonic(), workers.begun
        if not is_waiting or begun != session.begun:
            session.stalls_at, session.begun = now + limit + GRACE, begun
        if now >= session.stalls_at:
            self._heartbeats.put(session.child.slot, 0.0, heartbeat.phase, limit)

    def _handle(self, session: _Session, message: FromSession) -> None:
        match message:
            case Again(folder, deployment):
                # A module that could not be collected once is not tried again in a later round.
                handover = session.child.handover.after(session.child.log.read(), None, self._project.root)
                child = self._child(Handover(broken=handover.broken if handover else {}))
                self._start(_Session(child, os.fsdecode(folder), session, deployment), self._again)
            case Healing():
                _preload()
            case Workers(folder):
                from remediation.supervision.worker_watch import WorkerWatch

                # A session that is over by now has removed the folder.
                with suppress(FileNotFoundError):
                    session.workers = WorkerWatch(Path(os.fsdecode(folder)), self._project)
            case Verdict():
                session.verdict = message
                self._limit(session)
            case Ended(code):
                session.ended = code
                self._limit(session)
                # Its children can be found by their parent's PID only as long as the session lives.
                self._left = _children(session.child.pid)
                session.child.channel.send(Bye())

    def _limit(self, session: _Session) -> None:
        self._heartbeats.put(session.child.slot, time.monotonic() + _GONE_WITHIN)

    def _ended(self, session: _Session) -> None:
        """Handle the end of a session: use its exit code, or start another session in its place."""
        child, death = session.child, session.child.death
        if session.workers:
            session.workers.end_all()
        self._end_left_running(session)
        code = session.ended
        if code is None and session.verdict:
            # Its verdict counts, even if it hung or crashed after that.
            code = session.verdict.code
        if code is None:
            if self._interrupted:
                code = INTERRUPTED
            elif handover := child.handover.after(child.log.read(), death, self._project.root):
                child.close()
                successor = _Session(self._child(handover), session.folder, session.asker, session.deployment)
                self._start(successor, self._again)
                return
            else:
                code = INTERNAL_ERROR
                place = death.place(self._project.root)
                self._event_log.log("incomplete", reason=f"{place}: the session {death.sentence}".removeprefix(": "))
                for line in death.stack.splitlines()[:_MOST_LINES]:
                    self._event_log.log("detail", line=line)
        child.close()
        if session.asker is None:
            self._code = self._with_report(session.verdict, code)
            self.verdict = session.verdict if session.verdict and session.verdict.code in VERDICTS else None
        else:
            session.asker.child.channel.send(RoundOver(code))

    def _with_report(self, verdict: Verdict | None, code: int) -> int:
        """Return the exit code of a run. It is not the code of a verdict if the report has been removed."""
        report = Path(os.fsdecode(verdict.report)) if verdict else None
        if report is None or code not in VERDICTS or report.is_file():
            return code
        if has_other_run(self._project.state_folder, os.getpid()):
            # The other run removed the report when it began. Our verdict was read before that.
            return code
        self._event_log.log("incomplete", reason=f"the report {report} was removed before the run had ended")
        return INTERNAL_ERROR

    def _end_left_running(self, session: _Session) -> None:
        """Kill what checks have left running, so that no caller waits for it. Services and other processes stay."""
        left, self._left = self._left + session.lifeline.holders(), []
        session.lifeline.close()
        if not self._sessions:
            left += _orphans(self._run_mark)
        if left := [identity for identity in left if identity.alive]:
            leftovers = without_services(left, self._project)
            terminate(lambda: leftovers, signum=signal.SIGKILL, timeout=_GONE_WITHIN)

    # Waiting.

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        moments = [self._forward_at] if self._forward_at else []
        for session in self._sessions:
            for fd in session.child.fds:
                poll.register(fd, select.POLLIN)
            moments.append(session.child.moment)
            if session.workers:
                moments.append(session.workers.moment)
            if session.child.pidfd is None:
                moments.append(time.monotonic() + _POLL)
        began = time.monotonic()
        timeout = max(0.0, min(moments) - began)
        poll.poll(timeout * 1000 + 1)
        if (late := time.monotonic() - began - timeout) > _OVERSLEPT:
            for session in self._sessions:
                heartbeat = self._heartbeats.read(session.child.slot)
                self._heartbeats.put(session.child.slot, heartbeat.deadline + late, heartbeat.phase, heartbeat.limit)

    def _is_blocked(self, child: Child) -> bool:
        """Return whether a session is blocked on its output, as after Ctrl+S. If so, extend its deadline."""
        poll = select.poll()
        poll.register(1, select.POLLOUT)
        if self._heartbeats.read(child.slot).phase not in (Phase.OUTSIDE, Phase.END) or poll.poll(0):
            return False
        self._heartbeats.put(child.slot, time.monotonic() + GRACE)
        return True

    # Signals.

    @contextmanager
    def _signals(self) -> Iterator[None]:
        self._woken, writer = os.pipe()
        for fd in (self._woken, writer):
            os.set_blocking(fd, False)
        # Outside the main thread, signals are the business of the program that called pytest there.
        is_main = threading.current_thread() is threading.main_thread()
        self._wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False) if is_main else -1
        # Signals that have a handler already, or that this process was started to ignore, stay as they are.
        default = (signal.SIG_DFL, signal.default_int_handler)
        handled = [number for number in _FORWARDED if is_main and signal.getsignal(number) in default]
        self._before = {number: signal.signal(number, self._note) for number in handled}
        try:
            yield
        finally:
            if is_main:
                self._restore_signals()
            os.close(self._woken)
            os.close(writer)

    def _restore_signals(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._received.append(number)

    def _forward_signals(self) -> None:
        """Forward signals to the sessions. A terminal sends Ctrl+C to them as well, so it needs no forwarding."""
        with suppress(BlockingIOError):
            os.read(self._woken, 4096)
        now = time.monotonic()
        received, self._received = self._received, []
        for number in received:
            if number != signal.SIGINT:
                self._interrupted = True
                for session in self._sessions:
                    # Its status is not collected yet, so the PID cannot be reused.
                    os.kill(session.child.pid, number)
            elif self._interrupted:
                # The second interrupt ends the sessions at once.
                for session in self._sessions:
                    session.child.end()
            else:
                self._interrupted, self._forward_at = True, now + _ACKNOWLEDGED_WITHIN
        if self._forward_at and now >= self._forward_at:
            self._forward_at = None
            for session in self._sessions:
                if not self._heartbeats.has_acknowledged(session.child.slot):
                    os.kill(session.child.pid, signal.SIGINT)


def _acknowledge_interrupts(heartbeats: Heartbeats, slot: int) -> None:
    """Acknowledge Ctrl+C to the supervisor, since a terminal sends it to both processes."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        # pytest prints the frame that was interrupted, and this is not it.
        __tracebackhide__ = True
        heartbeats.acknowledge(slot)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, interrupt)


def _end(code: int) -> NoReturn:
    """Send the exit code to the supervisor, and exit, in the child."""
    link = protocol.current
    try:
        flush()
        if link:
            link.end(code)
        deadline = time.monotonic() + _THREADS
        for thread in threading.enumerate():
            if not thread.daemon and thread is not threading.main_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        exit_at_once(code)
    finally:
        os._exit(code)


def _preload() -> None:
    """Import what the next round will need, while a service starts."""
    with suppress(Exception):
        for name in ("pytest", "requests", "psutil", "remediation.run.session_plugin"):
            import_module(name)


def _children(pid: int) -> list[Identity]:
    """Return the live descendants of a process."""
    if has_proc():
        with suppress(OSError):
            tasks = Path(f"/proc/{pid}/task").iterdir()
            if not any((task / "children").read_text() for task in tasks):
                return []
    root = Identity.of(pid)
    return [identity for identity in descendants([root]) if identity != root] if root else []


def _orphans(run: str) -> list[Identity]:
    """Return the processes that checks of this run have left in our process group, whatever their parent."""
    # We pin the group ourselves, as its member. The identity is read before the mark, and checked again before the
    # signal, so the mark is that of the process that gets it.
    with suppress(OSError):
        return [
            identity
            for identity in process.group(os.getpgrp())
            if process.value_of(environment.RUN_MARK, identity.pid) == run
        ]
    return []
