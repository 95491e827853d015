"""Find the configuration, read it, let the environment override it, and turn it into a `Project`."""

from __future__ import annotations

import codecs
import os
import re
import stat
import sys
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from signal import Signals
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from remediation.config import trust
from remediation.config.errors import InvalidValueError
from remediation.config.fields import LONGEST, Text
from remediation.config.model import STATE_FOLDER, Project, Service, address_in, address_of
from remediation.config.resolve import refuse_checks, resolve_service
from remediation.config.schema import ConfigError, Problems, check_keys, read, refuse_nul
from remediation.config.variables import Variables
from remediation.messages.text import Language, of_environment
from remediation.system import files, secrets

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "OWN_FILE", "SHARED_FILE", "language", "learn_secrets", "load_content", "load_project", "parse", "project_folder",
    "tomllib",
]  # fmt: skip

OWN_FILE = "auto-heal.toml"
SHARED_FILE = "pyproject.toml"


Number = TypeVar("Number", int, float)


class _Source(Struct, frozen=True):
    file: Path
    table: object
    prefix: str


def load_project(start: Path, environ: Mapping[str, str] | None = None) -> Project:
    """Return the project that governs the folder `start`; its file is there or in the nearest parent that has one.

    Raises ConfigError, whose text is one sentence for the user.
    """
    environ = os.environ if environ is None else environ
    secrets.learn(environ)
    return _project(_find(start.resolve()), environ)


def load_content(file: Path, content: bytes, environ: Mapping[str, str]) -> Project:
    """Return the project that `file` would configure with this content; raise ConfigError as `load_project` does."""
    tables = _tables(file, content)
    if file.name == OWN_FILE:
        return _project(_Source(file, tables, ""), environ)
    tool = read(tables.get("tool", {}), dict[str, Any], f"{file.name}: tool")
    return _project(_Source(file, tool.get("auto-heal", {}), "tool.auto-heal."), environ)


def _project(source: _Source, environ: Mapping[str, str]) -> Project:
    where = f"{source.file.name}: {source.prefix}"
    table = read(source.table, dict[str, Any], where)
    refuse_nul(table, where)
    problems = Problems()
    with problems.kept():
        check_keys(table, Project, where)
    tables = read(table.get("services", {}), dict[str, Any], f"{where}services")
    if problems.found:
        for name, values in tables.items():
            refuse_checks(values, f"{where}services.{name}.", problems)
    problems.refuse()
    outside = Variables(environ)
    of_file = dict[str, str]()
    if "env_file" in table:
        path = source.file.parent / read(table["env_file"], Text, f"{where}env_file")
        of_file = outside.of_file(path, f"{where}env_file")
    table = outside.in_project(table, of_file, where)
    project = read(table | {"source": source.file, "services": {}}, Project, where)
    if not tables:
        raise ConfigError(f"{where}services: there is none; add [{source.prefix}services.NAME] with command and url")
    files.never_make(project.root)
    _check_state_folder(project.state_folder)
    override = _url_override(tables, environ)
    services = dict[str, Service]()
    for name, values in tables.items():
        with problems.kept():
            services[name] = resolve_service(
                name, values, project=project, where=f"{where}services.", url=override.get(name), outside=outside
            )
    problems.refuse()
    for service in services.values():
        learn_secrets(service)
    _check_dependencies(services, f"{where}services")
    _check_conflicts(services, f"{where}services")
    _check_references(services, project.root, f"{where}services")
    secrets.learn_values(filter(None, (*project.notify.urls, project.notify.heartbeat, project.beat_token)))
    project = replace(project, services=services)
    untrusted = tuple(trust.problems(project.root, (project.source, *sorted(project.env_files))))
    if untrusted and (project.strict or environ.get("AUTO_HEAL_STRICT")):
        raise ConfigError(f"strict: {untrusted[0]}, and root would run what it says; give it to root, or chmod go-w it")
    return replace(
        project,
        untrusted=untrusted,
        interval=_override("CHECK_INTERVAL", environ, project.interval, least=0.001),
        retries=_override("MAX_RETRIES", environ, project.retries, least=1),
        retry_delay=_override("RETRY_DELAY", environ, project.retry_delay, least=0),
        log_file=project.root / (environ.get("LOG_FILE") or project.log_file),
        language=language(project.language if "language" in table else None, environ),
    )


def project_folder(start: Path) -> Path:
    """Return the folder of the configuration that governs the folder `start`, without reading the rest of it.

    ConfigError if there is none, or if its state folder cannot be used.
    """
    folder = _find(start.resolve()).file.parent
    files.never_make(folder)
    _check_state_folder(folder / STATE_FOLDER)
    return folder


def language(configured: Language | None, environ: Mapping[str, str]) -> Language:
    """Choose the language: AUTO_HEAL_LANG, the configuration, then the locale variables in POSIX order."""
    override = environ.get("AUTO_HEAL_LANG")
    if override and override[:2].lower() not in ("en", "ru"):
        raise ConfigError(f"environment: AUTO_HEAL_LANG is {override!r}; known languages: en, ru")
    return configured if configured and not override else of_environment(environ)


def _find(start: Path) -> _Source:
    for folder in (start, *start.parents):
        own, shared = folder / OWN_FILE, folder / SHARED_FILE
        # Unlike Path.is_file, os.path.isfile returns False for a file in a folder that we may not search.
        if os.path.isfile(own):  # noqa: PTH113
            return _Source(own, parse(own), "")
        if os.path.isfile(shared):  # noqa: PTH113
            tool = parse(shared).get("tool")
            if isinstance(tool, dict) and "auto-heal" in tool:
                return _Source(shared, tool["auto-heal"], "tool.auto-heal.")
    raise ConfigError(
        f"no configuration: neither {OWN_FILE} nor [tool.auto-heal] in {SHARED_FILE} in {start} or above it; "
        "`auto-heal init` writes one"
    )


