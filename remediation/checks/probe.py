"""What a check can measure: `probe.memory("api", below="500 MiB")`.

Every method measures until the attempt's deadline at most, whatever the other side does. It returns what it measured,
and fails with one sentence. It can be called in any thread.
"""

from __future__ import annotations

import os
import re
import shlex
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from remediation.checks.errors import OverLimit, ServiceDown
from remediation.checks.results import MEASUREMENTS
from remediation.config import quantities
from remediation.config.errors import InvalidValueError
from remediation.config.model import Address, Project, Service, address_in
from remediation.config.schema import ConfigError
from remediation.engines import engine_of
from remediation.healing import liveness
from remediation.messages.formatting import spoken
from remediation.messages.message import english, printable
from remediation.probes import deadline_io, log_lines
from remediation.state import log_positions
from remediation.state.log_positions import Position
from remediation.state.records import Measurement
from remediation.state.service_state import Store
from remediation.system.process import Identity, descendants
from remediation.system.secrets import redacted, redacted_words

if TYPE_CHECKING:
    import pytest

    from remediation.probes.certificate import Certificate

Value = TypeVar("Value")

_HTTPS = 443
# In percent.
_LEAST_SHARE = 0.001
# The most bytes of a command's output, and the most characters of it to look for why it failed.
_MOST_OUTPUT, _SAID = 1 << 18, 1 << 14

# Where the logs were looked at last, when this process first looked: all its attempts look at the same lines. A later
# round is another process, which may be a fork of this one.
_starts: dict[tuple[int, str], Position | None] = {}


