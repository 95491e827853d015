"""Find out what a running service answers, and by which check it can be told well from sick."""

from __future__ import annotations

import re
import secrets
import ssl
import time
from enum import Enum
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from remediation.config.model import Service
from remediation.probes import deadline_io, health_body, http
from remediation.probes.health_body import Says

# Where services say how they are, the likeliest first, among them those of Spring Boot, Kubernetes, Rails,
# MicroProfile, django-health-check and Prometheus.
USUAL_PATHS = (
    "/health", "/healthz", "/api/health", "/actuator/health", "/health/live", "/health/ready", "/livez", "/up", "/ping",
    "/status", "/api/status", "/q/health", "/_health", "/ht/", "/-/healthy",
)  # fmt: skip
# The seconds for which to ask at usual paths, however slow the service is.
_ASKING = 20.0
# A health answer is short; of a longer one, only the status counts.
_MOST_BYTES = 1 << 20
# Redirects from / that lead to a start page; more are a circle.
_REDIRECTS = 3
_LOGIN = re.compile(r"(?:log|sign)[-_]?(?:in|on)\b|\bs?auth\b|\bo?auth2?\b|\bsso\b", re.IGNORECASE)
_PASSWORD = re.compile(rb"type\s*=\s*[\"']?password", re.IGNORECASE)
_SUCCESS, _REDIRECT, _SERVER_ERROR = 2, 3, 5
_OK, _UNAVAILABLE = 200, 503
_UNAUTHORIZED = 401
_GUARDED = (_UNAUTHORIZED, 403, 407)


class Remark(Enum):
    """What a person has to know about a sight."""

    NONE = ""
    SICK = "sick"
    DOUBTFUL = "doubtful"
    """It is not quite well, by its own words, which are no ground for a heal."""
    GUARDED = "guarded"
    """It asks for credentials."""
    LOGIN = "login"
    """What answers is a page to log in by."""
    REDIRECT = "redirect"
    """It redirects to where no check follows."""
    NO_PATH = "no path"
    """It answers, but no known path with success."""
    NO_HTTP = "no http"
    TLS = "tls"
    """Its certificate is not believed."""
    SILENT = "silent"
    """Nothing takes a connection."""


class Sight(NamedTuple):
    """What was seen of a service, and what to check of it."""

    remark: Remark = Remark.NONE
    path: str = ""
    answer: http.Answer | None = None
    """The answer that decided; None if there was none."""
    problem: str = ""
    """Why there was none."""
    ready: str = "tcp"
    """A path, or "tcp"."""
    expected: dict[str, object] | None = None
    """The declared check of the path; None if only the connection can be checked."""


def look(service: Service, path: str | None = None, *, timeout: float) -> Sight:
    """Return what answers at the address of a service: at `path`, or else at usual ones, in `timeout` seconds each."""
    address = service.address
    if address is None:
        raise ValueError("a service without a url answers nowhere")
    deadline = time.monotonic() + timeout
    try:
        deadline_io.connect_to(address, deadline).close()
    except OSError as error:
        return Sight(Remark.SILENT, problem=http.why(error, service, deadline))
    if address.scheme == "tcp":
        return Sight()
    seen = _Look(service, timeout)
    try:
        return seen.at(path) if path else seen.anywhere()
    except ssl.SSLError as error:
        return Sight(Remark.TLS, problem=http.why(error, service, time.monotonic() + timeout))
    except (OSError, ValueError) as error:
        return Sight(Remark.NO_HTTP, problem=http.why(error, service, time.monotonic() + timeout))


