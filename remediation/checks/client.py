"""The client that a check uses: `services["api"].get("/api/girls")`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any, cast

import pytest

from remediation.checks import REDIRECTED
from remediation.checks.errors import ServiceDown
from remediation.config.load import load_project
from remediation.config.model import Address, Project, Service
from remediation.config.schema import ConfigError
from remediation.engines import engine_of
from remediation.engines.engine import Engine
from remediation.engines.listening import elsewhere
from remediation.healing import liveness
from remediation.messages.message import english
from remediation.probes import readiness
from remediation.state.service_state import ServiceState, Store
from remediation.system.process import Identity, introduce

if TYPE_CHECKING:
    import psutil
    import requests

    from remediation.checks.transport import Answer

# A request times out this many seconds before pytest-timeout's alarm ends the attempt, so that the failure is
# one sentence and not the traceback of the place where the alarm struck.
_HEADSTART = 0.05

_PROJECT = pytest.StashKey[tuple[Project, Store, dict[str, "requests.Session"]]]()


class Handle:
    """One service, as a check sees it."""

    def __init__(
        self,
        service: Service,
        store: Store,
        sessions: dict[str, requests.Session],
        timeout: float,
        properties: list[tuple[str, object]],
    ) -> None:
        """End every request `timeout` seconds from now; add what a person should know to `properties`."""
        self._service = service
        self._store = store
        self._sessions = sessions
        self._timeout = timeout
        self._deadline = deadline_in(timeout)
        self._properties = properties

    @property
    def name(self) -> str:
        """The name in the configuration."""
        return self._service.name

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        if self._service.address is None:
            raise ConfigError(f"services.{self.name}: has no url")
        return self._service.address.url

    @property
    def port(self) -> int | None:
        """The TCP port of the URL; None for a Unix socket."""
        return (self._service.address.port or None) if self._service.address else None

    @property
    def process(self) -> psutil.Process | None:
        """The live process in the PID file, if auto-heal started it."""
        identity = self._store.proven_process(self._service)
        if identity is None or self._store.pid_file_problem(self._service):
            return None
        import psutil

        try:
            return psutil.Process(identity.pid)
        except psutil.NoSuchProcess:
            return None

    def require_process(self) -> psutil.Process:
        """Return the process in the PID file: alive, started or adopted by auto-heal, and alone on the port.

        Raises ServiceDown with the problem. If a server answers well that is not the service's, nothing is healed.
        """
        __tracebackhide__ = True
        engine = engine_of(self._service)
        if not engine.knows_process:
            pytest.skip(english("run_by_others", name=self.name))
        if problem := liveness.hopeless(self._service, self._store):
            raise ServiceDown(problem, retry_is_pointless=True)
        state = self._store.recall(self._service)
        if engine.main_process(state) is None and (process := self._unrecorded(engine, state)):
            return process
        if problem := self._store.pid_file_problem(self._service):
            raise ServiceDown(f"{self.name}: {problem}", retry_is_pointless=True)
        process = self.process
        if process is None:
            raise ServiceDown(english("process_gone", name=self.name))
        address = self._service.address
        if address and not engine.owns_address(state):
            raise ServiceDown(self._not_listening(process.pid, address))
        if rivals := engine.rivals(state):
            others = ", ".join(introduce(pid) for pid in rivals)
            raise ServiceDown(
                english("rivals", name=self.name, url=address, holder=introduce(process.pid), others=others)
            )
        return process

    def _not_listening(self, pid: int, address: Address) -> str:
        """Return that a process does not listen on the service's address, and where else it listens."""
        if (identity := Identity.of(pid)) and (there := elsewhere(self._service, identity)):
            return english("listens_elsewhere", name=self.name, pid=pid, there=there, place=address.place)
        place = {"socket": address.socket} if address.socket else {"port": address.port}
        return english("not_listening_socket" if address.socket else "not_listening", name=self.name, pid=pid, **place)

    def _unrecorded(self, engine: Engine, state: ServiceState) -> psutil.Process | None:
        """Return the process that the run adopts, or will; ServiceDown if one that cannot be adopted answers well."""
        __tracebackhide__ = True
        # Half of the time, so that what is found can still be told before the attempt ends.
        if not readiness.answers(self._service, timeout=self._service.probe_timeout / 2):
            return None
        import psutil

        found = engine.lost_process(state, self._store)
        if found:
            try:
                return psutil.Process(found.identity.pid)
            except psutil.NoSuchProcess:
                return None
        if stranger := engine.stranger(state):
            raise ServiceDown(str(stranger), heals_nothing=True)
        return None

    def get(self, path: str = "", **options: Any) -> Answer:
        """GET a path: `request` says what is returned and raised."""
        __tracebackhide__ = True
        return self.request("GET", path, **options)

    def post(self, path: str = "", **options: Any) -> Answer:
        """POST to a path: `request` says what is returned and raised."""
        __tracebackhide__ = True
        return self.request("POST", path, **options)

    def request(self, method: str, path: str = "", **options: Any) -> Answer:
        """Send a request and return the complete response, of at most 8 MiB after decompression.

        `options` are those of `requests.Session.request`; none of them extends the time of the attempt.
        Redirects are followed to the same host and port, or from http to https on that host: the response of
        another host would prove nothing about this service. `allow_redirects=False` returns the redirect response.
        Raises ServiceDown if no complete response arrives in time. `.json()` of the response raises ServiceDown if
        it is not JSON.
        """
        __tracebackhide__ = True
        if reason := liveness.hopeless(self._service, self._store):
            raise ServiceDown(reason, retry_is_pointless=True)
        from urllib3.exceptions import HTTPError

        from remediation.checks.transport import SOCKET_URL, Limits

        path = f"/{path}" if path and path[0] not in "/?" else path
        what, url = f"{self.name}: {method} {path or '/'}", self.url
        if self._service.address and self._service.address.socket:
            url = SOCKET_URL
        session = self._session()
        if self._service.ca_file or not self._service.verify:
            # Passed with each request, because REQUESTS_CA_BUNDLE would take precedence for a remote service.
            options.setdefault("verify", session.verify)
        limits = Limits.of(options.pop("timeout", None), self._deadline)
        try:
            answer = cast("Answer", session.request(method, url + path, **options, timeout=limits))  # type: ignore[arg-type]
        except (HTTPError, OSError, ValueError) as error:
            raise ServiceDown(f"{what}: {self._reason(error)}") from None
        except pytest.fail.Exception as error:
            # pytest-timeout's alarm struck because the server sent single bytes slowly.
            raise (error if isinstance(error, ServiceDown) else ServiceDown(f"{what}: {self._late_reason}")) from None
        answer.what = what
        if answer.history:
            self._show_redirect(answer)
        return answer

    def prepare(self) -> None:
        """Make the session, and import what it needs, so that the time of the first request is its own."""
        self._session()

    def _show_redirect(self, answer: Answer) -> None:
        """Show beside a passing check where its response came from: a page to log in by proves little."""
        from urllib.parse import urlsplit

        shown = (REDIRECTED, urlsplit(answer.url).path or "/")
        if shown not in self._properties:
            self._properties.append(shown)

    @property
    def _late_reason(self) -> str:
        return english("late", seconds=float(self._timeout))

    def _reason(self, error: Exception) -> str:
        from remediation.checks import transport

        if transport.is_late(error):
            return self._late_reason
        return transport.reason(error, self._service, self._deadline)

    def _session(self) -> requests.Session:
        if self.name not in self._sessions:
            self._sessions[self.name] = _new_session(self._service, self._deadline)
        return self._sessions[self.name]


