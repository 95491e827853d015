"""The docs match the code: they list all keys, options, commands and numbers, and .ci/run runs what they say.

The README stays short: what is new belongs to the pages below docs/.
"""

from __future__ import annotations

import argparse
import json
import re
import urllib.request
from pathlib import Path

import msgspec
import pytest
from sandbox import REPOSITORY, Sandbox

from remediation.cli.main import parser
from remediation.config.load import load_project
from remediation.config.model import Budget, EvidenceLimits, HistoryLimits, Notices, Project, Service
from remediation.config.schema import keys
from remediation.monitor.metrics import HOST, Metrics
from remediation.monitor.service_status import ServiceStatus

PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").rglob("*.md"))]
REFERENCE = REPOSITORY / "docs" / "reference"
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
CONFIGURATION = (REFERENCE / "configuration.md").read_text(encoding="utf-8")
# The README is the front page: it fits on three screens, and loads at once on a package index.
_MOST_LINES = 120
_MOST_BYTES = 8_000


def name_of(page: Path) -> str:
    """Return the path of a page in the repository."""
    return str(page.relative_to(REPOSITORY))


def reference(page: str) -> str:
    """Return the text of a page of the reference."""
    return (REFERENCE / page).read_text(encoding="utf-8")


def commands() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command."""
    found = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(found.choices)


def written(number: float) -> str:
    """Return a number, or true or false, in the notation of the docs."""
    if isinstance(number, bool):
        return str(number).lower()
    return f"{number:_}" if isinstance(number, int) else f"{number:g}"


def numbers(table: type[msgspec.Struct]) -> dict[str, str]:
    """Return the numeric defaults of a table, in the notation of the docs."""
    defaults = {field.encode_name: field.default for field in msgspec.structs.fields(table)}
    return {key: written(defaults[key]) for key in keys(table) if type(defaults[key]) in {bool, int, float}}


@pytest.mark.parametrize("table", [Project, Service, Notices])
def test_every_key_of_the_configuration_is_explained(table: type[msgspec.Struct]) -> None:
    known = keys(table).keys() - {"services"}

    assert not {
        key for key in known if f"`{key}`" not in CONFIGURATION and f"[tool.auto-heal.{key}]" not in CONFIGURATION
    }


@pytest.mark.parametrize("table", [Project, Service])
def test_the_defaults_of_the_configuration_are_those_of_the_table(table: type[msgspec.Struct]) -> None:
    assert not {name for name, number in numbers(table).items() if f"| `{name}` | `{number}` |" not in CONFIGURATION}


@pytest.mark.parametrize(
    ("key", "table"), [("budget", Budget), ("history", HistoryLimits), ("evidence", EvidenceLimits)]
)
def test_the_defaults_of_an_inline_table_are_those_of_the_table(key: str, table: type[msgspec.Struct]) -> None:
    default = ", ".join(f"{name} = {number}" for name, number in numbers(table).items())

    assert f"| `{key}` | `{{ {default} }}` |" in CONFIGURATION


@pytest.mark.parametrize("key", ["urls", "on"])
def test_the_defaults_of_the_messages_are_those_of_the_table(key: str) -> None:
    assert f"| `{key}` | `{json.dumps(getattr(Notices(), key))}` |" in CONFIGURATION


@pytest.mark.parametrize("command", commands())
def test_every_command_and_its_options_have_their_row(command: str) -> None:
    rows = [line for line in reference("commands.md").splitlines() if line.startswith("| `auto-heal ")]
    own = "\n".join(row for row in rows if re.search(rf"\b{command}\b", row.split("|")[1]))
    options = [action.option_strings for action in commands()[command]._actions if action.dest != "help"]

    assert own
    assert not [names for names in options if names and not any(name in own for name in names)]


def test_every_option_of_pytest_is_explained(project: Sandbox) -> None:
    group = project.run("pytest", "--help").output.partition("\nauto-heal:")[2].partition("\n\n")[0]
    options = re.findall(r"^  (--[\w-]+)", group, re.MULTILINE)

    assert len(options) == 6
    assert not {option for option in options if option not in reference("pytest.md")}


def test_every_number_that_is_served_is_explained(project: Sandbox) -> None:
    loaded = load_project(project.root, {})
    metrics = Metrics(loaded, ServiceStatus(loaded.services), 0)
    try:
        with urllib.request.urlopen(f"http://{HOST}:{metrics.port}/metrics", timeout=30) as answer:
            served = re.findall(r"^# TYPE (\w+)", answer.read().decode(), re.MULTILINE)
    finally:
        metrics.close()

    assert sorted(served) == sorted(re.findall(r"^\| `(auto_heal_\w+)` \|", reference("metrics.md"), re.MULTILINE))


def headings(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {
        re.sub(r"[^\w-]", "", one.lower().replace(" ", "-")) for one in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    for path, heading in re.findall(r"\]\(((?!https?:)[^)#]*)(#[^)]+)?\)", page.read_text(encoding="utf-8")):
        target = (page.parent / path).resolve() if path else page

        assert target.is_relative_to(REPOSITORY), path
        assert target.exists(), path
        assert not heading or heading[1:] in headings(target), f"{path}{heading}"


def test_the_index_of_the_docs_lists_every_page() -> None:
    listed = re.findall(r"\]\(([^)#]+\.md)\)", (REPOSITORY / "docs" / "README.md").read_text(encoding="utf-8"))
    pages = {str(page.relative_to(REPOSITORY / "docs")) for page in PAGES if page.is_relative_to(REPOSITORY / "docs")}

    assert {page for page in pages if not page.startswith("adr/")} - {*listed, "README.md"} == set()


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= _MOST_LINES
    assert len(README.encode()) <= _MOST_BYTES


def test_ci_runs_the_test_command_of_the_readme() -> None:
    command = re.search(r"^pip install -e '\.\[test\]' && (pytest tests.*)$", README, re.MULTILINE)
    script = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").splitlines()

    assert command
    assert any(line.startswith(command[1]) for line in script)
