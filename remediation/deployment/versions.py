"""Checks which version answers, so that the old process cannot pass for the deployed one."""

from __future__ import annotations

from collections.abc import Sequence

from remediation.config.model import Project, Service
from remediation.config.schema import ConfigError
from remediation.deployment.baseline import LONGEST
from remediation.messages.message import Message
from remediation.probes import version
from remediation.probes.version import NoVersionError


def expected(project: Project, wanted: Sequence[str]) -> dict[str, str]:
    """Return the expected version of each service.

    `wanted` has a version for all services that report one, or `api=1.2` for one of them. ConfigError if none does.
    """
    versioned = [name for name, service in project.services.items() if service.version]
    common, common_versions, own_versions = "", dict[str, str](), dict[str, str]()
    for option in wanted:
        where = f"--expect-version {option!r}"
        name, sign, own = option.partition("=")
        names, version = ([name], own.strip()) if sign else (versioned, option.strip())
        if sign and name not in project.services:
            known = ", ".join(sorted(project.services))
            raise ConfigError(f"{where}: no service is called {name!r}; known services: {known}")
        unversioned = [name for name in names if name not in versioned]
        if unversioned := unversioned or ([] if names else sorted(project.services)[:1]):
            raise ConfigError(
                f"{where}: {project.source.name} does not say where a version is told; add "
                f'version = {{ path = "/api/health", field = "version" }} to services.{unversioned[0]}'
            )
        if not version or not version.isprintable() or len(version) > LONGEST:
            raise ConfigError(f"{where}: is no version, which has 1 to {LONGEST} printable characters")
        if not sign and common and common != version:
            raise ConfigError(f"{where}: {common} is expected already; name the services, as in api={version}")
        if sign:
            own_versions[name] = version
        else:
            common, common_versions = version, dict.fromkeys(names, version)
    return common_versions | own_versions


def answering(project: Project) -> dict[str, str]:
    """Return the versions that answer now, by service, of the services that report one."""
    versions = {}
    for name, service in project.services.items():
        if service.version:
            try:
                versions[name] = version.answering(service, timeout=service.probe_timeout)
            except NoVersionError:
                continue
    return {name: text for name, text in versions.items() if len(text) <= LONGEST}


def mismatch(service: Service, wanted: str, *, timeout: float, undone: str = "") -> Message | None:
    """Return a message if another version than the wanted one answers, or none; None if the wanted one does.

    If `wanted` is empty, any version will do except the one that was `undone`.
    """
    try:
        actual = version.answering(service, timeout=timeout)
    except NoVersionError as error:
        # A deployment from before the service reported its version does not report one after a rollback either.
        values = {"name": service.name, "expected": wanted, "problem": str(error)}
        return Message("no_version", values) if wanted else None
    if wanted and actual != wanted:
        return Message("wrong_version", {"name": service.name, "version": actual, "expected": wanted})
    return Message("undone_version", {"name": service.name, "version": actual}) if actual == undone else None