def _new_session(service: Service, deadline: float) -> requests.Session:
    """Make the HTTP session of a service in at most half of the time until `deadline`."""
    from remediation.checks.transport import MOST_REDIRECTS, Adapter, Authorization, Session

    session = Session()
    session.max_redirects = MOST_REDIRECTS
    session.adapters.clear()
    session.mount("", Adapter(service.address.socket if service.address else None))
    session.headers.update(service.request_headers)
    if authorization := session.headers.pop("Authorization", None):
        session.auth = Authorization(str(authorization))
    session.verify = str(service.ca_file) if service.ca_file else service.verify
    if address := service.address:
        # Proxies from the environment and a .netrc do not apply to requests of this machine to itself.
        session.trust_env = not _is_local(address, (time.monotonic() + deadline) / 2)
    return session


def _is_local(address: Address, deadline: float) -> bool:
    from remediation.probes import deadline_io
    from remediation.system import ports

    if address.socket:
        return True
    try:
        return all(ports.is_local(ip) for ip in deadline_io.addresses(address.host, address.port, deadline))
    except OSError:
        return False


def prepare(project: Project, sessions: dict[str, requests.Session]) -> None:
    """Make the HTTP session of each service, without connecting."""
    for service in project.services.values():
        if service.address and service.address.scheme != "tcp":
            sessions[service.name] = _new_session(service, time.monotonic() + service.probe_timeout)


class Services(Mapping[str, Handle]):
    """The configured services by name, for one attempt at a check."""

    def __init__(
        self,
        project: Project,
        store: Store,
        *,
        sessions: dict[str, requests.Session],
        properties: list[tuple[str, object]],
        timeout: float | None = None,
    ) -> None:
        """Start the attempt's clock, by default with the project's timeout; `show` adds its values to `properties`."""
        timeout = timeout or project.timeout
        self._project = project
        self._properties = properties
        self._handles = {
            name: Handle(service, store, sessions, timeout, properties) for name, service in project.services.items()
        }

    def __getitem__(self, name: str) -> Handle:
        try:
            return self._handles[name]
        except KeyError:
            known = ", ".join(sorted(self._handles))
            raise ConfigError(
                f"no service is called {name!r} in {self._project.source.name}; known services: {known}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._handles)

    def __len__(self) -> int:
        return len(self._handles)

    def show(self, **values: object) -> None:
        """Show values next to a passing check: `show(count=6)` gives `/api/girls OK (count: 6)`."""
        self._properties += values.items()


def project_of(config: pytest.Config) -> tuple[Project, Store, dict[str, requests.Session]]:
    """Return the project that governs this session, its store, and its HTTP sessions by service.

    Raises UsageError, which pytest shows as one line and exits with 4.
    """
    if _PROJECT not in config.stash:
        try:
            project = load_project(config.invocation_params.dir)
        except ConfigError as error:
            raise pytest.UsageError(str(error)) from None
        config.stash[_PROJECT] = project, Store(project), {}
    return config.stash[_PROJECT]


def services_for(request: pytest.FixtureRequest) -> Services:
    """Return the services for one attempt at a check."""
    project, store, sessions = project_of(request.config)
    timeout = timeout_of(request.node, project)
    return Services(project, store, sessions=sessions, properties=request.node.user_properties, timeout=timeout)


def timeout_of(item: pytest.Item, project: Project) -> float:
    """Return the seconds of an attempt: those of its marker, those of --timeout, or those of the project."""
    from remediation.checks.heartbeat_plugin import deadline_of

    timeout = deadline_of(item)
    return timeout if isfinite(timeout) else project.timeout


def deadline_in(timeout: float) -> float:
    """Return the moment, on the monotonic clock, at which an attempt that begins now has to say why it failed."""
    return time.monotonic() + timeout - min(_HEADSTART, timeout / 10)