def parse(file: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; raise ConfigError with the reason if it cannot be read."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file.name}: cannot be read: {error.strerror}") from None
    return _tables(file, content)


def _tables(file: Path, content: bytes) -> dict[str, Any]:
    if content.startswith(codecs.BOM_UTF8):
        raise ConfigError(
            f"{file.name}: begins with a byte order mark, which TOML does not allow; save it as UTF-8 without one"
        )
    try:
        content.decode()
        # Decode like file names and arguments, so that they match even in the C locale.
        return tomllib.loads(os.fsdecode(content))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file.name}: not UTF-8, as TOML must be: byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        # Also for numbers with thousands of digits, and for brackets nested as deeply.
        raise ConfigError(f"{file.name}: not valid TOML: {error}{_braces(str(error), content)}") from None


def _braces(error: str, content: bytes) -> str:
    """Return a hint if the parser stopped in a line with a table in braces: TOML 1.0 is stricter there than JSON."""
    place = re.search(r"(?:key part|inline table) \(at line (\d+)", error)
    if place and b"{" in content.split(b"\n")[int(place[1]) - 1]:
        return "; a table in braces is one line, without a comma at its end"
    return ""


def _override(variable: str, environ: Mapping[str, str], configured: Number, *, least: float) -> Number:
    """Return the number in an environment variable, as the type of the configured one, or the configured one."""
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


def _url_override(services: Mapping[str, object], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the URL in the environment by the name of its service; empty if there is none."""
    url = environ.get("API_URL")
    if not url:
        return {}
    try:
        address_of(url)
    except InvalidValueError as error:
        raise ConfigError(f"environment: API_URL: {error}") from None
    if "api" in services:
        return {"api": url}
    if len(services) > 1:
        raise ConfigError(
            f"environment: API_URL is set, but no service is called 'api'; known services: {_list(services)}"
        )
    return dict.fromkeys(services, url)


def learn_secrets(service: Service) -> None:
    """Register the secrets of a service, so that no output shows them."""
    secrets.learn(service.env)
    secrets.learn_values(service.headers.values())
    secrets.exempt((service.name, service.ready))
    if service.address:
        secrets.learn_url(service.address.url)
        secrets.exempt((service.address.host, f"{service.address.host}:{service.address.port}"))
    commands = (
        service.command, service.restart_command, service.start_command, service.stop_command,
        service.validate_command, () if isinstance(service.reload, Signals) else service.reload,
    )  # fmt: skip
    step_commands = [step.run for step in (*service.ladder, service.rollback) if step]
    for words in (*commands, service.evidence, *step_commands):
        secrets.learn_words(words)


def _check_state_folder(folder: Path) -> None:
    """Refuse a state folder that is not a folder or is a link, which may lead outside the project."""
    try:
        mode = folder.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISDIR(mode):
        what = "a symbolic link, which is not followed" if stat.S_ISLNK(mode) else "not a folder"
        raise ConfigError(f"{folder} is {what}; auto-heal keeps there what it remembers, so remove it")


def _check_dependencies(services: Mapping[str, Service], where: str) -> None:
    for service in services.values():
        for name in service.depends_on:
            if name not in services:
                place, names = f"{where}.{service.name}.depends_on", _list(services)
                raise ConfigError(f"{place}: no service is called {name!r}; known services: {names}")
    try:
        TopologicalSorter({name: service.depends_on for name, service in services.items()}).prepare()
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise ConfigError(f"{where}: depends_on goes round in a circle: {circle}") from None


def _check_references(services: Mapping[str, Service], root: Path, where: str) -> None:
    """Refuse declared checks that heal unknown services, or connect to what is no address."""
    problems = Problems()
    for service in services.values():
        for number, check in enumerate(service.checks):
            place = f"{where}.{service.name}.checks[{number}]"
            for name in check.heals or ():
                if name not in services:
                    problems.add(f"{place}.heals: no service is called {name!r}; known services: {_list(services)}")
            if isinstance(check.tcp, str) and (problem := _no_address(check.tcp, services, root)):
                problems.add(f"{place}.tcp: {problem}")
    problems.refuse()


def _no_address(text: str, services: Mapping[str, Service], root: Path) -> str | None:
    """Return what is wrong with an address to connect to, which may be the name of a service that has one."""
    if service := services.get(text):
        return None if service.address else f"the service {text!r} has no url"
    if not re.search("[/:]", text):
        return f"{text!r} is neither host:port nor the name of a service; known services: {_list(services)}"
    try:
        address_in(text, root)
    except InvalidValueError as error:
        return str(error)
    return None


def _check_conflicts(services: Mapping[str, Service], where: str) -> None:
    """Refuse two services that we start ourselves with the same port, socket or PID file: each would end the other."""
    users: dict[object, str] = {}
    for service in services.values():
        if not service.command:
            continue
        place = (service.address.socket or service.address.port) if service.address else None
        for key, value in (("url", place), ("pid_file", service.pid_file)):
            other = users.setdefault((key, value), service.name) if value else service.name
            if other != service.name:
                raise ConfigError(f"{where}.{service.name}.{key}: is that of {other} too; each needs its own")


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
