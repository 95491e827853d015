"""Which version answers, and whether it is the one that was deployed: the old process must not pass for the new."""

from __future__ import annotations

from collections.abc import Sequence

from remediation.healer import version
from remediation.healer.version import NoVersionError
from remediation.project.model import Project, Service
from remediation.project.phrase import Phrase
from remediation.project.schema import ConfigError


def expected(project: Project, wanted: Sequence[str]) -> dict[str, str]:
    """Return the version that each service has to answer with.

    `wanted` has versions for all services that tell theirs, or `api=1.2` for one of them. ConfigError if none does.
    """
    telling = [name for name, service in project.services.items() if service.version]
    found: dict[str, str] = {}
    for words in wanted:
        name, sign, own = words.partition("=")
        if sign and name in project.services:
            names, text = [name], own
        else:
            names, text = telling, words
        if silent := [name for name in names if name not in telling] or (["api"] if not names else []):
            raise ConfigError(
                f"--expect-version {words}: {project.source.name} does not say where a version is told; add "
                f'version = {{ path = "/api/health", field = "version" }} to services.{silent[0]}'
            )
        if not text.strip():
            raise ConfigError(f"--expect-version {words!r}: is empty; name the version that was deployed")
        found |= dict.fromkeys(names, text.strip())
    return found


def answering(project: Project) -> dict[str, str]:
    """Return the versions that answer now, of those services that tell one."""
    found = {}
    for name, service in project.services.items():
        if service.version:
            try:
                found[name] = version.answering(service, timeout=service.probe_timeout)
            except NoVersionError:
                continue
    return found


def mismatch(service: Service, wanted: str, *, timeout: float) -> Phrase | None:
    """Say which other version than the wanted one answers, or why none does; None if it is that one."""
    try:
        found = version.answering(service, timeout=timeout)
    except NoVersionError as error:
        return Phrase("no_version", {"name": service.name, "expected": wanted, "problem": str(error)})
    if found == wanted:
        return None
    return Phrase("wrong_version", {"name": service.name, "version": found, "expected": wanted})
