"""The README says what the code does: every key, option and command is in it, and .ci/run runs its test command."""

from __future__ import annotations

import re

import msgspec
import pytest
from sandbox import REPOSITORY, Sandbox

from remediation.commands.cli import parser
from remediation.project.schema import ProjectTable, ServiceTable

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", [ProjectTable, ServiceTable])
def test_every_key_of_the_configuration_is_explained(table: type[msgspec.Struct]) -> None:
    keys = {field.name for field in msgspec.structs.fields(table)} - {"services"}

    assert not {key for key in keys if f"`{key}`" not in README}


def test_the_defaults_of_the_configuration_are_those_of_the_table() -> None:
    numbers = {
        field.name: field.default
        for kind in (ProjectTable, ServiceTable)
        for field in msgspec.structs.fields(kind)
        if isinstance(field.default, int | float)
    }

    assert not {name for name, number in numbers.items() if f"| `{name}` | `{number:g}` |" not in README}


def test_every_command_and_option_is_explained(project: Sandbox) -> None:
    commands = re.findall(r"^    (\w+) ", parser().format_help(), re.MULTILINE)
    group = project.run("pytest", "--help").output.partition("\nauto-heal:")[2].partition("\n\n")[0]
    options = re.findall(r"^  (--[\w-]+)", group, re.MULTILINE)

    assert len(commands) == 6
    assert len(options) == 4
    assert not {word for word in [*commands, *options] if f"{word}" not in README}


def test_ci_runs_the_test_command_of_the_readme() -> None:
    command = re.search(r"^pip install -e '\.\[test\]' && (pytest tests.*)$", README, re.MULTILINE)
    script = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").splitlines()

    assert command
    assert command[1] in script
