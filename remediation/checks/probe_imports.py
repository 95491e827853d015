"""Import what the probes of checks need before the monitor forks: psycopg alone takes longer than a whole cycle."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from types import FunctionType

import pytest

from remediation.checks.declared import DeclaredCheck

_MODULES = {"dns": "remediation.probes.dns", "postgres": "remediation.probes.postgres"}
# These are light.
_ALWAYS = ("remediation.checks.probe", "remediation.probes.certificate", "remediation.probes.resources")


def preload(items: Iterable[pytest.Item]) -> None:
    """Import the modules of the probes that these checks name; a check whose extra is missing says so itself."""
    used = {name for item in items for name in _names(item)}
    if not used:
        return
    for module in (*_ALWAYS, *(module for name, module in _MODULES.items() if name in used)):
        with suppress(ImportError):
            import_module(module)


def _names(item: pytest.Item) -> set[str]:
    """Return the names that may be those of probes: the kind of a declared check, or all that a module's code uses."""
    if isinstance(item, DeclaredCheck):
        check = item.subject.check
        return set() if check.is_request or check.process else {check.kind}
    if "probe" not in getattr(item, "fixturenames", ()):
        return set()
    values = vars(getattr(item, "module", None) or object).values()
    return {"probe"}.union(*(value.__code__.co_names for value in values if isinstance(value, FunctionType)))
