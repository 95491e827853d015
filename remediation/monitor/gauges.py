"""The metrics that are read at each scrape: the current status of the services, and what auto-heal may do for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from remediation.config.model import Project
from remediation.engines import engine_of
from remediation.healing import backoff
from remediation.monitor.service_status import ServiceStatus
from remediation.monitor.versions import Versions
from remediation.state.records import Run
from remediation.state.service_state import Store

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_BY_SERVICE = ("service",)


class _State(NamedTuple):
    """The current state of one service; None where a value does not apply."""

    up: bool | None
    downtime: float
    budget_left: int | None
    gave_up: bool | None
    stopped: bool


class Gauges:
    """A collector for Prometheus. Threads of the server call it; it writes nothing."""

    def __init__(self, project: Project, service_status: ServiceStatus) -> None:
        """Read from `service_status`, and from the stored states of a project's services."""
        self._service_status = service_status
        self._versions = Versions()
        self.configure(project)

    def configure(self, project: Project) -> None:
        """Show the services of the current configuration."""
        self._source = (project, Store(project))
        self._versions.retain(project.services)

    def observe(self, run: Run) -> None:
        """Ask the services that a run found up for their versions."""
        project, _ = self._source
        names = (result.key for result in run.results if result.kind == "service" and result.key in project.services)
        self._versions.ask(project.services[name] for name in names if self._service_status.is_up(name))

    def close(self) -> None:
        """Ask for no more versions."""
        self._versions.close()

    def describe(self) -> list[Metric]:
        """Return the metrics without values, so that the registry can find duplicate names."""
        return list(self._families({}, {}, paused=False))

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics with their current values."""
        project, store = self._source
        paused = store.paused() is not None
        states = {name: self._state(name, project, store, paused=paused) for name in project.services}
        versions = {name: text for name, text in self._versions.latest.items() if name in states}
        yield from self._families(states, versions, paused=paused)

    def _state(self, name: str, project: Project, store: Store, *, paused: bool) -> _State:
        service, state = project.services[name], store.recall(project.services[name])
        if state.stopped_by_hand:
            self._service_status.stopped(name)
        up, left, gave_up = self._service_status.is_up(name), None, None
        if engine_of(service).can_start:
            # 0 means that the next heal will be refused, for whatever reason.
            left = 0 if paused or store.paused(name) else backoff.left(service, state)
            gave_up = backoff.waits_still(service, state) and not up
        return _State(up, self._service_status.downtime(name), left, gave_up, state.stopped_by_hand)

    def _families(self, states: Mapping[str, _State], versions: Mapping[str, str], *, paused: bool) -> Iterator[Metric]:
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        up = GaugeMetricFamily("auto_heal_up", "Whether the service is well.", labels=_BY_SERVICE)
        downtime = CounterMetricFamily(
            "auto_heal_downtime_seconds", "Time for which the service was down.", labels=_BY_SERVICE
        )
        left = GaugeMetricFamily(
            "auto_heal_restart_budget_left", "Restarts that would be granted now.", labels=_BY_SERVICE
        )
        gave_up = GaugeMetricFamily(
            "auto_heal_gave_up", "Whether the restart budget was found spent, and the service is not well.",
            labels=_BY_SERVICE,
        )  # fmt: skip
        stopped = GaugeMetricFamily(
            "auto_heal_stopped_by_hand", "Whether somebody has stopped the service.", labels=_BY_SERVICE
        )
        version = InfoMetricFamily("auto_heal_version", "The version that answered last.", labels=_BY_SERVICE)
        for name, state in states.items():
            downtime.add_metric([name], state.downtime)
            stopped.add_metric([name], state.stopped)
            for family, value in ((up, state.up), (left, state.budget_left), (gave_up, state.gave_up)):
                if value is not None:
                    family.add_metric([name], value)
        for name, text in versions.items():
            version.add_metric([name], {"version": text})
        yield from (up, downtime, left, gave_up, stopped, version)
        yield GaugeMetricFamily("auto_heal_paused", "Whether healing is paused.", value=paused)
