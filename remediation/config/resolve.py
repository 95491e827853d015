"""Turn the table of one service into a `Service`: every value checked, every path absolute."""

from __future__ import annotations

import os
import re
import shlex
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from remediation.config.model import Address, Budget, Rollback, Rung, Service, Version
from remediation.config.schema import (
    BudgetTable,
    ConfigError,
    ProjectTable,
    RollbackTable,
    RunTable,
    ServiceTable,
    VersionTable,
    Words,
    read,
    read_table,
    refuse_nul,
)

# Part of file names and of pytest's markers.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
NAME_RULE = "a service's name has up to 64 letters, digits, - and _"
# What a path in an HTTP request may hold, RFC 3986 section 3.3 and percent-encoding.
_PATH = re.compile(r"/[!-~]*")
# All authorities of the world are a few hundred kilobytes.
_CA_LIMIT = 16_000_000
_DEFAULT_PORTS = {"http": 80, "https": 443}


def resolve_service(
    name: str,
    values: object,
    *,
    root: Path,
    project: ProjectTable,
    evidence_timeout: float,
    where: str,
    url: str | None,
) -> Service:
    """Return the service called `name` of `project`; `url` is what the environment says in place of the file.

    ConfigError says what is wrong, where, and how to mend it.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f"{where}{name!r}: {NAME_RULE} only")
    where = f"{where}{name}"
    table = read_table(values, ServiceTable, f"{where}.")
    command, restart = _words(table.command, f"{where}.command"), _words(table.restart, f"{where}.restart")
    start, stop = _words(table.start, f"{where}.start"), _words(table.stop, f"{where}.stop")
    if command and (restart or start or stop):
        raise ConfigError(f"{where}: has both command and restart, start or stop; keep one way to run it")
    if (start or stop) and not restart:
        raise ConfigError(f"{where}: start and stop need restart beside them")
    address = _address(url, "environment: API_URL") if url else _address(table.url, f"{where}.url")
    return Service(
        name=name,
        mark=f"{root}:{name}",
        cwd=root / table.cwd,
        env=_env(table.env, f"{where}.env."),
        address=address,
        ready=_ready(table.ready, address, where, has_command=bool(command)),
        command=command,
        restart_command=restart,
        start_command=start,
        stop_command=stop,
        stop_signal=_signal(table.stop_signal, f"{where}.stop_signal"),
        stop_timeout=table.stop_timeout,
        start_timeout=table.start_timeout,
        probe_timeout=project.timeout,
        pid_file=root / (table.pid_file or f".{name}-server.pid"),
        log_file=root / (table.log_file or f"{name}-server.log"),
        log_size=project.log_size,
        free_port=table.free_port,
        depends_on=tuple(table.depends_on),
        ladder=tuple(_rung(rung, f"{where}.ladder[{index}].") for index, rung in enumerate(table.ladder)),
        rollback=_rollback(table.rollback, f"{where}.rollback"),
        version=_version(table.version, address, f"{where}.version"),
        budget=_budget(table.budget, f"{where}.budget.", interval=project.interval),
        evidence=_words(table.evidence, f"{where}.evidence"),
        evidence_timeout=evidence_timeout,
        verify=table.verify,
        ca_file=_ca_file(table, root, where),
    )


def _words(words: Words | None, where: str) -> tuple[str, ...]:
    if words is None:
        return ()
    try:
        split = tuple(shlex.split(words) if isinstance(words, str) else words)
    except ValueError as error:
        raise ConfigError(f"{where}: cannot be split as a shell would: {error}") from None
    if not split or not split[0].strip():
        raise ConfigError(f'{where}: is empty; give a program and its arguments, such as ["node", "index.js"]')
    return split


def _address(url: str | None, where: str) -> Address | None:
    if url is None:
        return None
    refuse_nul(url, where)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{where}: {url!r} is no URL: {error}") from None
    if parts.scheme not in (*_DEFAULT_PORTS, "tcp") or not host or not url.isprintable() or " " in url:
        raise ConfigError(f"{where}: {url!r} is no URL such as http://localhost:8787")
    if parts.query or parts.fragment:
        raise ConfigError(
            f"{where}: {url!r} has a query or a fragment; paths are put after it, so it has to end before"
        )
    if port == 0 or (port is None and parts.scheme == "tcp"):
        raise ConfigError(f"{where}: {url!r} has no port")
    return Address(url.rstrip("/"), parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme])


def _ready(ready: str | None, address: Address | None, where: str, *, has_command: bool) -> str:
    if ready is None:
        ready = "tcp" if address else "none"
    is_path = bool(_PATH.fullmatch(ready))
    if ready not in ("tcp", "none") and not is_path:
        raise ConfigError(
            f'{where}.ready: {ready!r} is neither a path such as "/health" (other characters percent-encoded) '
            'nor "tcp" nor "none"'
        )
    if ready != "none" and not address:
        raise ConfigError(f'{where}.url: missing; ready = "{ready}" has to ask somewhere')
    if is_path and address and address.scheme == "tcp":
        raise ConfigError(f'{where}.ready: a path needs an http or https url; with {address} use "tcp"')
    if ready == "none" and not address and not has_command:
        raise ConfigError(f"{where}: has neither command nor url; there is nothing to check or to start")
    return ready


def _env(values: Mapping[str, object], where: str) -> dict[str, str]:
    for name in values:
        if not name or "=" in name:
            raise ConfigError(f"{where}{name}: is no name of an environment variable")
    return {name: read(text, str, f"{where}{name}") for name, text in values.items()}


def _signal(name: str, where: str) -> signal.Signals:
    for candidate in (name.upper(), f"SIG{name.upper()}"):
        if candidate in signal.Signals.__members__:
            return signal.Signals[candidate]
    raise ConfigError(f"{where}: {name!r} is no signal of this system; SIGTERM and SIGINT are usual")


def _rung(rung: str | Mapping[str, Any], where: str) -> Rung:
    if isinstance(rung, str):
        return Rung()
    table = read_table(rung, RunTable, where)
    return Rung(_words(table.run, f"{where}run"), table.timeout)


def _rollback(values: Words | Mapping[str, Any] | None, where: str) -> Rollback | None:
    if values is None:
        return None
    table = read_table(values, RollbackTable, f"{where}.") if isinstance(values, Mapping) else RollbackTable(values)
    return Rollback(_words(table.run, where), table.timeout, table.restart)


def _version(values: Mapping[str, Any] | None, address: Address | None, where: str) -> Version | None:
    if values is None:
        return None
    table = read_table(values, VersionTable, f"{where}.")
    if not _PATH.fullmatch(table.path):
        raise ConfigError(f'{where}.path: {table.path!r} is no path such as "/api/health"')
    if address is None or address.scheme == "tcp":
        raise ConfigError(f"{where}: needs an http or https url, where the version is asked for")
    return Version(table.path, table.field)


def _ca_file(table: ServiceTable, root: Path, where: str) -> Path | None:
    if table.ca_file is None:
        return None
    if not table.verify:
        raise ConfigError(f"{where}.ca_file: is of no use with verify = false; leave one of them out")
    path = root / table.ca_file
    # Unlike Path.is_file, this says no of what is in a folder that cannot be searched.
    if not os.path.isfile(path):  # noqa: PTH113
        raise ConfigError(f"{where}.ca_file: there is no file {path}")
    try:
        # Where a system keeps such files, they are links as often as not.
        with path.open("rb") as file:
            content = file.read(_CA_LIMIT)
    except OSError as error:
        raise ConfigError(f"{where}.ca_file: {path} cannot be read: {error.strerror or error}") from None
    if b"CERTIFICATE-----" not in content:
        raise ConfigError(f"{where}.ca_file: {path} holds no certificate, which in PEM begins with BEGIN CERTIFICATE")
    return path


def _budget(values: Mapping[str, Any], where: str, *, interval: float) -> Budget:
    table = read_table(values, BudgetTable, where)
    return Budget(table.restarts, table.window, calm=max(table.window, 2 * interval))
