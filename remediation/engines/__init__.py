"""What runs a service, behind one seam: an engine for each kind, and `engine_of`, which knows which one it is."""

from __future__ import annotations

from remediation.config.model import Service
from remediation.engines.command import CommandEngine
from remediation.engines.engine import Engine
from remediation.engines.local import LocalEngine


def engine_of(service: Service) -> Engine:
    """Return what runs a service: we ourselves, if it has a command, or else something that has commands for it."""
    return LocalEngine(service) if service.command else CommandEngine(service)
