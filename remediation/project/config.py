"""Find the configuration, read it, let the environment override it, and turn it into a `Project`."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

from remediation.project.model import Address, Budget, Project, Rung, Service
from remediation.project.schema import (
    LONGEST,
    BudgetTable,
    ConfigError,
    ProjectTable,
    RunTable,
    ServiceTable,
    Words,
    read_table,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OWN_FILE = "auto-heal.toml"
SHARED_FILE = "pyproject.toml"
# Part of file names and of pytest markers.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\Z")


Number = TypeVar("Number", int, float)


class _Found(NamedTuple):
    file: Path
    table: dict[str, Any]
    prefix: str


def load_project(start: Path, environ: Mapping[str, str] | None = None) -> Project:
    """Return the project that governs the folder `start`, found from there upwards.

    Raises ConfigError, whose text is one sentence for the user.
    """
    environ = os.environ if environ is None else environ
    found = _find(start.resolve())
    where = f"{found.file.name}: {found.prefix}"
    table = read_table(found.table, ProjectTable, where.rstrip("."))
    if not table.services:
        raise ConfigError(f"{where}services: there is none; add [{found.prefix}services.NAME] with command and url")
    tables = {
        name: read_table(values, ServiceTable, f"{where}services.{name}") for name, values in table.services.items()
    }
    urls = {name: _url_override(name, tables, environ) or tables[name].url for name in tables}
    timeout = table.timeout
    root = found.file.parent
    services = {
        name: _service(name, tables[name], url=urls[name], root=root, timeout=timeout, where=f"{where}services.{name}")
        for name in tables
    }
    _check_dependencies(services, f"{where}services")
    return Project(
        source=found.file,
        services=services,
        interval=_override("CHECK_INTERVAL", environ, table.interval, least=0.001),
        retries=_override("MAX_RETRIES", environ, table.retries, least=1),
        retry_delay=_override("RETRY_DELAY", environ, table.retry_delay, least=0),
        timeout=timeout,
        log_file=root / (environ.get("LOG_FILE") or table.log_file),
        report=root / table.report,
        language=language(table.language, environ),
    )


def language(configured: Literal["en", "ru"] | None, environ: Mapping[str, str]) -> Literal["en", "ru"]:
    """Choose the language: AUTO_HEAL_LANG, the configuration, then the locale as POSIX orders its variables."""
    if wanted := environ.get("AUTO_HEAL_LANG"):
        if wanted[:2].lower() not in ("en", "ru"):
            raise ConfigError(f"environment: AUTO_HEAL_LANG is {wanted!r}; known languages: en, ru")
        return "ru" if wanted[:2].lower() == "ru" else "en"
    if configured:
        return configured
    locale = next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "")
    return "ru" if locale.lower().startswith("ru") else "en"


def _find(start: Path) -> _Found:
    for folder in (start, *start.parents):
        own, shared = folder / OWN_FILE, folder / SHARED_FILE
        if own.is_file():
            return _Found(own, parse(own), "")
        if shared.is_file():
            tool = parse(shared).get("tool")
            if isinstance(tool, dict) and "auto-heal" in tool:
                if not isinstance(tool["auto-heal"], dict):
                    raise ConfigError(f"{SHARED_FILE}: tool.auto-heal: expected a table")
                return _Found(shared, tool["auto-heal"], "tool.auto-heal.")
    raise ConfigError(
        f"no configuration: neither {OWN_FILE} nor [tool.auto-heal] in {SHARED_FILE} in {start} or above it; "
        "`auto-heal init` writes one"
    )


def parse(file: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; ConfigError says why they cannot be had."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file.name}: not valid TOML: {error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file.name}: not UTF-8, as TOML must be: byte {error.start}") from None
    except OSError as error:
        raise ConfigError(f"{file.name}: cannot be read: {error.strerror}") from None


def _override(variable: str, environ: Mapping[str, str], configured: Number, *, least: float) -> Number:
    """Return the number in an environment variable, of the type that the configured one has, or that one."""
    text = environ.get(variable)
    if not text:
        return configured
    kind = type(configured)
    try:
        number = kind(text)
    except ValueError:
        number = kind(-1)
    if not least <= number <= LONGEST:
        word = "a whole number" if kind is int else "a number of seconds"
        raise ConfigError(f"environment: {variable} is {text!r}; it must be {word}, {least:g} or more")
    return number


def _url_override(name: str, tables: Mapping[str, ServiceTable], environ: Mapping[str, str]) -> str | None:
    url = environ.get("API_URL")
    if not url:
        return None
    if "api" not in tables and len(tables) > 1:
        raise ConfigError(f"environment: API_URL is set, but no service is called 'api'; there are {_list(tables)}")
    return url if name == "api" or len(tables) == 1 else None


def _service(name: str, table: ServiceTable, *, url: str | None, root: Path, timeout: float, where: str) -> Service:
    if not _NAME.match(name):
        raise ConfigError(f"{where}: a service's name has letters, digits, - and _ only")
    command, restart = _words(table.command, f"{where}.command"), _words(table.restart, f"{where}.restart")
    start, stop = _words(table.start, f"{where}.start"), _words(table.stop, f"{where}.stop")
    if command and (restart or start or stop):
        raise ConfigError(f"{where}: has both command and restart, start or stop; keep one way to run it")
    if (start or stop) and not restart:
        raise ConfigError(f"{where}: start and stop need restart beside them")
    address = _address(url, f"{where}.url") if url else None
    ready = table.ready or ("tcp" if address else "none")
    if ready not in ("tcp", "none") and not ready.startswith("/"):
        raise ConfigError(f'{where}.ready: {ready!r} is neither a path such as "/health" nor "tcp" nor "none"')
    if ready != "none" and not address:
        raise ConfigError(f'{where}.url: missing; ready = "{ready}" has to ask somewhere')
    if ready.startswith("/") and address and address.scheme == "tcp":
        raise ConfigError(f'{where}.ready: a path needs an http or https url; with {address.url} use "tcp"')
    if not command and ready == "none" and not address:
        raise ConfigError(f"{where}: has neither command nor url; there is nothing to check or to start")
    return Service(
        name=name,
        mark=f"{root}:{name}",
        cwd=root / table.cwd,
        env=table.env,
        address=address,
        ready=ready,
        command=command,
        restart_command=restart,
        start_command=start,
        stop_command=stop,
        stop_signal=_signal(table.stop_signal, f"{where}.stop_signal"),
        stop_timeout=table.stop_timeout,
        start_timeout=table.start_timeout,
        probe_timeout=timeout,
        pid_file=root / (table.pid_file or f".{name}-server.pid"),
        log_file=root / (table.log_file or f"{name}-server.log"),
        free_port=table.free_port,
        depends_on=tuple(table.depends_on),
        ladder=tuple(_rung(rung, f"{where}.ladder[{index}]") for index, rung in enumerate(table.ladder)),
        rollback=_words(table.rollback, f"{where}.rollback"),
        budget=_budget(table.budget, f"{where}.budget"),
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
    if any("\0" in word for word in split):
        raise ConfigError(f"{where}: holds a NUL character, which no command line can")
    return split


def _address(url: str, where: str) -> Address:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{where}: {url!r} is no URL: {error}") from None
    if parts.scheme not in ("http", "https", "tcp") or not host or re.search(r"\s", url):
        raise ConfigError(f"{where}: {url!r} is no URL such as http://localhost:8787")
    if port is None and parts.scheme == "tcp":
        raise ConfigError(f"{where}: {url!r} has no port")
    return Address(url.rstrip("/"), parts.scheme, host, port or {"http": 80, "https": 443}[parts.scheme])


def _signal(name: str, where: str) -> signal.Signals:
    for candidate in (name.upper(), f"SIG{name.upper()}"):
        if candidate in signal.Signals.__members__:
            return signal.Signals[candidate]
    raise ConfigError(f"{where}: {name!r} is no signal of this system; SIGTERM and SIGINT are usual")


def _rung(rung: str | Mapping[str, Any], where: str) -> Rung:
    if isinstance(rung, str):
        return Rung()
    table = read_table(rung, RunTable, where)
    return Rung(_words(table.run, f"{where}.run"), table.timeout)


def _budget(values: Mapping[str, Any], where: str) -> Budget:
    table = read_table(values, BudgetTable, where)
    return Budget(table.restarts, table.window)


def _check_dependencies(services: Mapping[str, Service], where: str) -> None:
    for service in services.values():
        for name in service.depends_on:
            if name not in services:
                raise ConfigError(
                    f"{where}.{service.name}.depends_on: no service is called {name!r}; there are {_list(services)}"
                )
    try:
        TopologicalSorter({name: service.depends_on for name, service in services.items()}).prepare()
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise ConfigError(f"{where}: depends_on goes round in a circle: {circle}") from None


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
