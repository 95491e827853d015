"""A cycle in its own process: its requests to the fork server, and its messages to the monitor."""

from __future__ import annotations

import select
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from remediation.checks import results
from remediation.config.model import Service
from remediation.healing import liveness
from remediation.healing.context import longest
from remediation.monitor.protocol import Again, Failed, Gather, Healing, Report, RoundEnded
from remediation.state.service_state import Store
from remediation.supervision.channel import Channel
from remediation.supervision.heartbeat import FOR_EVER, GRACE, Heartbeats, Phase
from remediation.system.exit_codes import INTERRUPTED, PASSED

if TYPE_CHECKING:
    import pytest

    from remediation.healing.incident import Incident
    from remediation.run.health_run import HealthRun


class CycleWorker:
    """The cycle in the fork that runs its checks."""

    def __init__(self, channel: Channel, heartbeats: Heartbeats, slot: int, number: int, store: Store) -> None:
        """Send messages over `channel`, and heartbeats at `slot`."""
        self._store = store
        self._channel = channel
        self._heartbeats = heartbeats
        self._slot = slot
        self._number = number
        self._since: dict[str, float] = {}
        self.services: Iterable[Service] = ()

    def note(self, report: pytest.TestReport) -> None:
        """Report a check that failed for good to the monitor at once: the rest of the cycle may take long."""
        failed = results.attempt(report)
        if failed is None:
            return
        since = self._since.setdefault(failed.nodeid, failed.started)
        # A failure in the start period counts for nothing.
        names = [name for name in sorted(failed.heals) if not self._is_so(liveness.starting_until, name)]
        if failed.final and names:
            starting = [name for name in names if self._is_so(liveness.never_ran, name)]
            self._channel.send(Failed(self._number, names, since, failed.message, starting))

    def _is_so(self, condition: Callable[[Service, Store], object], name: str) -> bool:
        """Return whether a condition of liveness holds for a service of the project."""
        service = self._store.project.services.get(name)
        return service is not None and bool(condition(service, self._store))

    def may_heal(self, incidents: list[Incident]) -> bool:
        """Begin to heal unless the monitor is about to end. From here on, the cycle may run to its end."""
        # Each service may have to wait for another heal, and then take as long itself.
        limit = sum(2 * longest(service) * len(service.ladder) for service in self.services)
        self._heartbeats.put(self._slot, time.monotonic() + limit + GRACE, Phase.HEAL)
        # Only now: the fork server first forbids heals, and then reads which forks heal.
        if self._heartbeats.finishing:
            self._heartbeats.put(self._slot, time.monotonic() + GRACE)
            return False
        causes = {incident.service.name: incident.cause for incident in incidents}
        since = {incident.service.name: incident.since for incident in incidents}
        starting = [incident.service.name for incident in incidents if not incident.id]
        self._channel.send(Healing(self._number, causes, since, starting))
        return True

    def again(self, folder: Path) -> tuple[int, list[Path]]:
        """Let the fork server run the suite once more. Return the exit code and the folders with the findings."""
        answer = self._ask(Again(str(folder)), Phase.HEAL)
        self._heartbeats.put(self._slot, time.monotonic() + GRACE, Phase.HEAL)
        return answer

    def others(self) -> tuple[int, list[Path]]:
        """Wait for the forks that run the other checks. Return their exit code and the folders with their findings."""
        if not self._heartbeats.read(self._slot).helped:
            return PASSED, []
        answer = self._ask(Gather(), Phase.OUTSIDE)
        self._heartbeats.put(self._slot, time.monotonic() + GRACE)
        return answer

    def _ask(self, question: Again | Gather, phase: Phase) -> tuple[int, list[Path]]:
        # The other forks have deadlines of their own.
        self._heartbeats.put(self._slot, FOR_EVER, phase)
        self._channel.send(question)
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        answers: list[RoundEnded] = []
        while not answers and self._channel.open:
            poll.poll()
            answers = self._channel.receive(RoundEnded)
        if not answers:
            return INTERRUPTED, []
        return answers[0].code, [Path(folder) for folder in answers[0].folders]

    def ended(self, run: HealthRun, code: int) -> None:
        """Send the report of the cycle to the monitor."""
        # A cycle with a verdict is not interrupted any more.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._channel.send(Report(self._number, code, run.to_record(), run.run_state.counted, run.run_state.gave_up))