class Probe:
    """What one attempt at a check can measure."""

    def __init__(
        self,
        project: Project,
        store: Store,
        *,
        deadline: float,
        properties: list[tuple[str, object]],
        measurements: list[Measurement] | None = None,
    ) -> None:
        """End by `deadline`, on the monotonic clock; add what is measured to `properties` and `measurements`.

        `properties` are shown beside a check that passes, `measurements` are kept in the history.
        """
        self._project = project
        self._store = store
        self._deadline = deadline
        self._properties = properties
        self._measurements = [] if measurements is None else measurements
        self._targets: dict[str, str] = {}

    # The network.

    def tcp(self, address: str) -> float:
        """Connect to `host:port`, to a Unix socket or to a service, and return the seconds that it took."""
        __tracebackhide__ = True
        place = self._address("tcp", address)
        began = time.monotonic()
        try:
            deadline_io.connect_to(place, self._deadline).close()
        except OSError as error:
            raise ServiceDown(f"TCP {place.place}: {deadline_io.why(error)}") from None
        return self._took("tcp", place.place, began)

    def dns(
        self, name: str, kind: str = "A", *, server: str | None = None, contains: str | Sequence[str] | None = None
    ) -> list[str]:
        """Return the records of a name; fail if there are none, or not all that it has to contain.

        `server` is the IP address of a name server, with a port if it is not 53; the default are those of the system.
        """
        __tracebackhide__ = True
        _require("dns.resolver", "dns", "dnspython")
        from remediation.probes import dns

        wanted = [contains] if isinstance(contains, str) else list(contains or ())
        _require_text("dns", name=name, kind=kind, server=server or "")

        began = time.monotonic()
        try:
            asked = dns.server_of(server) if server else None
            found = dns.records(name, kind.upper(), server=asked, deadline=self._deadline)
        except ValueError as error:
            raise _wrong("dns", error) from None
        except dns.DnsError as error:
            raise ServiceDown(f"DNS {name}: {error}") from None
        if missing := [record for record in wanted if record not in found]:
            raise ServiceDown(f"DNS {name}: {english('dns_other', there=found, place=missing)}")
        self._took("dns", name, began)
        return found

    def tls(
        self,
        address: str,
        *,
        expires_in: str | float | None = None,
        ca_file: str | Path | None = None,
        verify: bool = True,
    ) -> Certificate:
        """Return the certificate of the server at `host:port`, or of a service; fail if it is not trusted.

        With `expires_in`, such as "14d", fail if it expires sooner. The `ca_file` and `verify` of a service apply.
        """
        __tracebackhide__ = True
        from remediation.probes import certificate, tls

        limit = None if expires_in is None else self._argument("tls", "expires_in", expires_in, quantities.seconds)
        if service := self._project.services.get(address):
            ca_file, verify = ca_file or service.ca_file, verify and service.verify
        place = self._address("tls", address, port=_HTTPS)
        file = self._ca_file("tls", ca_file)
        what = f"TLS {place.place}"
        try:
            shown = certificate.of(place.host, place.port, verify=verify, ca_file=file, deadline=self._deadline)
        except ssl.SSLError as error:
            host, port, deadline = place.host, place.port, self._deadline
            problem = tls.problem(error, host=host, port=port, ca_file=file, deadline=deadline)
            raise ServiceDown(f"{what}: {problem}") from None
        except OSError as error:
            raise ServiceDown(f"{what}: {deadline_io.why(error)}") from None
        left, until = shown.seconds_left, f"{shown.not_after:%Y-%m-%d}"
        self._record("tls", place.place, left, "s", f"expires in {spoken(left)}")
        if limit is not None and left <= 0:
            raise ServiceDown(f"{what}: {english('cert_expired_on', until=until)}")
        if limit is not None and left < limit:
            time_left, limit_said = spoken(left), spoken(limit)
            raise ServiceDown(f"{what}: {english('cert_expires', time=time_left, until=until, limit=limit_said)}")
        return shown

    # Databases.

    def redis(self, url: str, *, ca_file: str | Path | None = None, verify: bool = True) -> float:
        """Ask the Redis server of a URL for a PING, and return the seconds until its PONG.

        The URL is such as `redis://:password@localhost:6379/0`, `rediss://localhost` or `unix:///run/redis.sock`.
        """
        __tracebackhide__ = True
        from remediation.probes import redis, tls

        _require_text("redis", url=url)
        try:
            server = redis.target(url)
        except ValueError as error:
            raise _wrong("redis", error) from None
        began, what = time.monotonic(), f"PING {server.place}"
        file = self._ca_file("redis", ca_file)
        try:
            redis.ping(server, ca_file=file, verify=verify, deadline=self._deadline)
        except ssl.SSLError as error:
            problem = tls.problem(error, host=server.host, port=server.port, ca_file=file, deadline=self._deadline)
            raise ServiceDown(f"{what}: {problem}") from None
        except (OSError, redis.RedisError) as error:
            raise ServiceDown(f"{what}: {deadline_io.why(error)}") from None
        return self._took("redis", server.place, began)

    def postgres(self, dsn: str, query: str = "SELECT 1") -> list[tuple[Any, ...]]:
        """Return the rows that a query yields, in a transaction that is rolled back.

        The DSN is such as `postgresql://user:password@localhost:5432/app`, or libpq's `host=... dbname=...`.
        """
        __tracebackhide__ = True
        _require("psycopg", "postgres", "psycopg")
        from remediation.probes import postgres

        _require_text("postgres", dsn=dsn, query=query)
        try:
            place = postgres.place(dsn)
        except ValueError as error:
            raise _wrong("postgres", error) from None
        began = time.monotonic()
        try:
            rows = postgres.query(dsn, query, deadline=self._deadline)
        except (OSError, postgres.PostgresError) as error:
            raise ServiceDown(f"SQL {place}: {deadline_io.why(error)}") from None
        self._took("postgres", place, began)
        return rows

    # The processes of a service.

    def memory(self, service: str, *, below: str | float) -> int:
        """Return the bytes of memory that a service's processes use together; fail if it is not below a size."""
        __tracebackhide__ = True
        from remediation.probes import resources

        limit = self._argument("memory", "below", below, quantities.size, least=1)
        processes = self._processes(service)
        used = self._used(service, lambda: resources.memory(processes, deadline=self._deadline))
        size = quantities.spoken_size(used.size)
        self._record("memory", service, used.size, "B", size)
        if used.size >= limit:
            key = "memory_above" if used.is_proportional else "memory_above_rss"
            said = quantities.spoken_size(limit)
            raise OverLimit(english(key, name=service, size=size, limit=said, count=len(processes)))
        return used.size

    def cpu(self, service: str, *, below: str | float) -> float:
        """Return the CPU time of a service's processes in percent of one core; fail if it is not below a share."""
        __tracebackhide__ = True
        from remediation.probes import resources

        limit = self._argument("cpu", "below", below, quantities.share, least=_LEAST_SHARE)
        count = len(self._processes(service))
        used = self._used(service, lambda: resources.cpu(lambda: self._processes(service), deadline=self._deadline))
        self._record("cpu", service, used, "%", f"{used:.0f}%")
        if used >= limit:
            share, said = f"{used:.0f}%", f"{limit:g}%"
            raise OverLimit(english("cpu_above", name=service, share=share, limit=said, count=count))
        return used

    def open_files(self, service: str, *, below: str | float) -> int:
        """Return the open files of the process of a service that is nearest to its own limit.

        Fail if they are not below a share of that limit, such as "80%", or below a number.
        """
        __tracebackhide__ = True
        from remediation.probes import resources

        most = 100 if isinstance(below, str) else inf
        limit = self._argument("open_files", "below", below, quantities.share, least=_LEAST_SHARE, most=most)
        processes = self._processes(service)
        used = self._used(service, lambda: resources.open_files(processes, deadline=self._deadline))
        self._record("open_files", service, used.opened, "", f"{used.opened} of {used.limit or 'any number'}")
        if (used.share if isinstance(below, str) else used.opened) >= limit:
            said = f"{limit:g}%" if isinstance(below, str) else f"{limit:g}"
            key = "files_above" if used.limit else "files_above_unlimited"
            values = {"pid": used.pid, "count": used.opened, "most": used.limit, "share": f"{used.share:.0f}%"}
            raise OverLimit(english(key, name=service, limit=said, **values))
        return used.opened

    def _used(self, name: str, measure: Callable[[], Value]) -> Value:
        __tracebackhide__ = True
        from remediation.probes.resources import UnreadableError

        try:
            return measure()
        except OSError:
            raise ServiceDown(english("usage_late", name=name), heals_nothing=True) from None
        except UnreadableError as error:
            if error.is_denied:
                raise ServiceDown(english("usage_denied", name=name), heals_nothing=True) from None
            raise ServiceDown(english("process_gone", name=name)) from None

    def _processes(self, name: str) -> list[Identity]:
        """Return the live processes of a service; ServiceDown with the reason if none is known."""
        __tracebackhide__ = True
        service = self._service(name)
        engine = engine_of(service)
        if not engine.knows_process:
            raise ServiceDown(english("run_by_others", name=name), heals_nothing=True)
        if problem := liveness.hopeless(service, self._store):
            raise ServiceDown(problem, retry_is_pointless=True)
        state = self._store.recall(service)
        if processes := engine.processes(state):
            return processes
        # A server that the run adopts, or will.
        if found := engine.lost_process(state, self._store):
            return descendants([found.identity])
        if stranger := engine.stranger(state):
            raise ServiceDown(str(stranger), heals_nothing=True)
        raise ServiceDown(english("process_gone", name=name), retry_is_pointless=True)

    # What nobody can ask.

    def heartbeat(self, name: str, *, within: str | float) -> float:
        """Return the age of the last heartbeat of a name, in seconds; fail if it is older, or tells of a failure."""
        __tracebackhide__ = True
        from remediation.probes import heartbeat
        from remediation.state.heartbeats import HeartbeatError

        _require_text("heartbeat", name=name)
        limit = self._argument("heartbeat", "within", within, quantities.seconds, least=1)
        try:
            age = heartbeat.age(self._project.state_folder, name, within=limit)
        except heartbeat.OverdueError as error:
            # Only the next run of the job can help.
            raise ServiceDown(str(error), retry_is_pointless=True) from None
        except HeartbeatError as error:
            raise _wrong("heartbeat", error) from None
        self._record("heartbeat", name, age, "s", f"{spoken(age)} ago")
        return age

    # This machine.

    def disk(self, path: str | Path = ".", *, free: str | float = "10%") -> int:
        """Return the free bytes of the file system of a path; fail if it has less than a share or a size."""
        __tracebackhide__ = True
        is_share = isinstance(free, str) and free.strip().endswith("%")
        # A number below 1 is meant as a part of the disk, and no disk would have fewer bytes.
        read, most = (quantities.share, 100) if is_share else (quantities.size, inf)
        limit = self._argument("disk", "free", free, read, least=_LEAST_SHARE if is_share else 1, most=most)
        place = self._file("disk", path=path)
        try:
            status = deadline_io.within(self._deadline, lambda: os.statvfs(place))
        except OSError as error:
            raise ServiceDown(
                english("disk_unknown", file=path, problem=deadline_io.why(error)), heals_nothing=True
            ) from None
        size = status.f_bavail * status.f_frsize
        # As df(1) counts: what only root may use belongs to neither side.
        used = (status.f_blocks - status.f_bfree) * status.f_frsize
        share = 100 * size / ((size + used) or 1)
        said = quantities.spoken_size(size)
        self._record("disk", str(path), size, "B", f"{said} free")
        if (share if is_share else size) < limit:
            wanted = f"{limit:g}%" if is_share else quantities.spoken_size(limit)
            raise OverLimit(english("disk_full", file=path, size=said, share=f"{share:.0f}%", limit=wanted))
        return size

    def log(self, service: str | Path, *, without: str) -> int:
        """Return how many lines a log got since the previous round; fail if one matches a regular expression.

        `service` is the name of a service, whose own log is meant, or the path of a file.
        """
        __tracebackhide__ = True
        _require_text("log", without=without)
        try:
            pattern = re.compile(without)
        except (re.error, RecursionError, OverflowError) as error:
            raise _wrong("log", f"without: {without!r} is no regular expression: {error}") from None
        log = self._log(service)
        file = self._project.relative(log)
        key = f"{log}\n{without}"
        try:
            start = self._start(key)
            look = log_lines.look(log, pattern, start=start, least=self._log_start(service), deadline=self._deadline)
            timeout = deadline_io.left(self._deadline)
            log_positions.keep(self._project, key, look.end, timeout=timeout)
        except OSError as error:
            raise ServiceDown(
                english("log_unreadable", file=file, problem=deadline_io.why(error)), heals_nothing=True
            ) from None
        self._record("log", str(service), look.lines, "lines", f"{look.lines} line{'' if look.lines == 1 else 's'}")
        if look.found:
            found = {"count": look.found, "line_found": look.first.strip()}
            raise ServiceDown(english("log_has", file=file, pattern=repr(without), **found))
        return look.lines

    def _start(self, key: str) -> Position | None:
        here = os.getpid(), f"{self._project.state_folder}\n{key}"
        if here not in _starts:
            _starts[here] = log_positions.recall(self._project, key)
        return _starts[here]

    def _log_start(self, service: str | Path) -> Position | None:
        """Return where the log of a service's last start begins: what came before is healed."""
        known = self._project.services.get(str(service))
        return self._store.recall(known).log_start if known else None

    def _log(self, service: str | Path) -> Path:
        __tracebackhide__ = True
        path = self._file("log", service=service)
        if isinstance(service, Path) or (service not in self._project.services and re.search(r"[/.]", service)):
            return path
        return self._service(service).log_file

    def command(
        self, words: str | Sequence[str], *, cwd: str | Path = ".", env: Mapping[str, str] | None = None
    ) -> str:
        """Run a command, without a shell, and return what it printed; fail unless it exits with 0 in time.

        At the end it is killed with all that it started.
        """
        __tracebackhide__ = True
        from remediation.healing import commands
        from remediation.system import environment
        from remediation.system.telling import excerpt
        from remediation.system.tracebacks import redacted_output

        command = self._words(words)
        _require_text("command", **{f"env.{name}": value for name, value in (env or {}).items()})
        environ = environment.unmarked() | dict(env or {})
        began, folder = time.monotonic(), self._file("command", cwd=cwd)
        if not folder.is_dir():
            # Otherwise the program itself would seem to be missing.
            raise _wrong("command", f"cwd: {folder} is no folder")
        timeout = self._deadline - began
        captured = commands.capture(command, cwd=folder, environ=environ, timeout=timeout, limit=_MOST_OUTPUT)
        output = captured.output.decode("utf-8", "backslashreplace")
        line = " ".join(redacted_words(command))
        if captured.problem:
            last = excerpt(redacted_output(output[-_SAID:]).splitlines()).telling
            key = "probe_command_said" if last else "probe_command"
            raise ServiceDown(english(key, command=line, how=captured.problem, last=last))
        self._took("command", line, began)
        return output

    @staticmethod
    def _words(words: str | Sequence[str]) -> list[str]:
        __tracebackhide__ = True
        try:
            split = shlex.split(words) if isinstance(words, str) else [str(word) for word in words]
        except ValueError as error:
            raise _wrong("command", f"cannot be split as a shell would: {error}") from None
        except TypeError:
            raise _wrong("command", f"needs a list or a text, not {_kind(words)}") from None
        if not split or not split[0]:
            raise _wrong("command", "is empty; give a program and its arguments")
        _require_text("command", words="".join(split))
        return split

    # A probe of one's own.

    def record(self, name: str, value: float, unit: str = "") -> None:
        """Show a value beside a check that passes, and keep it in the history."""
        __tracebackhide__ = True
        _require_text("record", name=name, unit=unit)
        if not name.strip():
            raise _wrong("record", "name: is empty")
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            raise _wrong("record", f"{value!r} is no finite number")
        self._record(name, "", value, unit, f"{value:g} {unit}".rstrip())

    # What all of them need.

    def _service(self, name: str) -> Service:
        __tracebackhide__ = True
        services = self._project.services
        if isinstance(name, str) and name in services:
            return services[name]
        near = get_close_matches(str(name), services, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known services: {', '.join(sorted(services))}"
        raise ConfigError(f"no service is called {name!r} in {self._project.source.name}; {hint}")

    def _address(self, probe: str, text: str, *, port: int | None = None) -> Address:
        """Return the address of a service, or of `host:port`, `unix:PATH` or a URL."""
        __tracebackhide__ = True
        _require_text(probe, address=text)
        if service := self._project.services.get(text):
            if service.address is None:
                raise ConfigError(f"services.{text}: has no url")
            return service.address
        if port is None and not re.search("[/:]", text):
            # A name without a port may be meant for a service.
            self._service(text)
        try:
            return address_in(text, self._project.root, port=port)
        except InvalidValueError as error:
            raise _wrong(probe, error) from None

    def _file(self, probe: str, **argument: str | Path) -> Path:
        """Return the path that the argument stands for, relative to the project's folder."""
        __tracebackhide__ = True
        ((name, path),) = argument.items()
        _require_text(probe, **{name: str(path) if isinstance(path, Path) else path})
        return self._project.root / path

    def _ca_file(self, probe: str, ca_file: str | Path | None) -> Path | None:
        __tracebackhide__ = True
        file = self._file(probe, ca_file=ca_file) if ca_file else None
        if file and not file.exists():
            raise _wrong(probe, f"ca_file: {file} does not exist")
        return file

    @staticmethod
    def _argument(
        probe: str,
        name: str,
        value: str | float,
        read: Callable[[str], float],
        *,
        least: float = 0,
        most: float = inf,
    ) -> float:
        """Return the number that an argument stands for; numbers stand for themselves."""
        __tracebackhide__ = True
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise _wrong(probe, f"{name}: {value!r} is neither a number nor a text")
        try:
            number = read(value) if isinstance(value, str) else value
        except ValueError as error:
            raise _wrong(probe, f"{name}: {error}") from None
        # Otherwise the check would always pass, or always fail and heal in vain.
        if not least <= number <= most or not _is_finite(number):
            bounds = f"from {least:g} to {most:g}" if isfinite(most) else f"{least:g} or more"
            raise _wrong(probe, f"{name}: {value!r} is no limit; give {bounds}")
        return float(number)

    def _took(self, name: str, target: str, began: float) -> float:
        """Record the seconds since `began`, and return them."""
        seconds = time.monotonic() - began
        self._record(name, target, seconds, "s", spoken(seconds))
        return seconds

    def _record(self, name: str, target: str, value: float, unit: str, shown: str) -> None:
        """Show a value and keep it; the second target of the same attempt is named."""
        if self._targets.setdefault(name, target) != target:
            name = f"{name} {target}"
        # The history keeps the name, too.
        name, unit, shown = (printable(redacted(text)) for text in (name, unit, shown))
        self._properties[:] = [pair for pair in self._properties if pair[0] != name]
        self._properties.append((name, shown))
        self._measurements[:] = [each for each in self._measurements if each.name != name]
        self._measurements.append(Measurement(name, float(value), unit))


def _wrong(probe: str, problem: object) -> ConfigError:
    return ConfigError(f"probe.{probe}: {problem}")


def _require_text(probe: str, **arguments: object) -> None:
    """Raise ConfigError for an argument that is no text, such as a variable of the environment that is not set."""
    __tracebackhide__ = True
    for name, value in arguments.items():
        # Its value may be a secret.
        if not isinstance(value, str):
            raise _wrong(probe, f"{name}: needs a text, not {_kind(value)}")
        if "\0" in value:
            raise _wrong(probe, f"{name}: has a NUL character")


def _is_finite(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:
        # A whole number can be too large for a float.
        return False


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__


def _require(module: str, extra: str, package: str) -> None:
    """Import a module of an extra; ConfigError if it is not installed."""
    __tracebackhide__ = True
    try:
        import_module(module)
    except ImportError:
        values = {"package": package, "extra": f"pytest-auto-heal[{extra}]"}
        raise ConfigError(english("no_extra", what=f"probe.{extra}", **values)) from None


def probe_for(request: pytest.FixtureRequest) -> Probe:
    """Return the probes of one attempt at a check."""
    from remediation.checks.client import deadline_in, project_of, timeout_of

    project, store, _ = project_of(request.config)
    deadline = deadline_in(timeout_of(request.node, project))
    measurements = request.node.stash[MEASUREMENTS] = list[Measurement]()
    properties = request.node.user_properties
    return Probe(project, store, deadline=deadline, properties=properties, measurements=measurements)
