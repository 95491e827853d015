"""What a check holds in its hand: `services["api"].get("/api/girls")`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import pytest

from remediation.checks.errors import ServiceDown
from remediation.config.load import load_project
from remediation.config.model import Address, Project, Service
from remediation.config.schema import ConfigError
from remediation.engines import engine_of
from remediation.healing import liveness
from remediation.messages.message import english
from remediation.state.service_state import Store

if TYPE_CHECKING:
    import psutil
    import requests

    from remediation.checks.transport import Answer

# The whole answer is waited for until just before pytest-timeout's alarm ends the attempt, so that the
# failure is one sentence and not the traceback of wherever the alarm struck.
_HEADSTART = 0.05

_PROJECT = pytest.StashKey[tuple[Project, Store, dict[str, "requests.Session"]]]()


class Handle:
    """One service, as a check sees it."""

    def __init__(self, service: Service, store: Store, sessions: dict[str, requests.Session], deadline: float) -> None:
        """Give an attempt until `deadline`, on the monotonic clock."""
        self._service = service
        self._store = store
        self._sessions = sessions
        self._deadline = deadline

    @property
    def name(self) -> str:
        """The name in the configuration."""
        return self._service.name

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        if self._service.address is None:
            raise ConfigError(f"services.{self.name}: has no url")
        return self._service.address.url

    @property
    def port(self) -> int | None:
        """The TCP port of the URL."""
        return self._service.address.port if self._service.address else None

    @property
    def process(self) -> psutil.Process | None:
        """The live process that the PID file names, if auto-heal started it."""
        identity = self._store.proven_process(self._service)
        if identity is None or self._store.pid_file_problem(self._service):
            return None
        import psutil

        try:
            return psutil.Process(identity.pid)
        except psutil.NoSuchProcess:
            return None

    def require_process(self) -> psutil.Process:
        """Return the process behind the PID file: alive, started by auto-heal, and the owner of the port.

        Raises ServiceDown, which says what is wrong with it.
        """
        __tracebackhide__ = True
        engine = engine_of(self._service)
        if not engine.knows_process:
            pytest.skip(english("run_by_others", name=self.name))
        if problem := liveness.hopeless(self._service, self._store) or self._store.pid_file_problem(self._service):
            raise ServiceDown(problem if problem.startswith(self.name) else f"{self.name}: {problem}", hopeless=True)
        process = self.process
        if process is None:
            raise ServiceDown(english("process_gone", name=self.name))
        address = self._service.address
        if address and not engine.owns_address(self._store.recall(self._service)):
            raise ServiceDown(english("not_listening", name=self.name, pid=process.pid, port=address.port))
        return process

    def get(self, path: str = "", **options: Any) -> Answer:
        """GET a path and return the whole answer, of at most 8 MiB when it is decompressed.

        `options` are those of `requests.Session.get`; none of them gives it more than the attempt's time.
        A redirect is followed as long as it leads to the same host and port, or from http to https there; what
        another host answers would say nothing of this service. With `allow_redirects=False` it is handed back.
        Raises ServiceDown if no whole answer arrives in time, and `.json()` of the answer does if it is no JSON.
        """
        __tracebackhide__ = True
        if reason := liveness.hopeless(self._service, self._store):
            raise ServiceDown(reason, hopeless=True)
        from urllib3.exceptions import HTTPError

        from remediation.checks.transport import Limits

        path = f"/{path}" if path and path[0] not in "/?" else path
        what, url = f"{self.name}: GET {path or '/'}", self.url
        session = self._session()
        if self._service.ca_file or not self._service.verify:
            # With each request, or else REQUESTS_CA_BUNDLE would come first for a service elsewhere.
            options.setdefault("verify", session.verify)
        limits = Limits.of(options.pop("timeout", None), self._deadline)
        try:
            answer = cast("Answer", session.get(url + path, **options, timeout=limits))  # type: ignore[arg-type]
        except (HTTPError, OSError, ValueError) as error:
            raise ServiceDown(f"{what}: {self._why(error)}") from None
        except pytest.fail.Exception as error:
            # pytest-timeout's alarm, which struck while a byte came now and then.
            raise (error if isinstance(error, ServiceDown) else ServiceDown(f"{what}: {self._late}")) from None
        answer.what = what
        return answer

    @property
    def _late(self) -> str:
        return english("late", seconds=float(self._service.probe_timeout))

    def _why(self, error: Exception) -> str:
        from remediation.checks import transport

        return self._late if transport.is_late(error) else transport.why(error, self._service, self._deadline)

    def _session(self) -> requests.Session:
        if self.name not in self._sessions:
            self._sessions[self.name] = _new_session(self._service, self._deadline)
        return self._sessions[self.name]


def _new_session(service: Service, deadline: float) -> requests.Session:
    """Make the HTTP session of a service; takes at most half of what is left until `deadline`."""
    from remediation.checks.transport import MOST_REDIRECTS, Adapter, Session

    session = Session()
    session.max_redirects = MOST_REDIRECTS
    session.adapters.clear()
    session.mount("", Adapter())
    session.verify = str(service.ca_file) if service.ca_file else service.verify
    if address := service.address:
        # A proxy from the environment, or a .netrc, has no say in how this machine talks to itself.
        session.trust_env = not _is_here(address, (time.monotonic() + deadline) / 2)
    return session


def _is_here(address: Address, deadline: float) -> bool:
    from remediation.probes import deadline_io
    from remediation.system import ports

    try:
        return all(ports.is_local(one) for one in deadline_io.addresses(address.host, address.port, deadline))
    except OSError:
        return False


def prepare(project: Project, sessions: dict[str, requests.Session]) -> None:
    """Make the HTTP session of each service, none of which has a connection yet."""
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
    ) -> None:
        """Start the attempt's clock; what is shown goes to `properties`."""
        headstart = min(_HEADSTART, project.timeout / 10)
        deadline = time.monotonic() + project.timeout - headstart
        self._project = project
        self._properties = properties
        self._handles = {name: Handle(service, store, sessions, deadline) for name, service in project.services.items()}

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
        """Show values beside a passing check: `show(count=6)` gives `/api/girls OK (count: 6)`."""
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
    return Services(project, store, sessions=sessions, properties=request.node.user_properties)