class _Look:
    """A conversation with a service."""

    def __init__(self, service: Service, timeout: float) -> None:
        self._service = service
        self._timeout = timeout
        self._nowhere: http.Answer | None = None

    def _ask(self, path: str) -> http.Answer:
        """Return the answer at a path, also of a failure, with its body if that is short enough."""
        try:
            return self._get(path, _MOST_BYTES)
        except ssl.SSLError:
            raise
        except ValueError:
            return self._get(path, 0)

    def _get(self, path: str, most: int) -> http.Answer:
        deadline = time.monotonic() + self._timeout
        return http.get(self._service, path, deadline=deadline, most=most, any_status=True)

    def at(self, path: str) -> Sight:
        """Return what answers at a path that somebody has named."""
        try:
            path, answer = self._with_slash(path, self._ask(path))
        except ssl.SSLError:
            raise
        except (OSError, ValueError) as error:
            problem = http.why(error, self._service, time.monotonic() + self._timeout)
            return Sight(Remark.SICK, path, problem=problem, ready=path, expected={"get": path})
        if answer.status // 100 in (_SUCCESS, _SERVER_ERROR):
            return _judged(path, answer)
        sight = _guarded_or_none(path, answer)
        # As the readiness probe has it.
        is_ready = answer.status == _UNAUTHORIZED and not self._service.has_credentials
        return sight._replace(ready=path) if is_ready else sight

    def anywhere(self) -> Sight:
        """Return the first health answer at a usual path, or else what / answers."""
        end, failing = time.monotonic() + _ASKING, None
        for usual in USUAL_PATHS:
            if time.monotonic() > end:
                break
            try:
                path, answer = self._with_slash(usual, self._ask(usual))
            except (TimeoutError, ValueError):
                # Not a dozen times the same.
                break
            if self._says_health(answer):
                return _judged(path, answer)
            if answer.status // 100 == _SERVER_ERROR and failing is None:
                failing = _judged(path, answer)
        root = self._at_root()
        # A path that is not known may fail as well, so what works comes first.
        return failing if failing and root.expected is None else root

    def _says_health(self, answer: http.Answer) -> bool:
        """Return whether an answer is that of a health path, and not the one to every path."""
        if answer.status // 100 == _SUCCESS:
            health = health_body.read(answer.body)
            if health and health.says is Says.WELL:
                return True
        elif answer.status != _UNAVAILABLE:
            return False
        if self._nowhere is None:
            self._nowhere = self._ask(f"/{secrets.token_hex(8)}")
        return self._nowhere.status // 100 != answer.status // 100

    def _at_root(self) -> Sight:
        path, answer = "/", self._ask("/")
        for _ in range(_REDIRECTS):
            if answer.status // 100 != _REDIRECT:
                break
            target = self._inside(path, answer.location)
            if target is None:
                return Sight(Remark.REDIRECT, path, answer)
            there = self._ask(target)
            if there.status // 100 == _SUCCESS and (_LOGIN.search(target) or _PASSWORD.search(there.body)):
                # Checks follow the redirect, and readiness does not.
                return Sight(Remark.LOGIN, path, answer, expected={"get": "/"})
            path, answer = target, there
        return self._of_page(path, answer)

    def _of_page(self, path: str, answer: http.Answer) -> Sight:
        """Return what the answer at a path says that is not one of health."""
        if answer.status // 100 == _SERVER_ERROR:
            return _judged(path, answer)
        if answer.status // 100 != _SUCCESS:
            return _guarded_or_none(path, answer)
        if _PASSWORD.search(answer.body):
            return Sight(Remark.LOGIN, path, answer, ready=path, expected={"get": path})
        sight = _judged(path, answer)
        # It may answer so to every wrong request.
        is_unfit = sight.remark in (Remark.SICK, Remark.DOUBTFUL) and not self._says_health(answer)
        return Sight(Remark.NONE, path, answer, ready=path, expected={"get": path}) if is_unfit else sight

    def _with_slash(self, path: str, answer: http.Answer) -> tuple[str, http.Answer]:
        """Return path and answer after a redirect that only adds a slash, or takes it away."""
        target = self._inside(path, answer.location) if answer.status // 100 == _REDIRECT else None
        if target is None or target.strip("/") != path.strip("/"):
            return path, answer
        return target, self._ask(target)

    def _inside(self, path: str, location: str) -> str | None:
        """Return the path to which a redirect leads; None if that is not below the url of the service."""
        address = self._service.address
        if address is None or not location:
            return None
        base = f"http://{address.host}" if address.socket else address.url
        try:
            here, there = urlsplit(base), urlsplit(urljoin(base + path, location))
            same = (here.scheme, here.hostname, here.port) == (there.scheme, there.hostname, there.port)
        except ValueError:
            return None
        below = there.path.removeprefix(address.base_path)
        if not same or not there.path.startswith(address.base_path) or not below.startswith("/"):
            return None
        return below + (f"?{there.query}" if there.query else "")


def _judged(path: str, answer: http.Answer) -> Sight:
    """Return what an answer of success or of a failing server says, and the check of the well service."""
    expected: dict[str, object] = {"get": path}
    if answer.status // 100 != _SUCCESS:
        # Its status will say that it is well. In which words, nobody knows, and a wrong guess would restart it then.
        return Sight(Remark.SICK, path, answer, ready=path, expected=expected)
    health = health_body.read(answer.body)
    status = {} if answer.status == _OK else {"status": answer.status}
    remarks = {Says.SICK: Remark.SICK, Says.DOUBTFUL: Remark.DOUBTFUL}
    remark = remarks.get(health.says, Remark.NONE) if health else Remark.NONE
    return Sight(remark, path, answer, ready=path, expected=expected | status | (health.expected if health else {}))


def _guarded_or_none(path: str, answer: http.Answer) -> Sight:
    return Sight(Remark.GUARDED if answer.status in _GUARDED else Remark.NO_PATH, path, answer)
