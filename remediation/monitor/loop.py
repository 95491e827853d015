"""The watch: a cycle of checks at every interval, and at once when the process of a service dies."""

from __future__ import annotations

import math
import os
import select
import time
from collections.abc import Iterable, Sequence

from remediation.config.load import load_project
from remediation.config.model import Project
from remediation.config.schema import ConfigError
from remediation.messages.message import seconds
from remediation.monitor.cycle import Cycle
from remediation.monitor.pool import SessionPool, WarmSession
from remediation.monitor.process_watch import ProcessWatch
from remediation.monitor.protocol import Begin, Failed, Healing, Over, Ready, Report, Taken
from remediation.monitor.service_status import ServiceStatus
from remediation.monitor.sinks import Sinks
from remediation.monitor.statistics import RunningStatistics
from remediation.state.event_log import EventLog, terminal
from remediation.system.exit_codes import FAILED, INTERNAL_ERROR, INTERRUPTED, PASSED
from remediation.system.files import Lock
from remediation.system.signals import Signals

STDOUT = 1
# How long a terminal that takes no lines is waited for, in seconds.
_TERMINAL_PATIENCE = 0.5


class Monitor:
    """Watches a project until it is told to end."""

    def __init__(
        self, project: Project, lock: Lock, arguments: Sequence[str], *, metrics_port: int | None = None
    ) -> None:
        """Watch `project`, whose checks pytest finds by `arguments`, for as long as `lock` is ours alone.

        ConfigError if an output cannot be had.
        """
        self._lock = lock
        # Of a number of its own, since a session's stdout is not ours.
        self._terminal_fd = os.dup(STDOUT)
        self._service_status = ServiceStatus(project.services)
        self._configure(project)
        self._sinks = Sinks(project, self._service_status, metrics_port=metrics_port, tell=self._say)
        self._statistics = RunningStatistics(self._sinks, self._service_status, self._say)
        self._numbers = 0
        self._sessions = SessionPool(arguments, self._terminal_fd)
        self._cycles: dict[int, Cycle] = {}
        self._due = 0.0
        self._last = -math.inf
        self._stopping = False
        self._final = PASSED
        self._code: int | None = None

    def _configure(self, project: Project) -> None:
        self._project = project
        self._service_status.reload(project.services)
        self._deaths = ProcessWatch(project, self._service_status)
        self._event_log = EventLog.of(project, terminal=terminal(STDOUT, patience=_TERMINAL_PATIENCE), remember=False)

    def _say(self, key: str, **values: object) -> None:
        self._event_log.log(key, **values)

    # The loop.

    def run(self) -> int:
        """Watch until the end, and return the exit code.

        0, or that of checks which could not be collected, or 3 if the project or its lock is gone.
        """
        with Signals() as self._signals:
            self._sessions.collect(self._project)
            try:
                while self._code is None:
                    self._wait()
                    self._attend_signals()
                    if self._lock.is_lost and not self._stopping:
                        self._lose()
                    # Before the news of cycles, which may tell what became of it.
                    self._deaths.notice()
                    for session in self._sessions.all:
                        while session.channel.has_news and self._code is None:
                            self._hear(session)
                    self._attend_sessions()
                    if not self._stopping:
                        self._begin_urgent()
                        self._begin_if_due()
                    elif not self._cycles and self._code is None:
                        self._code = self._final
                    self._sinks.attend(self._statistics.status)
            finally:
                self._end()
        return self._code

    def _wait(self) -> None:
        """Sleep until something happens, or something is due."""
        poll = select.poll()
        fds = [self._signals.fd, *self._sinks.fds, *self._deaths.fds]
        for fd in (*fds, *(fd for session in self._sessions.all for fd in session.fds)):
            poll.register(fd, select.POLLIN)
        moments = list(self._moments())
        timeout = max(0.0, min(moments) - time.monotonic()) * 1000 if moments else None
        if not all(session.channel.open for session in self._sessions.all):
            # It was found closed after we had last looked.
            timeout = 0.0
        # Rounded up: woken a moment too early, we would only turn round.
        poll.poll(None if timeout is None else math.ceil(timeout))

    def _moments(self) -> Iterable[float]:
        yield from self._sinks.moments
        yield from self._sessions.moments
        if self._stopping:
            return
        if self._may_begin or not (self._sessions.current or self._sessions.coming):
            yield max(self._due, self._sessions.may_wait_until)
        if self._sessions.current and (moment := self._deaths.moment):
            yield moment

    # SessionPool.

    def _attend_sessions(self) -> None:
        if self._sessions.end_late():
            self._say("session_hangs")
        if (failed := self._sessions.failed(stopping=self._stopping)) and not self._stopping:
            self._collected_in_vain(failed)
        before = self._sessions.current
        for session in self._sessions.gone(self._is_busy):
            self._lost(session)
        if before and not (self._sessions.current or self._sessions.coming or self._stopping):
            # Ended by somebody else, such as the kernel for want of memory.
            self._collect()

    def _collect(self) -> None:
        """Have the checks collected as they are now; what the system refuses it for at the moment is no end."""
        try:
            self._sessions.collect(self._project)
        except OSError as error:
            self._say("checks_broken" if self._sessions.current else "checks_missing", problem=error.strerror or error)
            self._due = max(self._due, time.monotonic() + self._project.interval)

    def _lost(self, session: WarmSession) -> None:
        code = session.wait()
        for cycle in [one for one in self._cycles.values() if one.session is session]:
            self._over(cycle, Over(cycle.number, code, problem=f"its process ended with {code}"))
        session.close()

    def _collected_in_vain(self, session: WarmSession) -> None:
        code, words = session.wait(), session.last_words()
        session.close()
        if self._sessions.current is None and not self._statistics.totals.checks:
            # Nothing was ever watched: as pytest ends, so do we.
            for line in words:
                self._say("detail", line=line)
            self._code = code if code > FAILED else INTERNAL_ERROR
            return
        self._say("checks_broken" if self._sessions.current else "checks_missing", problem=_telling(words))
        self._sinks.begin("the checks cannot be collected")
        self._due = max(self._due, time.monotonic() + (0 if self._sessions.current else self._project.interval))

    def _collected(self, session: WarmSession, ready: Ready) -> None:
        """Go on with a session whose checks are collected."""
        if self._sessions.current is None:
            # At once for the first one; one that replaces a lost one keeps to the interval.
            self._due = max(time.monotonic(), self._last + self._project.interval)
        self._sessions.take_over(session, ready)
        self._deaths.watch(ready.services)
        self._sinks.begin(self._statistics.status)

    def _reread(self) -> None:
        """Read the configuration again, and collect the checks anew; a broken one is told, and the old one kept."""
        self._sinks.reloading()
        try:
            project = load_project(self._project.root)
            if project.root != self._project.root:
                # One further up is another project's.
                raise ConfigError(f"there is none in {self._project.root} any more")
        except ConfigError as error:
            self._sessions.put_up_with(self._project)
            self._say("config_broken", problem=error)
            self._sinks.begin(self._statistics.status)
            return
        before = self._deaths
        self._configure(project)
        self._deaths.take_over(before)
        self._due = min(self._due, self._last + project.interval)
        self._sinks.reload(project)
        self._deaths.watch(self._sessions.services)
        self._collect()

    # Cycles.

    @property
    def _may_begin(self) -> bool:
        """Whether a cycle of all checks may begin when it is due: never two at once, and not of what is checked."""
        if self._sessions.current is None or any(cycle.services is None for cycle in self._cycles.values()):
            return False
        return not self._cycles or bool(set(self._sessions.services) - set(self._busy))

    @property
    def _busy(self) -> list[str]:
        """The services that are checked now because their process died."""
        return sorted({name for cycle in self._cycles.values() for name in cycle.services or ()})

    def _begin_if_due(self) -> None:
        now = time.monotonic()
        if now < self._due:
            return
        if not (self._sessions.current or self._sessions.coming):
            self._collect()
        if not self._may_begin:
            return
        if self._sessions.were_edited:
            self._say("edited")
            self._reread()
        if now < self._sessions.may_wait_until:
            return
        self._begin(None)
        self._last = now
        self._due = now + self._project.interval

    def _begin(self, services: list[str] | None) -> None:
        session = self._sessions.current
        if session is None:
            return
        self._sessions.note_use()
        self._numbers += 1
        without = self._busy if services is None else []
        self._cycles[self._numbers] = Cycle(self._numbers, services, without, session, time.time(), time.monotonic())
        self._service_status.begins(self._numbers)
        if services is not None:
            self._say("process_died", names=services)
        self._say("monitor", number=self._numbers, time=time.strftime("%H:%M:%S"))
        session.order(Begin(self._numbers, services, without, self._project.interval))

    def _hear(self, session: WarmSession) -> None:
        for news in session.news():
            match news:
                case Ready():
                    self._collected(session, news)
                case Taken():
                    session.taken(is_busy=self._is_busy(session))
                case Failed(number, services, since, message):
                    for name in services:
                        self._service_status.failed(number, name, since, message)
                case Healing(number, causes, since):
                    self._cycles[number].healing |= causes
                    for name, cause in causes.items():
                        self._service_status.heals(number, name, since[name], cause)
                case Report(number):
                    self._cycles[number].report = news
                case Over(number):
                    self._over(self._cycles[number], news)
                    session.taken(is_busy=self._is_busy(session))

    def _is_busy(self, session: WarmSession) -> bool:
        return any(cycle.session is session for cycle in self._cycles.values())

    def _over(self, cycle: Cycle, over: Over) -> None:
        del self._cycles[cycle.number]
        if self._stopping and (cycle.report is None or over.code == INTERRUPTED):
            # Broken off by ourselves.
            return
        self._statistics.enter(cycle, over, self._project)
        self._deaths.refresh(one.service for one in (cycle.report.remediations if cycle.report else ()) if one.ok)
        if not self._stopping:
            left = max(0.0, self._due - time.monotonic())
            self._say("next", seconds=seconds(math.ceil(left) if left >= 1 else left))

    def _begin_urgent(self) -> None:
        """Check at once the services whose process died."""
        if not self._sessions.current:
            return
        if urgent := self._deaths.urgent(self._checked_since):
            self._begin(urgent)

    def _checked_since(self, service: str) -> float | None:
        """Return since when, in epoch seconds, a cycle checks a service."""
        return max((cycle.began for cycle in self._cycles.values() if cycle.checks(service)), default=None)

    # The end.

    def _attend_signals(self) -> None:
        for wish in self._signals.wishes():
            if wish == "reread":
                if not self._stopping:
                    self._reread()
            elif not self._stopping:
                self._finish()
            else:
                self._end_at_once()

    def _finish(self) -> None:
        """Begin nothing any more, and wait for the heals that are under way."""
        self._stopping = True
        self._sinks.stopping()
        self._sessions.finish()
        if healing := [name for cycle in self._cycles.values() for name in cycle.healing]:
            self._say("finishing", names=", ".join(healing))

    def _lose(self) -> None:
        """End, since another monitor may watch by now, or there is nothing left to be watched."""
        if self._project.root.is_dir():
            self._say("lock_gone", lock=self._lock.path)
        else:
            self._say("project_gone", folder=self._project.root)
        self._final = INTERNAL_ERROR
        self._finish()

    def _end_at_once(self) -> None:
        names = [name for cycle in self._cycles.values() for name in cycle.healing]
        for session in self._sessions.all:
            session.kill()
        self._say("left", names=", ".join(names)) if names else None
        self._code = INTERRUPTED

    def _end(self) -> None:
        self._sessions.close(at_once=self._code == INTERRUPTED)
        if self._statistics.totals.checks:
            self._statistics.tell_statistics()
        self._say("monitor_ended")
        self._statistics.close()
        self._sinks.close()
        self._deaths.close()
        os.close(self._terminal_fd)


def _telling(words: list[str]) -> str:
    """Return the line of pytest's output that says what is wrong: one marked with E, an error, or the last."""
    for mark in ("E ", "ERROR"):
        for line in reversed(words):
            if line.startswith(mark):
                return line.removeprefix("E ").strip()
    return words[-1] if words else "pytest ended without a word"
