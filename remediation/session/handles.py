"""What a check holds in its hand: `services["api"].get("/api/girls")`."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from remediation.healer import look
from remediation.project.config import load_project
from remediation.project.memory import Store
from remediation.project.model import Project, Service
from remediation.project.phrase import seconds
from remediation.project.schema import ConfigError

if TYPE_CHECKING:
    import psutil
    import requests

# The whole answer is waited for until just before pytest-timeout's alarm ends the attempt, so that the
# failure is one sentence and not the traceback of wherever the alarm struck.
_HEADSTART = 0.05
_CHUNK = 65_536


_PROJECT = pytest.StashKey[tuple[Project, Store, dict[str, "requests.Session"]]]()


class ServiceDown(pytest.fail.Exception):  # type: ignore[misc, name-defined]
    """A service did not answer as it should. The sentence says it all, so pytest shows no traceback."""

    # As pytest's own outcomes do, so that a summary shows the bare name.
    __module__ = "builtins"

    def __init__(self, reason: str, *, hopeless: bool = False) -> None:
        """Fail with one sentence for people; `hopeless` if asking again is pointless until it is healed."""
        super().__init__(reason, pytrace=False)
        self.hopeless = hopeless


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
        if not self._service.command:
            pytest.skip(f"{self.name}: something else runs it, so its process is not ours to know")
        if problem := look.hopeless(self._service, self._store) or self._store.pid_file_problem(self._service):
            raise ServiceDown(problem if problem.startswith(self.name) else f"{self.name}: {problem}", hopeless=True)
        process = self.process
        if process is None:
            raise ServiceDown(f"{self.name}: its process is gone")
        address = self._service.address
        if address and not look.owns_port(address.port, process.pid):
            raise ServiceDown(f"{self.name}: its process {process.pid} does not listen on port {address.port}")
        return process

    def get(self, path: str = "", **options: Any) -> requests.Response:
        """GET a path and return the whole answer.

        `options` are those of `requests.Session.get`. Redirects are followed as requests does.
        Raises ServiceDown if no whole answer arrives within the attempt's time.
        """
        __tracebackhide__ = True
        if reason := look.hopeless(self._service, self._store):
            raise ServiceDown(reason, hopeless=True)
        import requests
        import urllib3

        path = f"/{path}" if path and path[0] not in "/?" else path
        what = f"{self.name}: GET {path or '/'}"
        late = f"{what}: no whole answer within {seconds(self._service.probe_timeout)}s"
        try:
            response = self._session().get(self.url + path, **{"stream": True, "timeout": self._left(), **options})
            self._read(response, late)
        except requests.Timeout:
            raise ServiceDown(late) from None
        except requests.ConnectionError as error:
            raise ServiceDown(f"{what}: {_root_cause(error)}") from None
        except requests.RequestException as error:
            raise ServiceDown(f"{what}: {type(error).__name__}: {error}") from None
        except urllib3.exceptions.ReadTimeoutError:
            raise ServiceDown(late) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ServiceDown(f"{what}: the answer broke off: {_root_cause(error)}") from None
        except pytest.fail.Exception as error:
            # pytest-timeout's alarm, which struck while a byte came now and then.
            raise (error if isinstance(error, ServiceDown) else ServiceDown(late)) from None
        return response

    def _left(self) -> float:
        return max(0.001, self._deadline - time.monotonic())

    def _read(self, response: requests.Response, late: str) -> None:
        """Read the body within the deadline, which a server must not stretch by a byte now and then."""
        body = io.BytesIO()
        try:
            while chunk := response.raw.read1(_CHUNK, decode_content=True):
                body.write(chunk)
                if time.monotonic() > self._deadline:
                    raise ServiceDown(late)
        finally:
            response.close()
        body.seek(0)
        response.raw = body

    def _session(self) -> requests.Session:
        if self.name not in self._sessions:
            self._sessions[self.name] = _new_session(self._service)
        return self._sessions[self.name]


def _new_session(service: Service) -> requests.Session:
    import requests

    from remediation.primitives import port

    session = requests.Session()
    # A proxy from the environment, or a .netrc, has no say in how this machine talks to itself.
    session.trust_env = not (service.address and port.is_local(service.address.host))
    return session


def prepare(project: Project, sessions: dict[str, requests.Session]) -> None:
    """Make the HTTP session of each service, none of which has a connection yet."""
    for service in project.services.values():
        if service.address and service.address.scheme != "tcp":
            sessions[service.name] = _new_session(service)


def _root_cause(error: BaseException) -> str:
    """Say what the operating system said, below the layers of requests and urllib3."""
    seen: list[BaseException] = []
    pending: list[object] = [error]
    while pending:
        current = pending.pop(0)
        if not isinstance(current, BaseException) or current in seen:
            continue
        seen.append(current)
        if isinstance(current, OSError) and current.strerror and type(current).__module__ == "builtins":
            return current.strerror.lower()
        pending += [getattr(current, "reason", None), current.__cause__, current.__context__, *current.args]
    return str(seen[-1])


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
