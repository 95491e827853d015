"""Builds remediations from a few words."""

from __future__ import annotations

from typing import Any

from remediation.state.remediation import Remediation, RemediationResult


def remediation(service: str = "api", at: float = 0.0, *, ok: bool = True, **values: Any) -> Remediation:
    """Return a restart of a service by a check; `values` replace its fields."""
    result = RemediationResult.READY if ok else RemediationResult.FAILED
    known = {"origin": "check", "cause": "dead", "action": "restart", "result": result}
    return Remediation(service, at, **{**known, **values})
