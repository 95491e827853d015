"""Serve a monitor's numbers to Prometheus, on this machine alone; an extra, so that others need not install it.

Names follow https://prometheus.io/docs/practices/naming. What is counted is set by `observe` after a cycle. How the
services stand, for how long they have been down, and what is left of their budgets is looked up when somebody asks: it
changes in the middle of a cycle, or while nothing happens.
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
# Seconds that a scraper may keep silent in the middle of a request, or of our answer.
_PATIENCE = 5.0
# Requests under way at a time; one more ends the oldest, so that who hangs or drips keeps nobody out.
_MOST_AT_ONCE = 8
# After a connection could not be taken, as without a free descriptor, the next attempt is not made at once.
_BREATH = 1.0
_VERDICTS = ("healthy", "healed", "sick", "unproven", "incomplete")


class Metrics:
    """The numbers, and the thread that serves them."""

    def __init__(self, project: Project, service_status: ServiceStatus, port: int) -> None:
        """Serve on a port of 127.0.0.1, any free one for 0; ConfigError if it cannot be had."""
        try:
            from prometheus_client import CollectorRegistry, MetricsHandler, disable_created_metrics
        except ImportError:
            raise ConfigError("--metrics needs a package: pip install prometheus-client") from None
        # When each number began to be counted is of no use, and would be as many numbers again.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry(auto_describe=True)
        self._numbers = _Numbers(registry)
        self._now = Gauges(project, service_status)
        registry.register(self._now)
        handler: Any = MetricsHandler.factory(registry)
        handler.timeout = _PATIENCE
        self._server = _listen(port, handler)
        self.port = self._server.server_port
        self.reload(project)
        self._server.start()

    def observe(self, run: Run, remediations: Iterable[Remediation], *, whole: bool = True) -> None:
        """Count a run that ended, and what it did; one that is not `whole` checked only some of the services."""
        self._numbers.observe(run, remediations, whole=whole)
        self._now.observe(run)

    def reload(self, project: Project) -> None:
        """Forget the services that the configuration no longer has, and show those that it has."""
        self._numbers.configure(project.services)
        self._now.configure(project)

    def close(self) -> None:
        """Give the port back. A second time does nothing."""
        self._server.stop()
        self._now.close()


class _Numbers:
    """What is counted, with a value for every service from the start, so that the first failure is an increase."""

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
        for one in remediations:
            if one.service in self._services:
                self._heals.labels(one.service, "true" if one.ok else "false").inc()

    def _observe_check(self, key: str, result: Result) -> None:
        # Made even if it never passes, so that what is known is what can be removed.
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
    """Take a value out, if it is there: older versions of the library raise KeyError if it is not."""
    with suppress(KeyError):
        metric.remove(*labels)


class _Server(socketserver.ThreadingMixIn, HTTPServer):
    """One thread a request, and none of them lasts: the silent are timed out, and the oldest makes room."""

    daemon_threads = True
    # With the default of five, a burst of connections costs others a second each: the kernel drops what is beyond.
    request_queue_size = 128

    def __init__(self, port: int, handler: type[Any]) -> None:
        # In the order in which they came.
        self._under_way: dict[socket.socket, None] = {}
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        super().__init__((HOST, port), handler)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        # The thread waits for a connection for as long as it takes; this is one.
        with suppress(OSError):
            socket.create_connection((HOST, self.server_port), _PATIENCE).close()
        self._thread.join(_PATIENCE)
        self.server_close()
        for connection in list(self._under_way):
            _hang_up(connection)

    def _serve(self) -> None:
        # Signals are for the thread that knows what to do with them.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        # Unlike serve_forever, this does not wake up in between to see whether it shall end.
        while not self._stopping:
            self.handle_request()

    def server_bind(self) -> None:
        # Without the name server, whom HTTPServer asks for our full name.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.server_address[1])

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError:
            time.sleep(_BREATH)
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
        """Say nothing: a scraper that went away is no news."""


def _hang_up(connection: socket.socket) -> None:
    # Wakes the thread that reads from it or writes to it, and leaves the closing to that one.
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _listen(port: int, handler: type[Any]) -> _Server:
    """Return a server that listens but does not serve yet; ConfigError says why there can be none."""
    if not 0 <= port <= _HIGHEST_PORT:
        raise ConfigError(f"--metrics: {port} is no port; choose one from 1024 to {_HIGHEST_PORT}")
    try:
        return _Server(port, handler)
    except OSError as error:
        raise ConfigError(f"--metrics: port {port} of {HOST} {_explained(error, port)}") from None


def _explained(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        pids = [listener.pid for listener in ports.listeners(port, HOST) if listener.pid]
        holder = describe(pids[0]) if pids else "another process"
        return f"is held by {holder}; stop it, or choose another port"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"is not open to this user (ID {os.getuid()}); choose one from 1024 on"
    return f"cannot be listened on: {error.strerror or error}"
