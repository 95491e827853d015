"""Which version answers, and whether it is the one that was deployed: the old process must not pass for the new."""

from __future__ import annotations

from collections.abc import Sequence

from remediation.config.model import Project, Service
from remediation.config.schema import ConfigError
from remediation.deployment.baseline import LONGEST
from remediation.messages.message import Message
from remediation.probes import version
from remediation.probes.version import NoVersionError


def expected(project: Project, wanted: Sequence[str]) -> dict[str, str]:
    """Return the version that each service has to answer with.

    `wanted` has a version for all services that tell theirs, or `api=1.2` for one of them. ConfigError if none does.
    """
    telling = [name for name, service in project.services.items() if service.version]
    common, found, own_versions = "", dict[str, str](), dict[str, str]()
    for words in wanted:
        where = f"--expect-version {words!r}"
        name, sign, own = words.partition("=")
        names, version = ([name], own.strip()) if sign else (telling, words.strip())
        if sign and name not in project.services:
            known = ", ".join(sorted(project.services))
            raise ConfigError(f"{where}: no service is called {name!r}; known services: {known}")
        if silent := [one for one in names if one not in telling] or ([] if names else sorted(project.services)[:1]):
            raise ConfigError(
                f"{where}: {project.source.name} does not say where a version is told; add "
                f'version = {{ path = "/api/health", field = "version" }} to services.{silent[0]}'
            )
        if not version or not version.isprintable() or len(version) > LONGEST:
            raise ConfigError(f"{where}: is no version, which has 1 to {LONGEST} printable characters")
        if not sign and common and common != version:
            raise ConfigError(f"{where}: {common} is expected already; name the services, as in api={version}")
        if sign:
            own_versions[name] = version
        else:
            common, found = version, dict.fromkeys(names, version)
    return found | own_versions


def answering(project: Project) -> dict[str, str]:
    """Return the versions that answer now, of those services that tell one."""
    found = {}
    for name, service in project.services.items():
        if service.version:
            try:
                found[name] = version.answering(service, timeout=service.probe_timeout)
            except NoVersionError:
                continue
    return {name: text for name, text in found.items() if len(text) <= LONGEST}


def mismatch(service: Service, wanted: str, *, timeout: float, undone: str = "") -> Message | None:
    """Say which other version than the wanted one answers, or why none does; None if it is that one.

    Any is wanted if it is empty, but for the one that was `undone`.
    """
    try:
        found = version.answering(service, timeout=timeout)
    except NoVersionError as error:
        # What was deployed before the version was told at all tells none either.
        values = {"name": service.name, "expected": wanted, "problem": str(error)}
        return Message("no_version", values) if wanted else None
    if wanted and found != wanted:
        return Message("wrong_version", {"name": service.name, "version": found, "expected": wanted})
    return Message("undone_version", {"name": service.name, "version": found}) if found == undone else None
