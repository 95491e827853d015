"""The JSON Schema of the configuration accepts what auto-heal accepts, and refuses unknown keys and wrong types."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from configurations import API, VALUES, toml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from sandbox import REPOSITORY

from remediation.config.json_schema import json_schema
from remediation.config.load import load_project, tomllib
from remediation.config.model import Project, Service
from remediation.config.schema import ConfigError, keys

OWN = Draft202012Validator(json_schema())
SHARED = Draft202012Validator(json_schema(in_pyproject=True))
PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").rglob("*.md"))]
SHOWN = [
    text
    for page in PAGES
    for text in re.findall(r"^```toml\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    if "[tool.auto-heal" in text
]
CHECK = "[services.api]\nurl = 'http://localhost:1'\nchecks = [{}]\n"


def refused(text: str) -> list[str]:
    """Return where the schema refuses an auto-heal.toml, as dotted keys."""
    return [".".join(map(str, error.absolute_path)) for error in OWN.iter_errors(tomllib.loads(text))]


def test_it_is_a_schema_and_describes_every_key() -> None:
    Draft202012Validator.check_schema(json_schema())
    Draft202012Validator.check_schema(json_schema(in_pyproject=True))
    definitions = json_schema()["$defs"]

    assert list(definitions["Project"]["properties"]) == list(keys(Project))
    assert list(definitions["Service"]["properties"]) == list(keys(Service))
    assert definitions["Service"]["properties"]["start_timeout"]["default"] == 30.0
    assert "description" in definitions["Service"]["properties"]["start_period"]


@pytest.mark.parametrize("text", SHOWN)
def test_what_the_docs_show_is_valid(text: str) -> None:
    table = tomllib.loads(text)
    table["tool"]["auto-heal"].setdefault("services", {"api": {"url": "http://localhost:1"}})

    assert list(SHARED.iter_errors(table)) == []
    assert list(OWN.iter_errors(table["tool"]["auto-heal"])) == []


def test_the_rest_of_a_pyproject_is_not_looked_at() -> None:
    table = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    wrong = tomllib.loads("[tool.auto-heal.services.api]\nurll = 'x'\n[tool.other]\nurll = 'x'\n")

    assert list(SHARED.iter_errors(table)) == []
    assert [list(error.absolute_path) for error in SHARED.iter_errors(wrong)] == [
        ["tool", "auto-heal", "services", "api"]
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", ""),
        ("services = {}", "services"),
        (f"{API}urll = 'x'\n", "services.api"),
        (f"intervall = 3\n{API}", ""),
        (f"source = 'x'\n{API}", ""),
        (f"{API}name = 'x'\n", "services.api"),
        (f"{API}restart_command = 'x'\n", "services.api"),
        ("[services.'a b']\ncommand = 'x'\n", "services"),
        (f"interval = '3'\n{API}", "interval"),
        (f"interval = 0\n{API}", "interval"),
        (f"retries = true\n{API}", "retries"),
        (f"language = 'fr'\n{API}", "language"),
        (f"{API}env = {{ A = 1 }}\n", "services.api.env.A"),
        (f"{API}restart_delay = 61\n", "services.api.restart_delay"),
        (f"{API}ladder = []\n", "services.api.ladder"),
        (f"{API}ladder = ['reboot']\n", "services.api.ladder.0"),
        (f"{API}ladder = [{{}}]\n", "services.api.ladder.0"),
        (f"{API}ladder = [{{ run = 'x', hook = 'y' }}]\n", "services.api.ladder.0"),
        (f"{API}rollback = {{ timeout = 5 }}\n", "services.api.rollback"),
        (f"{API}budget = {{ calm = 1 }}\n", "services.api.budget"),
        (f"notify = {{ on = ['ill'] }}\n{API}", "notify.on.0"),
        (CHECK.format("{}"), "services.api.checks.0"),
        (CHECK.format("{ get = '/', post = '/' }"), "services.api.checks.0"),
        (CHECK.format("{ process = false }"), "services.api.checks.0.process"),
        (CHECK.format("{ get = '/', statsu = 200 }"), "services.api.checks.0"),
        (CHECK.format("{ get = '/', status = 99 }"), "services.api.checks.0.status"),
        (CHECK.format("{ tcp = true, status = 200 }"), "services.api.checks.0"),
        (CHECK.format("{ heartbeat = { name = 'x' } }"), "services.api.checks.0.heartbeat"),
    ],
)
def test_unknown_keys_wrong_types_and_values_out_of_bounds_are_refused(text: str, place: str) -> None:
    assert refused(text) == [place]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    top=st.dictionaries(st.sampled_from(list(keys(Project))[:-1]), VALUES, max_size=2),
    service=st.dictionaries(st.sampled_from(list(keys(Service))), VALUES, max_size=2),
)
def test_what_auto_heal_accepts_the_schema_accepts(
    tmp_path: Path, top: dict[str, Any], service: dict[str, Any]
) -> None:
    pairs = [[f"{key} = {toml(value)}" for key, value in table.items()] for table in (top, service)]
    own = [line for line in ("restart = 'x'", "url = 'http://h'") if line.split()[0] not in service]
    text = "\n".join([*pairs[0], "[services.api]", *pairs[1], *own])
    (tmp_path / "auto-heal.toml").write_text(text, encoding="utf-8", errors="replace")

    try:
        load_project(tmp_path, {})
    except ConfigError:
        return
    assert list(OWN.iter_errors(tomllib.loads(text))) == []
