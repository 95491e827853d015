"""What probes need is imported before the monitor forks, and nothing else."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import cast

import pytest

from remediation.checks import probe_imports

PSYCOPG, DNS = "remediation.probes.postgres", "remediation.probes.dns"


@pytest.fixture(autouse=True)
def imported(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the modules that are imported."""
    names: list[str] = []
    monkeypatch.setattr(probe_imports, "import_module", names.append)
    return names


def check(code: str, *fixtures: str) -> pytest.Item:
    """Return a check in a module with this code, as far as it matters here."""
    module = ModuleType("checks")
    exec(code, vars(module))
    return cast("pytest.Item", SimpleNamespace(module=module, fixturenames=["request", *fixtures]))


def test_the_packages_of_the_probes_that_a_module_uses_are_imported(imported: list[str]) -> None:
    probe_imports.preload([check("def ask(probe):\n    probe.postgres('')", "probe")])

    assert PSYCOPG in imported
    assert DNS not in imported


@pytest.mark.parametrize(("code", "fixtures"), [("def a(probe): probe.disk()", ["probe"]), ("x = 1", ["probe"])])
def test_what_needs_no_package_imports_only_what_is_light(imported: list[str], code: str, fixtures: list[str]) -> None:
    probe_imports.preload([check(code, *fixtures)])

    assert imported == list(probe_imports._ALWAYS)


def test_checks_without_probes_import_nothing(imported: list[str]) -> None:
    probe_imports.preload([check("def a(dns): dns.postgres()", "services")])

    assert imported == []


def test_a_package_that_is_missing_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(probe_imports, "import_module", fail)

    probe_imports.preload([check("def a(probe): probe.dns('x')", "probe")])

    assert "checks" not in sys.modules
