"""A check whose import is missing says how to add it, wherever auto-heal is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from remediation.checks.import_hint import hint


def missing(name: str) -> ImportError:
    """Return the error of an import as pytest passes it on."""
    error = ImportError("while importing a module of checks")
    error.__cause__ = ModuleNotFoundError(f"No module named {name!r}", name=name)
    return error


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an installation."""
    folder = tmp_path / "pytest-auto-heal"
    folder.mkdir()
    monkeypatch.setattr(sys, "prefix", str(folder))
    return folder


@pytest.mark.parametrize(
    ("receipt", "command"),
    [
        ('[tool]\nrequirements = [{ name = "pytest-auto-heal" }]\n', "uv tool install --with shop pytest-auto-heal"),
        (
            '[tool]\nrequirements = [{ name = "pytest-auto-heal", extras = ["notify"] }, { name = "redis" }]\n',
            "uv tool install --with redis --with shop pytest-auto-heal",
        ),
        ("broken", "uv tool install --with shop pytest-auto-heal"),
    ],
)
def test_a_tool_of_uv_is_installed_again_with_the_package_and_those_before(
    tmp_path: Path, prefix: Path, receipt: str, command: str
) -> None:
    (prefix / "uv-receipt.toml").write_text(receipt)

    text = hint(missing("shop.cart"), tmp_path)

    assert text == f"shop is not installed in {prefix}; add the package that provides it: {command}"


def test_pipx_injects_the_package(tmp_path: Path, prefix: Path) -> None:
    (prefix / "pipx_metadata.json").write_text("{}")

    assert str(hint(missing("shop"), tmp_path)).endswith("pipx inject pytest-auto-heal shop")


@pytest.mark.usefixtures("prefix")
def test_elsewhere_pip_installs_the_package(tmp_path: Path) -> None:
    assert str(hint(missing("shop"), tmp_path)).endswith("pip install shop")


@pytest.mark.parametrize("name", ["shop.py", "shop/cart.py"])
def test_a_module_of_the_project_has_to_be_on_the_import_path(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()

    assert 'pythonpath = ["."]' in str(hint(missing("shop"), tmp_path))


@pytest.mark.parametrize("error", [ImportError("cannot import name"), missing("os.nothing"), ValueError("no module")])
def test_another_error_needs_no_package(tmp_path: Path, error: Exception) -> None:
    assert hint(error, tmp_path) is None
