"""The receivers of the result of each cycle: metrics, notifications, heartbeat and systemd, each only if configured."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from remediation.config.model import Project
from remediation.config.schema import ConfigError
from remediation.engines import engine_of
from remediation.healing.hooks import HealEvent
from remediation.monitor.metrics import Metrics
from remediation.monitor.notifications import Notifier, require
from remediation.monitor.pings import Pinger
from remediation.monitor.protocol import Report
from remediation.monitor.sd_notify import Systemd
from remediation.monitor.service_status import Outage, ServiceStatus

# How long to wait for the last notifications at the end, in seconds.
_LAST_MESSAGES = 5.0
# A service that is down for this long is reported even while its heal is still running, in seconds.
LONG = 10.0


class Sinks:
    """Passes on what the monitor finds. No method blocks for long or makes the monitor fail."""

    def __init__(
        self, project: Project, service_status: ServiceStatus, *, metrics_port: int | None, log: Callable[..., None]
    ) -> None:
        """Create the configured receivers. ConfigError if a package for one is missing."""
        require(project)
        self._project = project
        _refuse_port_of_service(project, metrics_port)
        self._service_status = service_status
        self._systemd = Systemd(os.environ)
        self._metrics = Metrics(project, service_status, metrics_port) if metrics_port is not None else None
        self._notifier = Notifier(project, log=log)
        self._pinger = Pinger(log)
        self._pinger.address(project.notify.heartbeat)
        self._next_ping = time.monotonic()
        self._status: str | None = None

    def reload(self, project: Project) -> None:
        """Go on with another configuration."""
        self._project = project
        self._notifier.reload(project)
        self._pinger.address(project.notify.heartbeat)
        if self._metrics:
            self._metrics.reload(project)

    def listen(self, tell: Callable[[HealEvent], None] | None) -> None:
        """Tell each event that people are notified of to this listener, too."""
        self._notifier.listen(tell)

    def begin(self, status: str) -> None:
        """Report that monitoring has begun, or that a reload has ended."""
        self._systemd.ready(status)

    def reloading(self) -> None:
        """Report that the configuration is being reloaded."""
        self._systemd.reloading()

    def observe(self, report: Report, *, whole: bool, problems: Sequence[str] = ()) -> None:
        """Report the result of a cycle. A cycle that is not `whole` checked only some of the services.

        `problems` are what is wrong now; none if all is well.
        """
        if self._metrics:
            self._metrics.observe(report.run, report.remediations, whole=whole)
        self._notifier.observe(
            report.run, report.remediations, report.gave_up, whole=whole, down=self._service_status.down
        )
        self._pinger.ping("\n".join(problems) or report.run.verdict, well=not problems)

    @property
    def fds(self) -> list[int]:
        """The descriptors to wait for."""
        return self._notifier.fds()

    @property
    def moments(self) -> list[float]:
        """The moments, on the monotonic clock, at which `attend` has something to do."""
        deadline = self._notifier.deadline()
        ping = [self._next_ping] if self._systemd.watchdog_interval else []
        long = [outage.began + LONG for outage in self._unreported.values()]
        return [*ping, *([deadline] if deadline is not None else []), *long]

    def attend(self, status: str) -> None:
        """Do what is due, and report the status if it has changed."""
        self._notifier.attend()
        self._report_long_outages()
        if self._status not in (None, status):
            self._systemd.status(status)
        self._status = status
        interval, now = self._systemd.watchdog_interval, time.monotonic()
        if interval and now >= self._next_ping:
            self._systemd.watchdog()
            self._next_ping = now + interval

    def _report_long_outages(self) -> None:
        for name, outage in self._unreported.items():
            if time.monotonic() >= outage.began + LONG:
                self._notifier.report_down(name, outage.since, outage.cause, self._service_status.down)
                outage.reported = True

    @property
    def _unreported(self) -> dict[str, Outage]:
        """The outages that may be reported before a run has ended.

        A service with dependencies waits until all checks of its cycle have run, since these may show the cause.
        """
        status, services = self._service_status, self._project.services
        return {
            name: outage
            for name, outage in status.outages.items()
            if not (outage.reported or outage.is_start) and (status.is_healing(name) or not services[name].depends_on)
        }

    def stopping(self) -> None:
        """Report that monitoring is about to end."""
        self._systemd.stopping()

    def close(self) -> None:
        """Close all receivers, after the last notifications."""
        end = time.monotonic() + _LAST_MESSAGES
        self._notifier.close(_LAST_MESSAGES)
        self._pinger.close(max(0.0, end - time.monotonic()))
        if self._metrics:
            self._metrics.close()


def _refuse_port_of_service(project: Project, port: int | None) -> None:
    """Raise ConfigError if the metrics would use the port of a service, even one that is down now."""
    for service in project.services.values():
        address = service.address if engine_of(service).owns_processes else None
        if port and address and address.port == port:
            raise ConfigError(f"--metrics: port {port} is that of the service {service.name}; choose another one")
