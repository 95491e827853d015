"""What a project's own hooks see of a heal, and the seam by which a heal calls them without knowing pytest."""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from remediation.config.model import Service
from remediation.engines.errors import HealError
from remediation.healing.incident import Incident
from remediation.state.remediation import Remediation
from remediation.state.service_state import ServiceState

# How long all hooks of one kind may take together, in seconds. A step of a ladder has its own limit.
HOOK_SECONDS = 10.0


class UnknownStepError(HealError):
    """No hook of the project knows a step of a ladder."""

    def __init__(self, service: str, step: str) -> None:
        """Name the service and the step."""
        super().__init__("hook_unknown", name=service, hook=step)


class ServiceInfo(Struct, frozen=True):
    """The service that is healed."""

    name: str
    url: str
    """Where it answers, without user and password; empty if it has no url."""
    pid: int | None
    """The process that auto-heal knows as its main one, dead or alive."""


class IncidentInfo(Struct, frozen=True):
    """Why it is healed."""

    id: str
    """As in the log, the report and the history; empty for the first start of a service."""
    since: float
    """When its first attempt failed, in epoch seconds."""
    cause: str


class HealResult(Struct, frozen=True):
    """How a step ended."""

    step: str
    """What was done, such as `restart` or `npm ci, restart`; empty if an obstacle prevented every action."""
    ok: bool
    """Whether the service is ready again. Its checks run afterwards."""
    reason: str
    """Why it is not."""
    downtime: float | None
    """Seconds from the first failed attempt until it answered again; None if it does not."""
    evidence: str
    """The folder of the evidence, relative to the project's; empty if there is none."""


class HealEvent(Struct, frozen=True):
    """What the monitor would send to people."""

    kind: Literal["sick", "healed", "gave-up", "flapping"]
    name: str
    """The service, or the check that names none."""
    title: str
    text: str
    incident: str
    """The id of the incident; empty if it is over."""


class Hooks(Protocol):
    """The hooks of a project. No method raises, but `step`, and none takes much longer than its limit."""

    def before(self, service: ServiceInfo, step: str, incident: IncidentInfo) -> str | None:
        """Return why the service must not be healed now; None if it may be."""

    def after(self, service: ServiceInfo, result: HealResult, incident: IncidentInfo) -> None:
        """Tell how a step ended."""

    def step(self, service: ServiceInfo, name: str, incident: IncidentInfo, *, timeout: float) -> None:
        """Take a step of the ladder. HealError if it fails, UnknownStepError if no hook knows it."""


class NoHooks:
    """A project without hooks; no ladder of it has a step of its own."""

    def before(self, _service: ServiceInfo, _step: str, _incident: IncidentInfo) -> str | None:
        """Object to nothing."""
        return None

    def after(self, _service: ServiceInfo, _result: HealResult, _incident: IncidentInfo) -> None:
        """Tell nobody."""

    def step(self, service: ServiceInfo, name: str, _incident: IncidentInfo, *, timeout: float) -> None:  # noqa: ARG002
        """Know no step."""
        raise UnknownStepError(service.name, name)


def service_info(service: Service, state: ServiceState) -> ServiceInfo:
    """Return what hooks see of a service."""
    return ServiceInfo(service.name, str(service.address or ""), state.pid)


def incident_info(incident: Incident) -> IncidentInfo:
    """Return what hooks see of an incident."""
    return IncidentInfo(incident.id, incident.since, incident.cause)


def heal_result(remediation: Remediation) -> HealResult:
    """Return what hooks see of a remediation."""
    return HealResult(
        remediation.action, remediation.ok, remediation.reason, remediation.downtime, remediation.evidence
    )
