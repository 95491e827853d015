"""What the caller of a health run waits for: a process that runs no check, and so survives whatever a check does.

It forks the session from itself before anything is collected. A session that hangs, or ends in the middle of a check,
is followed by another one that knows what was found so far; the round after a heal is a fork as well. The exit code is
ours, whatever the session did.
"""

from __future__ import annotations

import atexit
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
from remediation.supervision.child import Child, flush, fork
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
from remediation.system.exit_codes import INTERNAL_ERROR, INTERRUPTED, VERDICTS
from remediation.system.process import Identity, descendants, has_proc, pids, terminate

if TYPE_CHECKING:
    from remediation.supervision.worker_watch import WorkerWatch

# With the verdict told, how long a session has to be gone, and its threads to end by themselves, in seconds.
_GONE_WITHIN, _THREADS = 2.0, 1.0
# How long a session that a signal was meant for may take to show that it has it, in seconds.
_HEARD_WITHIN = 0.5
# Woken so much later than asked for, in seconds, we were stopped, and the session with us.
_OVERSLEPT = 1.0
# Without a pidfd, how often the end of a session is looked for, in seconds.
_LOOK = 0.02
# Of a stack, in lines.
_MOST_LINES = 20
_HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Session(Struct):
    child: Child
    folder: str = ""
    """Of a later round, where it leaves what it finds."""
    asker: _Session | None = None
    deployment: Deployment | None = None
    """On which side of one it is, as far as the supervisor knows."""
    verdict: Verdict | None = None
    ended: int | None = None
    workers: WorkerWatch | None = None
    begun: int = -1
    """How much its workers had begun when they were last looked at."""
    stalls_at: float = FOR_EVER
    """When it counts as hung, while it and its workers wait for each other."""
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
        """Run pytest by `first`, and once more by `again`; each returns its exit code.

        `deployment` is what sessions are told of; `terminal_fd` where they speak, if not on pytest's terminal.
        """
        self._project = project
        self._event_log = event_log
        self._first, self._again = first, again
        self._deployment, self._terminal_fd = deployment, terminal_fd
        self._run_mark = os.urandom(16).hex()
        self._heartbeats = Heartbeats()
        self._slot = 0
        self._sessions: list[_Session] = []
        self._wanted: list[int] = []
        self._forward_at: float | None = None
        self._interrupted = False
        self._left: list[Identity] = []
        self._code = INTERNAL_ERROR
        self.verdict: Verdict | None = None
        """What the first session said of the run; None if it said nothing."""

    def run(self) -> int:
        """Run a session to its end, with all that follows from it, and return the exit code."""
        environment.tell_children({environment.RUN_MARK: self._run_mark})
        try:
            with self._signals():
                self._start(_Session(self._child(Handover()), deployment=self._deployment), self._first)
                while self._sessions:
                    self._wait()
                    self._hand_on_signals()
                    for session in list(self._sessions):
                        self._attend(session)
        finally:
            self._tidy_up()
            gc.unfreeze()
            environment.tell_children_no_more(environment.RUN_MARK)
        return self._code

    def _tidy_up(self) -> None:
        """Remove what sessions that were killed could not."""
        remove_run_folders(self._project.state_folder, os.getpid())

    # SessionPool.

    def _child(self, known: Handover) -> Child:
        self._slot = (self._slot + 1) % SLOTS
        limit = self._project.collect_timeout
        self._heartbeats.take(self._slot, time.monotonic() + limit + GRACE, limit)
        return Child(self._heartbeats, self._slot, self._project, known, apart=False)

    def _start(self, session: _Session, body: Callable[[], int]) -> _Session:
        flush()
        # What is there now is no garbage; to look through it would give each session a copy of all memory.
        gc.freeze()
        pid = fork()
        if pid == 0:
            self._become(session, body)
        session.child.born(pid)
        session.lifeline.keep()
        self._sessions.append(session)
        return session

    def _become(self, session: _Session, body: Callable[[], int]) -> NoReturn:
        """In the child: be the session, and end as it does."""
        code = INTERNAL_ERROR
        try:
            self._restore_signals()
            # Until its checks are collected it imports modules, none of which is garbage.
            gc.disable()
            session.lifeline.become()
            for other in self._sessions:
                other.child.forget()
                other.lifeline.close()
            child = session.child
            channel = child.become()
            _hear_interrupts(self._heartbeats, child.slot)
            if session.deployment:
                environment.tell_children(session.deployment.to_environment())
            if session.folder:
                environment.tell_children({environment.ROUND_FOLDER: session.folder})
            # What was registered before the fork is not ours to run.
            atexit._clear()  # noqa: SLF001 - there is no public way
            write_stacks_to(child.stacks)
            protocol.terminal_fd = self._terminal_fd
            protocol.current = SupervisorLink(
                channel, self._heartbeats, child.slot, child.log, child.stacks, child.known
            )
            code = with_room(body)
        except BaseException:  # noqa: BLE001 - the interpreter's own code for it would be that of checks which fail
            traceback.print_exc()
        finally:
            _end(code)

    def _attend(self, session: _Session) -> None:
        """Hear what a session says, and see whether it has ended or does not go on."""
        child = session.child
        ended = child.has_ended()
        while child.channel.has_news:
            for message in child.channel.receive(FromSession):
                self._hear(session, message)
        if session.workers:
            session.workers.end_overdue()
            self._end_stalled(session, session.workers)
        if ended:
            self._sessions.remove(session)
            self._ended(session)
        elif child.is_overdue and not self._is_blocked(child):
            child.end_hung()

    def _end_stalled(self, session: _Session, workers: WorkerWatch) -> None:
        """End a session that waits for workers which all wait for it, as xdist's may after a crash."""
        place, limit = self._heartbeats.read(session.child.slot), self._project.collect_timeout
        waits = place.phase is Phase.OUTSIDE and place.deadline == FOR_EVER and workers.all_wait
        now, begun = time.monotonic(), workers.begun
        if not waits or begun != session.begun:
            session.stalls_at, session.begun = now + limit + GRACE, begun
        if now >= session.stalls_at:
            self._heartbeats.put(session.child.slot, 0.0, place.phase, limit)

    def _hear(self, session: _Session, message: FromSession) -> None:
        match message:
            case Again(folder, deployment):
                # What could not be collected once is not tried again in the round after.
                seen = session.child.known.after(session.child.log.read(), None, self._project.root) or Handover()
                later = _Session(self._child(Handover(broken=seen.broken)), os.fsdecode(folder), session, deployment)
                self._start(later, self._again)
            case Healing():
                _preload()
            case Workers(folder):
                from remediation.supervision.worker_watch import WorkerWatch

                session.workers = WorkerWatch(Path(os.fsdecode(folder)), self._project)
            case Verdict():
                session.verdict = message
                self._limit(session)
            case Ended(code):
                session.ended = code
                self._limit(session)
                # What it has started is known by its parent, as long as that lives.
                self._left = _children(session.child.pid)
                session.child.channel.send(Bye())

    def _limit(self, session: _Session) -> None:
        self._heartbeats.put(session.child.slot, time.monotonic() + _GONE_WITHIN)

    def _ended(self, session: _Session) -> None:
        """Go on after the end of a session: with its exit code, or with another one in its place."""
        child, death = session.child, session.child.death
        if session.workers:
            session.workers.end_all()
        self._end_left_running(session)
        code = session.ended
        if code is None and session.verdict:
            # Whatever kept it after that.
            code = session.verdict.code
        if code is None:
            if self._interrupted:
                code = INTERRUPTED
            elif known := child.known.after(child.log.read(), death, self._project.root):
                child.forget()
                successor = _Session(self._child(known), session.folder, session.asker, session.deployment)
                self._start(successor, self._again)
                return
            else:
                code = INTERNAL_ERROR
                place = death.place(self._project.root)
                self._event_log.log("incomplete", reason=f"{place}: the session {death.sentence}".removeprefix(": "))
                for line in death.stack.splitlines()[:_MOST_LINES]:
                    self._event_log.log("detail", line=line)
        child.forget()
        if session.asker is None:
            self._code = self._with_report(session.verdict, code)
            self.verdict = session.verdict if session.verdict and session.verdict.code in VERDICTS else None
        else:
            session.asker.child.channel.send(RoundOver(code))

    def _with_report(self, verdict: Verdict | None, code: int) -> int:
        """Return the exit code of a run, which is none of a verdict if its report is not there any more."""
        report = Path(os.fsdecode(verdict.report)) if verdict else None
        if report is None or code not in VERDICTS or report.is_file():
            return code
        if has_other_run(self._project.state_folder, os.getpid()):
            # That one removes the report when it begins. The verdict was read from ours before.
            return code
        self._event_log.log("incomplete", reason=f"the report {report} was removed before the run had ended")
        return INTERNAL_ERROR

    def _end_left_running(self, session: _Session) -> None:
        """End what checks have left running, so that it keeps nobody waiting: never a service, nor what is not ours."""
        left, self._left = self._left + session.lifeline.holders(), []
        session.lifeline.close()
        if not self._sessions:
            left += _orphans(self._run_mark)
        if left := [one for one in left if one.alive]:
            ours = without_services(left, self._project)
            terminate(lambda: ours, signum=signal.SIGKILL, timeout=_GONE_WITHIN)

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
                moments.append(time.monotonic() + _LOOK)
        began = time.monotonic()
        asked = max(0.0, min(moments) - began)
        poll.poll(asked * 1000 + 1)
        if (late := time.monotonic() - began - asked) > _OVERSLEPT:
            for session in self._sessions:
                place = self._heartbeats.read(session.child.slot)
                self._heartbeats.put(session.child.slot, place.deadline + late, place.phase, place.limit)

    def _is_blocked(self, child: Child) -> bool:
        """Return whether nobody takes what a session has to say, as after Ctrl+S; that is waited for."""
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
        # In another thread than the main one, signals are for those who called pytest there.
        is_ours = threading.current_thread() is threading.main_thread()
        self._wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False) if is_ours else -1
        # What somebody else handles, or we were started to ignore, is not for us.
        default = (signal.SIG_DFL, signal.default_int_handler)
        mine = [number for number in _HANDED_ON if is_ours and signal.getsignal(number) in default]
        self._before = {number: signal.signal(number, self._note) for number in mine}
        try:
            yield
        finally:
            if is_ours:
                self._restore_signals()
            os.close(self._woken)
            os.close(writer)

    def _restore_signals(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._wanted.append(number)

    def _hand_on_signals(self) -> None:
        """Hand on what was meant for the session; a terminal's Ctrl+C it has got already."""
        with suppress(BlockingIOError):
            os.read(self._woken, 4096)
        now = time.monotonic()
        wanted, self._wanted = self._wanted, []
        for number in wanted:
            if number != signal.SIGINT:
                self._interrupted = True
                for session in self._sessions:
                    # Not collected yet, so its PID is its own.
                    os.kill(session.child.pid, number)
            elif self._interrupted:
                # Once more: whoever waits has waited long enough.
                for session in self._sessions:
                    session.child.end()
            else:
                self._interrupted, self._forward_at = True, now + _HEARD_WITHIN
        if self._forward_at and now >= self._forward_at:
            self._forward_at = None
            for session in self._sessions:
                if not self._heartbeats.has_heard(session.child.slot):
                    os.kill(session.child.pid, signal.SIGINT)


def _hear_interrupts(heartbeats: Heartbeats, slot: int) -> None:
    """Let the supervisor see that Ctrl+C has arrived, which a terminal sends to both of us."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        # pytest names the place that was interrupted, which is none of ours.
        __tracebackhide__ = True
        heartbeats.hear(slot)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, interrupt)


def _end(code: int) -> NoReturn:
    """In the child: tell the exit code, and end for good."""
    told = protocol.current
    try:
        flush()
        if told:
            told.end(code)
        deadline = time.monotonic() + _THREADS
        for thread in threading.enumerate():
            if not thread.daemon and thread is not threading.main_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        atexit._run_exitfuncs()  # noqa: SLF001 - there is no public way
        flush()
    finally:
        os._exit(code)


def _preload() -> None:
    """While a service starts, import what the round after will need."""
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
    return [one for one in descendants([root]) if one != root] if root else []


def _orphans(run: str) -> list[Identity]:
    """Return what checks of this run have left in our process group without a parent of ours."""
    group = os.getpgrp()
    found = []
    for pid in pids():
        with suppress(OSError):
            if (
                os.getpgid(pid) == group
                and process.value_of(environment.RUN_MARK, pid) == run
                and (one := Identity.of(pid))
            ):
                found.append(one)
    return found
