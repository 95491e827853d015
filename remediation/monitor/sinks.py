"""Everybody who is told how a cycle ended: the metrics, the notifier, systemd; each only if it is wanted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from remediation.config.model import Project
from remediation.config.schema import ConfigError
from remediation.engines import engine_of
from remediation.monitor.metrics import Metrics
from remediation.monitor.notifications import Notifier, require
from remediation.monitor.protocol import Report
from remediation.monitor.sd_notify import Systemd
from remediation.monitor.service_status import ServiceStatus

# How long the last messages are waited for at the end, in seconds.
_LAST_MESSAGES = 5.0
# For how long a service is down before people are told of it though its heal goes on, in seconds.
LONG = 10.0


class Sinks:
    """Hands on what the monitor finds; nothing here takes long, and nothing here can fail it."""

    def __init__(
        self, project: Project, service_status: ServiceStatus, *, metrics_port: int | None, tell: Callable[..., None]
    ) -> None:
        """Make what the command line and the configuration want. ConfigError if an extra is missing for it."""
        require(project)
        _refuse_port_of_service(project, metrics_port)
        self._service_status = service_status
        self._systemd = Systemd(os.environ)
        self._metrics = Metrics(project, service_status, metrics_port) if metrics_port is not None else None
        self._notifier = Notifier(project, tell=tell)
        self._next_ping = time.monotonic()
        self._status: str | None = None

    def reload(self, project: Project) -> None:
        """Go on with another configuration."""
        self._notifier.reload(project)
        if self._metrics:
            self._metrics.reload(project)

    def begin(self, status: str) -> None:
        """Tell that the watch has begun, or that a reload has ended."""
        self._systemd.ready(status)

    def reloading(self) -> None:
        """Tell that the configuration is read again."""
        self._systemd.reloading()

    def observe(self, report: Report, *, whole: bool) -> None:
        """Tell how a cycle ended, which was of all services or, if not `whole`, of some."""
        if self._metrics:
            self._metrics.observe(report.run, report.remediations, whole=whole)
        self._notifier.observe(report.run, report.remediations, report.gave_up, whole=whole)

    @property
    def fds(self) -> list[int]:
        """The descriptors to wait for."""
        return self._notifier.fds()

    @property
    def moments(self) -> list[float]:
        """The moments, on the monotonic clock, at which `attend` has something to do."""
        deadline = self._notifier.deadline()
        ping = [self._next_ping] if self._systemd.watchdog_interval else []
        long = [trouble.began + LONG for trouble in self._service_status.troubles.values() if not trouble.told]
        return [*ping, *([deadline] if deadline is not None else []), *long]

    def attend(self, status: str) -> None:
        """Do what is due, and tell the status if it has changed."""
        self._notifier.attend()
        self._tell_who_is_down_for_long()
        if self._status not in (None, status):
            self._systemd.status(status)
        self._status = status
        interval, now = self._systemd.watchdog_interval, time.monotonic()
        if interval and now >= self._next_ping:
            self._systemd.watchdog()
            self._next_ping = now + interval

    def _tell_who_is_down_for_long(self) -> None:
        for name, trouble in self._service_status.troubles.items():
            if not trouble.told and time.monotonic() >= trouble.began + LONG:
                self._notifier.tell_down(name, trouble.since, trouble.cause)
                trouble.told = True

    def stopping(self) -> None:
        """Tell that the watch is about to end."""
        self._systemd.stopping()

    def close(self) -> None:
        """Let go of everything, after the last messages."""
        self._notifier.close(_LAST_MESSAGES)
        if self._metrics:
            self._metrics.close()


def _refuse_port_of_service(project: Project, port: int | None) -> None:
    """Raise ConfigError if the metrics would take the port from a service, which may be down right now."""
    for service in project.services.values():
        address = service.address if engine_of(service).owns_processes else None
        if port and address and address.port == port:
            raise ConfigError(f"--metrics: port {port} is that of the service {service.name}; choose another one")
