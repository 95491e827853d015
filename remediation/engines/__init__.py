"""What runs a service, behind one seam: an engine for each kind, and `engine_of`, which chooses one."""

from __future__ import annotations

from remediation.config.model import Service
from remediation.engines.command import CommandEngine
from remediation.engines.engine import Engine
from remediation.engines.local import LocalEngine


def engine_of(service: Service) -> Engine:
    """Return the engine of a service: local if the service has a command, else the commands that control it."""
    return LocalEngine(service) if service.command else CommandEngine(service)
