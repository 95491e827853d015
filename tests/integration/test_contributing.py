"""What CONTRIBUTING says can be followed: its commands, folders and sessions exist, and lint is the same everywhere."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
import yaml
from sandbox import REPOSITORY

from remediation.config.load import tomllib

TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAGES = [REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
COMMANDS = [
    line for block in re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]
WHOLE = "pytest tests -n auto"
PARTS = [command for command in COMMANDS if command.startswith("pytest ") and command != WHOLE]
SCRIPT = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").splitlines()
# How a hook differs from the command for the whole repository: it gets the names of the files.
_OF_ALL_FILES = {"ruff check --force-exclude": "ruff check .", "ruff format --force-exclude": "ruff format --check ."}


def project() -> dict[str, Any]:
    """Return the metadata of the project."""
    found: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def sessions() -> dict[str, ast.FunctionDef]:
    """Return the sessions of nox."""
    tree = ast.parse((REPOSITORY / "noxfile.py").read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def lint() -> list[str]:
    """Return the commands of the session lint."""
    calls = [node for node in ast.walk(sessions()["lint"]) if isinstance(node, ast.Call)]
    runs = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "run"]
    return [shlex.join(ast.literal_eval(word) for word in call.args) for call in runs]


def test_the_commands_are_those_of_ci() -> None:
    assert WHOLE in COMMANDS
    assert "pre-commit run --all-files" in COMMANDS
    assert set(lint()) <= set(SCRIPT)
    assert any(line.startswith(WHOLE) for line in SCRIPT)


def test_the_set_up_installs_extras_that_exist_and_hold_the_tools() -> None:
    extras = project()["optional-dependencies"]
    (named,) = re.findall(r"^pip install -e '\.\[([\w,]+)\]'$", "\n".join(COMMANDS), re.MULTILINE)
    packages = {re.split(r"[<>=\[;]", one)[0] for extra in named.split(",") for one in extras[extra]}

    assert {"pre-commit", "nox", "pytest-xdist", "pytest-cov", "ruff", "mypy", "import-linter"} <= packages


def test_every_session_that_is_named_exists() -> None:
    named = re.findall(r"`nox -s (\w+)", TEXT)

    assert named
    assert {name for name in named if name not in sessions()} == set()


@pytest.mark.parametrize("command", PARTS)
def test_a_command_for_a_part_of_the_tests_selects_some(command: str) -> None:
    words = [sys.executable, "-m", *shlex.split(command), "--collect-only", "-q", "-p", "no:cacheprovider"]
    result = subprocess.run(words, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_file_of_tests_that_a_page_names_exists(page: Any) -> None:
    named = re.findall(r"\btests/[\w*/.-]*[\w*/]", page.read_text(encoding="utf-8"))

    assert [name for name in named if "ROOM" not in name and not any(REPOSITORY.glob(name.rstrip("/")))] == []


def test_a_commit_is_checked_as_ci_checks() -> None:
    configuration = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (local,) = configuration["repos"]
    entries = [hook["entry"] for hook in local["hooks"]]

    assert local["repo"] == "local"
    assert {hook["language"] for hook in local["hooks"]} == {"system"}
    assert [_OF_ALL_FILES.get(entry, entry) for entry in entries] == lint()


def test_each_decision_is_short_and_says_what_was_refused() -> None:
    pages = sorted((REPOSITORY / "docs" / "adr").glob("[0-9]*.md"))
    index = (REPOSITORY / "docs" / "adr" / "README.md").read_text(encoding="utf-8")
    parts = ["Context", "Decision", "Consequences", "Refused"]
    texts = {page.name: page.read_text(encoding="utf-8") for page in pages}

    assert len(pages) >= 6
    assert [name for name, text in texts.items() if re.findall(r"^## (.+)$", text, re.MULTILINE) != parts] == []
    assert [name for name, text in texts.items() if len(text.splitlines()) > 40] == []
    assert re.findall(r"\]\((.+?\.md)\)", index) == list(texts)
