"""Make one attempt at a declared check. This runs in threads, and so knows nothing of pytest's session."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from remediation.checks import CHECKED, PENDING
from remediation.checks.client import Handle, deadline_in
from remediation.checks.errors import OverLimit, ServiceDown
from remediation.checks.expectations import mismatch
from remediation.checks.probe import Probe
from remediation.config.checks import AT_ONCE, Check
from remediation.config.model import Project, Service
from remediation.config.schema import ConfigError
from remediation.messages.formatting import spoken
from remediation.messages.message import english, seconds
from remediation.state.check_state import CheckState, CheckStates
from remediation.state.records import Measurement
from remediation.state.service_state import Store

if TYPE_CHECKING:
    import requests

# A cycle may begin a moment early.
_TOLERANCE = 0.05
_REDIRECTS = range(300, 400)


class Attempt(NamedTuple):
    """What came of an attempt."""

    error: BaseException | None
    """Why the check failed, or was skipped; None if it passed."""
    began: float
    """In epoch seconds."""
    took: float
    """In seconds."""
    properties: list[tuple[str, object]]
    """What to show beside a check that passed."""
    measurements: list[Measurement]
    """What to keep in the history."""


class Subject(NamedTuple):
    """A check, the service that it belongs to, and its name there."""

    service: Service
    check: Check
    name: str


class Evaluator:
    """Makes attempts at declared checks."""

    def __init__(
        self, project: Project, store: Store, *, sessions: dict[str, requests.Session], timeout: float
    ) -> None:
        """Give each attempt `timeout` seconds."""
        self._project = project
        self._store = store
        self._sessions = sessions
        self._timeout = timeout
        self._states = CheckStates(project)
        self._counted = set[tuple[str, str]]()
        self.is_cycle = False
        """Whether this is a cycle of a monitor, which leaves out what is checked less often."""
        self.is_later_round = False

    def attempt(self, subject: Subject) -> Attempt:
        """Make one attempt. It ends within the timeout, unless a library hangs."""
        began, start = time.time(), time.monotonic()
        if known := self._known(subject):
            return Attempt(None, began, known.latency, [(CHECKED, spoken(time.time() - known.passed_at))], [])
        properties: list[tuple[str, object]] = []
        measured: list[Measurement] = []
        error: BaseException | None = None
        try:
            took = self._evaluate(subject, properties, measured)
        except OverLimit as exceeded:
            took, error = time.monotonic() - start, self._over_limit(subject, exceeded, properties)
        except BaseException as failure:  # noqa: BLE001 - pytest reports it, as if the check had run in its thread
            took, error = time.monotonic() - start, failure
            if isinstance(failure, ConfigError):
                # Complete, as all of them: a traceback of our own code says nothing to people who wrote none.
                error = ServiceDown(str(failure), heals_nothing=True)
            if subject.check.every is not None:
                self._remember(subject, CheckState())
        else:
            if subject.check.every is not None:
                self._remember(subject, CheckState(passed_at=began, latency=took))
            elif subject.check.held_for != AT_ONCE:
                self._remember(subject, CheckState())
        return Attempt(error, began, took, properties, measured)

    def _remember(self, subject: Subject, state: CheckState) -> None:
        self._states.update(subject.service, subject.name, lambda _: state)

    def _known(self, subject: Subject) -> CheckState | None:
        """Return the state of a check that need not be asked in this cycle, because it passed not long ago."""
        every = subject.check.every
        if not self.is_cycle or self.is_later_round or not isinstance(every, float):
            return None
        state = self._states.recall(subject.service, subject.name)
        is_recent = 0 <= time.time() - state.passed_at < every * (1 - _TOLERANCE)
        return state if state.passed_at and is_recent else None

    def _over_limit(self, subject: Subject, error: OverLimit, properties: list[tuple[str, object]]) -> OverLimit | None:
        """Return the failure of a check whose limit is exceeded, and let it heal once that has lasted; None before."""
        service, check, name = subject
        lasting, runs = check.held_for
        if check.held_for == AT_ONCE:
            return error
        counts = (service.name, name) not in self._counted and not self.is_later_round
        self._counted.add((service.name, name))
        restart = self._restart(subject)
        state = self._states.update(service, name, lambda state: state.exceeded(restart, counts=counts))
        lasted = time.time() - state.exceeded_since
        if state.runs >= runs and lasted >= lasting * (1 - _TOLERANCE):
            return error.confirmed() if check.longest is None else error
        if lasting:
            text = english("not_yet_long", problem=error, needed=seconds(lasting), lasted=f"{lasted:.0f}")
        else:
            text = english("not_yet", problem=error, times=state.runs, needed=runs)
        if check.longest is not None:
            failure = OverLimit(text)
            failure.heals_nothing = True
            return failure
        properties.append((PENDING, text))
        return None

    def _restart(self, subject: Subject) -> str:
        """Return what is different after each restart of the service, or of one that the check may heal."""
        names = dict.fromkeys((subject.service.name, *(subject.check.heals or ())))
        states = [self._store.recall(self._project.services[name]) for name in names]
        return " ".join(f"{state.pid} {state.born} {state.heals}" for state in states)

    def _evaluate(self, subject: Subject, properties: list[tuple[str, object]], measured: list[Measurement]) -> float:
        """Return the seconds that the answer took. ServiceDown with what is wrong."""
        service, check, _ = subject
        handle = Handle(service, self._store, self._sessions, self._timeout, properties)
        began = time.monotonic()
        if check.is_request:
            what, took = self._request(handle, check)
        elif check.process:
            handle.require_process()
            return time.monotonic() - began
        else:
            what = f"{service.name}: {subject.name}"
            deadline = deadline_in(self._timeout)
            probe = Probe(self._project, self._store, deadline=deadline, properties=properties, measurements=measured)
            _PROBES[check.kind](probe, service, check)
            took = time.monotonic() - began
        if check.longest is not None and took > check.longest:
            raise OverLimit(english("answers_slowly", what=what, seconds=f"{took:.3g}", limit=seconds(check.longest)))
        return took

    def _request(self, handle: Handle, check: Check) -> tuple[str, float]:
        options: dict[str, object] = {}
        if isinstance(check.body, str):
            options["data"] = check.body.encode()
        elif check.body is not None:
            options["json"] = check.body
        # A redirect that is expected is not followed.
        options["allow_redirects"] = not any(status in _REDIRECTS for status in check.statuses)
        handle.prepare()
        start = time.monotonic()
        answer = handle.request(check.kind.upper(), check.target, **options)
        took = time.monotonic() - start
        if problem := mismatch(check, answer):
            raise ServiceDown(f"{answer.what}: {problem}")
        return answer.what, took


def _tcp(probe: Probe, service: Service, check: Check) -> None:
    address = service.address
    probe.tcp(address.place if check.tcp is True and address else str(check.tcp))


def _dns(probe: Probe, _: Service, check: Check) -> None:
    probe.dns(str(check.dns), contains=check.texts or None)


def _tls(probe: Probe, service: Service, check: Check) -> None:
    if service.address:
        probe.tls(
            service.address.place, expires_in=check.tls_expires_in, ca_file=service.ca_file, verify=service.verify
        )


def _disk(probe: Probe, service: Service, check: Check) -> None:
    probe.disk(service.cwd / (check.path or ""), free=str(check.disk_free))


def _heartbeat(probe: Probe, _: Service, check: Check) -> None:
    if check.heartbeat:
        probe.heartbeat(check.heartbeat.name, within=check.heartbeat.within)


_PROBES: dict[str, Callable[[Probe, Service, Check], object]] = {
    "tcp": _tcp,
    "dns": _dns,
    "tls_expires_in": _tls,
    "disk_free": _disk,
    "heartbeat": _heartbeat,
    "memory_below": lambda probe, service, check: probe.memory(service.name, below=str(check.memory_below)),
    "cpu_below": lambda probe, service, check: probe.cpu(service.name, below=str(check.cpu_below)),
    "open_files_below": lambda probe, service, check: probe.open_files(service.name, below=check.open_files_below or 0),
    "log_without": lambda probe, service, check: probe.log(service.name, without=str(check.log_without)),
}
