"""The monitor's loop: a cycle of checks at every interval, and at once when the process of a service dies."""

from __future__ import annotations

import math
import os
import select
import time
from collections.abc import Iterable, Sequence

from remediation.config.load import load_project
from remediation.config.model import Project
from remediation.config.schema import ConfigError
from remediation.healing.hooks import HealEvent
from remediation.messages.message import seconds
from remediation.monitor.cycle import Cycle
from remediation.monitor.pool import SessionPool, WarmSession, telling_line
from remediation.monitor.process_watch import ProcessWatch
from remediation.monitor.protocol import Begin, Failed, Healing, Notify, Over, Ready, Report, Taken
from remediation.monitor.service_status import ServiceStatus
from remediation.monitor.sinks import Sinks
from remediation.monitor.statistics import RunningStatistics
from remediation.state import incidents
from remediation.state.event_log import EventLog, rule, terminal
from remediation.state.service_state import Store
from remediation.system.exit_codes import FAILED, INTERNAL_ERROR, INTERRUPTED, PASSED
from remediation.system.files import Lock
from remediation.system.signals import Signals

STDOUT = 1
# How long to wait for a terminal that accepts no output, in seconds.
_TERMINAL_PATIENCE = 0.5


class Monitor:
    """Monitors a project until a signal ends it."""

    def __init__(
        self, project: Project, lock: Lock, arguments: Sequence[str], *, metrics_port: int | None = None
    ) -> None:
        """Monitor `project` as long as this process holds `lock`. pytest finds the checks by `arguments`.

        ConfigError if a receiver of the results cannot be created.
        """
        self._lock = lock
        # A copy with a number of its own: in a session, stdout is another file.
        self._terminal_fd = os.dup(STDOUT)
        self._service_status = ServiceStatus(project.services)
        self._configure(project)
        self._sinks = Sinks(project, self._service_status, metrics_port=metrics_port, log=self._log)
        self._statistics = RunningStatistics(self._sinks, self._service_status, self._log)
        self._cycle_count = 0
        self._sessions = SessionPool(arguments, self._terminal_fd)
        self._cycles: dict[int, Cycle] = {}
        self._due = 0.0
        self._next_tries: dict[str, float] = {}
        self._last_begin = -math.inf
        self._stopping = False
        self._final_code = PASSED
        self._code: int | None = None

    def _configure(self, project: Project) -> None:
        self._project = project
        self._service_status.reload(project.services)
        self._store = Store(project)
        self._process_watch = ProcessWatch(project, self._service_status)
        self._event_log = EventLog.of(project, terminal=terminal(STDOUT, patience=_TERMINAL_PATIENCE), remember=False)

    def _log(self, key: str, **values: object) -> None:
        self._event_log.log(key, **values)

    # The loop.

    def run(self) -> int:
        """Monitor until the end, and return the exit code.

        It is 0, or pytest's code if the checks could never be collected, or 3 if the project or its lock is gone.
        """
        with Signals() as self._signals:
            self._sessions.collect(self._project)
            try:
                while self._code is None:
                    self._wait()
                    self._attend_signals()
                    if self._lock.is_lost and not self._stopping:
                        self._stop_without_lock()
                    # Before the messages of cycles: they may report the same service as healed.
                    self._process_watch.notice()
                    for session in self._sessions.all:
                        while session.channel.has_news and self._code is None:
                            self._handle_news(session)
                    self._attend_sessions()
                    if not self._stopping:
                        self._begin_urgent()
                        self._begin_if_due()
                    elif not self._cycles and self._code is None:
                        self._code = self._final_code
                    self._sinks.attend(self._statistics.status)
            finally:
                self._end()
        return self._code

    def _wait(self) -> None:
        """Sleep until an event arrives or something is due."""
        poll = select.poll()
        fds = [self._signals.fd, *self._sinks.fds, *self._process_watch.fds]
        for fd in (*fds, *(fd for session in self._sessions.all for fd in session.fds)):
            poll.register(fd, select.POLLIN)
        moments = list(self._moments())
        timeout = max(0.0, min(moments) - time.monotonic()) * 1000 if moments else None
        if not all(session.channel.open for session in self._sessions.all):
            # The channel was found closed after the last check of the sessions.
            timeout = 0.0
        # Rounded up: waking a moment too early would only cost another turn of the loop.
        poll.poll(None if timeout is None else math.ceil(timeout))

    def _moments(self) -> Iterable[float]:
        yield from self._sinks.moments
        yield from self._sessions.moments
        if self._stopping:
            return
        if self._may_begin or not (self._sessions.current or self._sessions.upcoming):
            yield max(self._due, self._sessions.may_wait_until)
        if self._sessions.current:
            yield from self._next_tries.values()
            if moment := self._process_watch.moment:
                yield moment

    # Sessions.

    def _attend_sessions(self) -> None:
        if self._sessions.end_late():
            self._log("session_hangs")
        if (failed := self._sessions.failed(stopping=self._stopping)) and not self._stopping:
            self._collection_failed(failed)
        before = self._sessions.current
        for session in self._sessions.gone(self._is_busy):
            self._lost(session)
        if before and not (self._sessions.current or self._sessions.upcoming or self._stopping):
            # Another process has ended it, or the kernel when memory ran out.
            self._collect()

    def _collect(self) -> None:
        """Collect the checks as they are now. If the system refuses a process for it, try again later."""
        try:
            self._sessions.collect(self._project)
        except OSError as error:
            self._log("checks_broken" if self._sessions.current else "checks_missing", problem=error.strerror or error)
            self._due = max(self._due, time.monotonic() + self._project.interval)

    def _lost(self, session: WarmSession) -> None:
        code = session.wait()
        for cycle in [cycle for cycle in self._cycles.values() if cycle.session is session]:
            self._over(cycle, Over(cycle.number, code, problem=f"its process ended with {code}"))
        session.close()

    def _collection_failed(self, session: WarmSession) -> None:
        code, output = session.wait(), session.last_output()
        session.close()
        if self._sessions.current is None and not self._statistics.totals.checks:
            # No cycle has ever run, so the monitor ends with pytest's code.
            for line in output:
                self._log("detail", line=line)
            self._log("not_collected", reason=telling_line(output))
            self._code = code if code > FAILED else INTERNAL_ERROR
            return
        self._log("checks_broken" if self._sessions.current else "checks_missing", problem=telling_line(output))
        self._sinks.begin("the checks cannot be collected")
        self._due = max(self._due, time.monotonic() + (0 if self._sessions.current else self._project.interval))

    def _collected(self, session: WarmSession, ready: Ready) -> None:
        """Switch to a session that has collected its checks."""
        if self._sessions.current is None:
            # The first session starts a cycle at once. One that replaces a lost session keeps the interval.
            self._due = max(time.monotonic(), self._last_begin + self._project.interval)
        self._sessions.take_over(session, ready)
        self._sinks.listen(self._tell_hooks if ready.has_listener else None)
        self._process_watch.watch(ready.services)
        self._sinks.begin(self._statistics.status)

    def _tell_hooks(self, event: HealEvent) -> None:
        """Let the current session tell the project's hooks of an event."""
        if self._sessions.current:
            self._sessions.current.order(Notify(event))

    def _reload(self) -> None:
        """Reload the configuration and the checks. If the configuration is broken, log it and keep the old one."""
        self._sinks.reloading()
        try:
            project = load_project(self._project.root)
            if project.root != self._project.root:
                # A configuration in a parent folder belongs to another project.
                raise ConfigError(f"there is none in {self._project.root} any more")
        except ConfigError as error:
            self._sessions.accept_files(self._project)
            self._log("config_broken", problem=error)
            self._sinks.begin(self._statistics.status)
            return
        before = self._process_watch
        self._configure(project)
        self._process_watch.take_over(before)
        self._due = min(self._due, self._last_begin + project.interval)
        self._sinks.reload(project)
        self._process_watch.watch(self._sessions.services)
        self._collect()

    # Cycles.

    @property
    def _may_begin(self) -> bool:
        """Whether a cycle of all checks may begin when due: no other one runs, and a service is left to check."""
        if self._sessions.current is None or any(cycle.services is None for cycle in self._cycles.values()):
            return False
        return not self._cycles or bool(set(self._sessions.services) - set(self._busy))

    @property
    def _busy(self) -> list[str]:
        """The services that a cycle is checking because their process died."""
        return sorted({name for cycle in self._cycles.values() for name in cycle.services or ()})

    def _begin_if_due(self) -> None:
        now = time.monotonic()
        if now < self._due:
            return
        if not (self._sessions.current or self._sessions.upcoming):
            self._collect()
        if not self._may_begin:
            return
        if self._sessions.were_edited:
            self._log("edited")
            self._reload()
        if now < self._sessions.may_wait_until:
            return
        self._begin(None)
        self._last_begin = now
        self._due = now + self._project.interval

    def _begin(self, services: list[str] | None, why: str = "") -> None:
        session = self._sessions.current
        if session is None:
            return
        self._sessions.note_use()
        self._cycle_count += 1
        number = self._cycle_count
        without = self._busy if services is None else []
        self._cycles[number] = Cycle(number, services, without, session, time.time(), time.monotonic())
        self._service_status.begins(number)
        if number > 1 and (line := rule(self._terminal_fd)):
            self._event_log.show(line)
        if why:
            self._log(why, names=services)
        self._log("monitor", number=number, time=time.strftime("%H:%M:%S"))
        session.order(Begin(number, services, without, self._project.interval))
        for name in list(self._next_tries):
            if self._cycles[number].checks(name):
                del self._next_tries[name]

    def _handle_news(self, session: WarmSession) -> None:
        for news in session.news():
            match news:
                case Ready():
                    self._collected(session, news)
                case Taken():
                    session.confirmed(is_busy=self._is_busy(session))
                case Failed(number, services, since, message, starting):
                    for name in services:
                        self._service_status.failed(number, name, since, message, starting=name in starting)
                case Healing(number, causes, since, starting):
                    self._cycles[number].healing |= causes
                    for name, cause in causes.items():
                        self._service_status.heals(number, name, since[name], cause, starting=name in starting)
                case Report(number):
                    self._cycles[number].report = news
                case Over(number):
                    self._over(self._cycles[number], news)
                    session.confirmed(is_busy=self._is_busy(session))

    def _is_busy(self, session: WarmSession) -> bool:
        return any(cycle.session is session for cycle in self._cycles.values())

    def _over(self, cycle: Cycle, over: Over) -> None:
        del self._cycles[cycle.number]
        if self._stopping and (cycle.report is None or over.code == INTERRUPTED):
            # The monitor has interrupted it.
            return
        self._statistics.enter(cycle, over, self._project)
        self._event_log.incidents = {name: one.id for name, one in incidents.current(self._project).items()}
        remediations = cycle.report.remediations if cycle.report else ()
        self._process_watch.refresh(remediation.service for remediation in remediations if remediation.ok)
        self._schedule_next_tries(cycle)
        if not self._stopping:
            left = max(0.0, self._due - time.monotonic())
            self._log("next", seconds=seconds(math.ceil(left) if left >= 1 else left))

    def _begin_urgent(self) -> None:
        """Check at once the services whose process died."""
        if not self._sessions.current:
            return
        if urgent := self._process_watch.urgent(self._checked_since):
            self._begin(urgent, "process_died")
        now = time.monotonic()
        if due := sorted(name for name, moment in self._next_tries.items() if now >= moment):
            # A cycle that checks a service now tries its start as well.
            for name in due:
                del self._next_tries[name]
            if names := [name for name in due if not any(cycle.checks(name) for cycle in self._cycles.values())]:
                self._begin(names, "next_try_now")

    def _schedule_next_tries(self, cycle: Cycle) -> None:
        """Check a service whose start failed again as soon as the next try is due."""
        for name in cycle.healing:
            if service := self._project.services.get(name):
                state = self._store.recall(service)
                # The cycle may also have come too early for a try that is due by now.
                if state.failed_starts and state.not_before > cycle.began:
                    self._next_tries[name] = time.monotonic() + max(0.0, state.not_before - time.time())

    def _checked_since(self, service: str) -> float | None:
        """Return when the latest cycle that checks a service began, in epoch seconds."""
        return max((cycle.began for cycle in self._cycles.values() if cycle.checks(service)), default=None)

    # The end.

    def _attend_signals(self) -> None:
        for wish in self._signals.wishes():
            if wish == "reread":
                if not self._stopping:
                    self._reload()
            elif not self._stopping:
                self._finish()
            else:
                self._end_at_once()

    def _finish(self) -> None:
        """Begin no more cycles, and wait for the heals under way."""
        self._stopping = True
        self._sinks.stopping()
        self._sessions.finish()
        if healing := [name for cycle in self._cycles.values() for name in cycle.healing]:
            self._log("finishing", names=", ".join(healing))

    def _stop_without_lock(self) -> None:
        """End: another monitor may be running by now, or the project is gone."""
        if self._project.root.is_dir():
            self._log("lock_gone", lock=self._lock.path)
        else:
            self._log("project_gone", folder=self._project.root)
        self._final_code = INTERNAL_ERROR
        self._finish()

    def _end_at_once(self) -> None:
        names = [name for cycle in self._cycles.values() for name in cycle.healing]
        for session in self._sessions.all:
            session.kill()
        self._log("left", names=", ".join(names)) if names else None
        self._code = INTERRUPTED

    def _end(self) -> None:
        self._sessions.close(at_once=self._code == INTERRUPTED)
        if self._statistics.totals.checks:
            self._statistics.log_statistics()
        self._log("monitor_ended")
        self._statistics.close()
        self._sinks.close()
        self._process_watch.close()
        os.close(self._terminal_fd)
