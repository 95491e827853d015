"""Serve the monitor's metrics to Prometheus, on this machine only. The library for it is an optional extra.

The same server takes heartbeats.

Names follow https://prometheus.io/docs/practices/naming. `observe` updates counters after a cycle. The status of
services, their downtime and their remaining budgets are read at each scrape, since they also change during or between
cycles.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import socketserver
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from http.server import HTTPServer
from typing import TYPE_CHECKING, Any

from remediation.config.model import Project, Service
from remediation.config.schema import ConfigError
from remediation.monitor.beats import BeatHandler, Receiver
from remediation.monitor.gauges import Gauges
from remediation.monitor.service_status import ServiceStatus
from remediation.state.records import CheckOutcome, Result, Run
from remediation.state.remediation import Remediation
from remediation.system import ports
from remediation.system.process import describe

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

HOST = "127.0.0.1"
_HIGHEST_PORT = 65_535
# How long a scraper may pause in the middle of a request or an answer, in seconds.
_PATIENCE = 5.0
# Concurrent requests. One more ends the oldest, so that a slow or hung client does not block others.
_MOST_AT_ONCE = 8
# How long to wait after a failed accept(2), such as without a free descriptor, in seconds.
_RETRY_SECONDS = 1.0
_VERDICTS = ("healthy", "healed", "sick", "unproven", "starting", "incomplete")


class Metrics:
    """The metrics, and the thread that serves them."""

    def __init__(self, project: Project, service_status: ServiceStatus, port: int) -> None:
        """Serve on a port of 127.0.0.1, or on any free port for 0. ConfigError if the port cannot be used."""
        try:
            from prometheus_client import CollectorRegistry, MetricsHandler, disable_created_metrics
        except ImportError:
            raise ConfigError("--metrics needs a package: pip install prometheus-client") from None
        # The creation time of each metric has no use, and would double their number.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry(auto_describe=True)
        self._counters = _Counters(registry)
        self._gauges = Gauges(project, service_status)
        registry.register(self._gauges)
        handler: Any = type("Handler", (BeatHandler, MetricsHandler.factory(registry)), {"timeout": _PATIENCE})
        self._server = _listen(port, handler)
        self.port = self._server.server_port
        self.reload(project)
        self._server.start()

    def observe(self, run: Run, remediations: Iterable[Remediation], *, whole: bool = True) -> None:
        """Count a run that ended, and its remediations. A run that is not `whole` checked only some of the services."""
        self._counters.observe(run, remediations, whole=whole)
        self._gauges.observe(run)

    def reload(self, project: Project) -> None:
        """Show the services of the new configuration, and forget all others."""
        self._counters.configure(project.services)
        self._gauges.configure(project)
        self._server.receiver = Receiver(project.state_folder, project.beat_token)

    def close(self) -> None:
        """Release the port. A second call does nothing."""
        self._server.stop()
        self._gauges.close()


class _Counters:
    """The counters. Each service has a value from the start, so that its first failure is an increase."""

    def __init__(self, registry: CollectorRegistry) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        named: Mapping[str, Any] = {"namespace": "auto_heal", "registry": registry}
        by_service = ["service"]
        self._check_up = Gauge("check_up", "Whether the check passed at the end of the last run.", ["check"], **named)
        self._latency = Histogram("check_latency_seconds", "What the passing call took.", ["check"], **named)
        self._checks = Counter("checks", "Health runs.", ["verdict"], **named)
        self._failures = Counter("failures", "Health runs that found the service sick.", by_service, **named)
        self._heals = Counter("heals", "Heals that ended.", ["service", "ok"], **named)
        self._ended = Gauge("last_check_timestamp_seconds", "When the last health run ended.", **named)
        for verdict in _VERDICTS:
            self._checks.labels(verdict)
        self._services: Mapping[str, Service] = {}
        self._known_checks: set[str] = set()

    def configure(self, services: Mapping[str, Service]) -> None:
        for name in self._services.keys() - services.keys():
            self._forget(name)
        for name in services:
            self._failures.labels(name)
            for ok in ("true", "false"):
                self._heals.labels(name, ok)
        self._services = dict(services)

    def observe(self, run: Run, remediations: Iterable[Remediation], *, whole: bool) -> None:
        self._checks.labels(run.verdict).inc()
        self._ended.set(run.ended)
        checks = {result.key: result for result in run.results if result.kind == "check"}
        for result in run.results:
            if result.kind == "service" and result.key in self._services and result.outcome.has_failed:
                self._failures.labels(result.key).inc()
        for key in self._known_checks - checks.keys() if whole else ():
            _remove(self._check_up, key)
            _remove(self._latency, key)
        for key, result in checks.items():
            self._observe_check(key, result)
        self._known_checks = set(checks) if whole else self._known_checks | set(checks)
        for remediation in remediations:
            if remediation.service in self._services:
                self._heals.labels(remediation.service, "true" if remediation.ok else "false").inc()

    def _observe_check(self, key: str, result: Result) -> None:
        # Created even if the check never passes, so that each known check has a metric to remove.
        latency = self._latency.labels(key)
        if result.latency is not None:
            latency.observe(result.latency)
        if result.outcome is CheckOutcome.SKIPPED:
            _remove(self._check_up, key)
        else:
            self._check_up.labels(key).set(result.outcome.is_well)

    def _forget(self, name: str) -> None:
        _remove(self._failures, name)
        for ok in ("true", "false"):
            _remove(self._heals, name, ok)


def _remove(metric: Any, *labels: str) -> None:
    """Remove a value if it exists. Older versions of the library raise KeyError if it does not."""
    with suppress(KeyError):
        metric.remove(*labels)


class _Server(socketserver.ThreadingMixIn, HTTPServer):
    """An HTTP server with one thread per request. Silent clients time out, and the oldest request makes room."""

    daemon_threads = True
    # Beyond the default of five, the kernel drops connections of a burst, and each of them is delayed by a second.
    request_queue_size = 128

    def __init__(self, port: int, handler: type[Any]) -> None:
        # In order of arrival.
        self._under_way: dict[socket.socket, None] = {}
        self.receiver: Receiver | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        super().__init__((HOST, port), handler)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        # The thread blocks until a connection arrives, so make one.
        with suppress(OSError):
            socket.create_connection((HOST, self.server_port), _PATIENCE).close()
        self._thread.join(_PATIENCE)
        self.server_close()
        for connection in list(self._under_way):
            _hang_up(connection)

    def _serve(self) -> None:
        # Only the main thread handles signals.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        # Unlike serve_forever, this loop does not wake up periodically to check whether to stop.
        while not self._stopping:
            self.handle_request()

    def server_bind(self) -> None:
        # HTTPServer would ask the name server for the full host name.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.server_address[1])

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError:
            time.sleep(_RETRY_SECONDS)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        for oldest in list(self._under_way)[: 1 - _MOST_AT_ONCE]:
            self._under_way.pop(oldest, None)
            _hang_up(oldest)
        self._under_way[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._under_way.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore the error: a scraper may disconnect at any time."""


def _hang_up(connection: socket.socket) -> None:
    # Wakes the thread that reads or writes, which then closes the connection.
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _listen(port: int, handler: type[Any]) -> _Server:
    """Return a server that listens but does not serve yet. ConfigError explains why it cannot listen."""
    if not 0 <= port <= _HIGHEST_PORT:
        raise ConfigError(f"--metrics: {port} is no port; choose one from 1024 to {_HIGHEST_PORT}")
    try:
        return _Server(port, handler)
    except OSError as error:
        raise ConfigError(f"--metrics: port {port} of {HOST} {_reason(error, port)}") from None


def _reason(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        pids = [listener.pid for listener in ports.listeners(port, HOST) if listener.pid]
        holder = describe(pids[0]) if pids else "another process"
        return f"is held by {holder}; stop it, or choose another port"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"is not open to this user (ID {os.getuid()}); choose one from 1024 on"
    return f"cannot be listened on: {error.strerror or error}"
