"""Decode the table of one service, and add values from its project and from the system."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from remediation.config.checks import Check
from remediation.config.fields import Text
from remediation.config.model import Project, Service
from remediation.config.schema import ConfigError, Problems, keys, read
from remediation.config.variables import Variables

# In bytes. A bundle of all public certificate authorities takes a few hundred kilobytes.
_CA_LIMIT = 16_000_000
# The kinds of checks that look at the service's process.
_NEED_PROCESS = ("memory_below", "cpu_below", "open_files_below", "process")


def resolve_service(
    name: str, values: object, *, project: Project, where: str, url: str | None = None, outside: Variables | None = None
) -> Service:
    """Return the service called `name` of `project`; a `url` from the environment overrides its own.

    Raises ConfigError, which says what is wrong, where, and how to fix it.
    """
    where = f"{where}{name}."
    table = {"pid_file": f".{name}-server.pid", "log_file": f"{name}-server.log"} | read(values, dict[str, Any], where)
    if url:
        read(table.pop("url", url), Text, f"{where}url")
    outside, variables = outside or Variables({}), dict[str, str]()
    if "env_file" in table:
        path = project.root / read(table["env_file"], Text, f"{where}env_file")
        variables = outside.of_file(path, f"{where}env_file")
    table = outside.substituted(table, variables, where) | ({"url": url} if url else {})
    table |= {
        "name": name,
        "root": project.root,
        "probe_timeout": project.timeout,
        "log_size": project.log_size,
        "evidence_timeout": project.evidence.timeout,
        "file_env": variables,
    }
    try:
        service = read(table, Service, where)
    except ConfigError:
        # msgspec stops at the first wrong value.
        problems = Problems()
        refuse_checks(table, where, problems)
        problems.refuse()
        raise
    _refuse_unfit_checks(service, where)
    _check_ca_file(service, f"{where}ca_file")
    budget = service.budget
    return replace(service, budget=replace(budget, calm=max(budget.window, 2 * project.interval)))


def refuse_checks(table: object, where: str, problems: Problems) -> None:
    """Keep what is wrong in each of the checks of a service, and not only in the first.

    Of a check with an unknown key nothing more is said: what it lacks may be what that key was meant for.
    """
    checks = table.get("checks") if isinstance(table, Mapping) else None
    for number, check in enumerate(checks if isinstance(checks, list) else ()):
        if not (isinstance(check, Mapping) and check.keys() - keys(Check).keys()):
            with problems.kept():
                read(check, Check, f"{where}checks[{number}].")


def _refuse_unfit_checks(service: Service, where: str) -> None:
    """Raise ConfigError for each check that does not fit its service."""
    problems = Problems()
    for number, check in enumerate(service.checks):
        place = f"{where}checks[{number}]."
        if problem := _unfit(check, service):
            problems.add(f"{place}{check.kind}: {problem}")
        if check.longest is not None and check.longest >= service.probe_timeout:
            problems.add(f"{place}within: must be less than timeout, {service.probe_timeout:g}s, which ends an attempt")
    problems.refuse()


def _unfit(check: Check, service: Service) -> str | None:
    scheme = service.address.scheme if service.address else ""
    if check.is_request and scheme not in ("http", "https", "unix"):
        return "needs an http or https url, to which the path belongs"
    if check.tcp is True and not scheme:
        return 'needs a url; or give host and port, as in "localhost:5432"'
    if check.tls_expires_in and scheme not in ("https", "tcp"):
        return "needs an https url, whose certificate is looked at"
    if check.kind in _NEED_PROCESS and not service.command:
        return "needs command beside it: only then is the process known"
    return None


def _check_ca_file(service: Service, where: str) -> None:
    path = service.ca_file
    if path is None:
        return
    # Unlike Path.is_file, this returns False for a file in a folder that we may not search.
    if not os.path.isfile(path):  # noqa: PTH113
        raise ConfigError(f"{where}: there is no file {path}")
    try:
        # Not by `files.read`: on many systems, such files are symbolic links.
        with path.open("rb") as file:
            content = file.read(_CA_LIMIT)
    except OSError as error:
        raise ConfigError(f"{where}: {path} cannot be read: {error.strerror or error}") from None
    if b"CERTIFICATE-----" not in content:
        raise ConfigError(f"{where}: {path} holds no certificate, which in PEM begins with BEGIN CERTIFICATE")
