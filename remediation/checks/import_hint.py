"""Say how to add a module that a check imports and that is not installed beside auto-heal.

`uv tool install` and pipx give auto-heal an environment of its own, in which the packages of the project are missing.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from remediation.config.load import tomllib

_DISTRIBUTION = "pytest-auto-heal"
_UV_RECEIPT, _PIPX_METADATA = "uv-receipt.toml", "pipx_metadata.json"


class ImportHint:
    """The plugin that adds the hint to the error of a collection."""

    def pytest_exception_interact(
        self, node: pytest.Item | pytest.Collector, call: pytest.CallInfo[object], report: pytest.CollectReport
    ) -> None:
        """Add the hint to the report of a module of checks that cannot be imported."""
        error = call.excinfo.value if call.excinfo else None
        if isinstance(node, pytest.Collector) and error and (text := hint(error, node.config.rootpath)):
            report.sections.append(("auto-heal", text))


def hint(error: BaseException, root: Path) -> str | None:
    """Return how to add the module whose absence caused an error; None if another problem did."""
    missing = _missing_module(error)
    if missing is None:
        return None
    if (root / missing).is_dir() or (root / f"{missing}.py").is_file():
        return (
            f"{missing} is in {root}, where Python does not look for modules; "
            'set pythonpath = ["."] in the configuration of pytest'
        )
    return f"{missing} is not installed in {sys.prefix}; add the package that provides it: {_command(missing)}"


def _missing_module(error: BaseException) -> str | None:
    """Return the name of the top-level module that an import did not find."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            name = cause.name.partition(".")[0]
            # If the module is there, only a part of it is missing.
            return None if name in sys.modules else name
        cause = cause.__cause__ or cause.__context__
    return None


def _command(module: str) -> str:
    prefix = Path(sys.prefix)
    if (prefix / _UV_RECEIPT).is_file():
        # uv installs only what the last command names.
        words = ["uv", "tool", "install"]
        for name in [*_added_with_uv(prefix / _UV_RECEIPT), module]:
            words += ["--with", name]
        return shlex.join([*words, _DISTRIBUTION])
    if (prefix / _PIPX_METADATA).is_file():
        return shlex.join(["pipx", "inject", prefix.name, module])
    return shlex.join(["pip", "install", module])


def _added_with_uv(receipt: Path) -> list[str]:
    try:
        requirements = tomllib.loads(receipt.read_text(encoding="utf-8"))["tool"]["requirements"]
        return [requirement["name"] for requirement in requirements if requirement["name"] != _DISTRIBUTION]
    except (OSError, ValueError, LookupError, TypeError):
        return []
