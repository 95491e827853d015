"""What README and docs give to paste can be pasted: TOML loads, commands have no gaps, what is said is explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sandbox import REPOSITORY

from remediation.config.load import tomllib
from remediation.messages.catalog import CATALOGUE

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Words of the comparison whose values differ from case to case.
_SAID = {"broken_by_heal": "broken by the heal of ", "slower": "slower: "}


def blocks(page: Path, language: str) -> list[str]:
    """Return what stands in a page in blocks of a language."""
    return [text for name, text in _BLOCK.findall(page.read_text(encoding="utf-8")) if name == language]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_toml_loads_and_so_does_each_alternative_in_it(page: Path) -> None:
    for text in blocks(page, "toml"):
        tomllib.loads(text)
        for line in text.splitlines():
            if re.match(r"# \w+ = ", line):
                tomllib.loads(line.removeprefix("# "))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_command_has_a_gap_or_wants_what_is_not_published(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    commands = [*blocks(page, "sh"), *re.findall(r"`((?:kill|docker|pip|auto-heal) [^`\n]*)`", text)]

    assert [command for command in commands if "…" in command] == []
    assert [command for command in commands if re.search(r"install '?pytest-auto-heal", command)] == []


def test_all_that_a_comparison_can_say_is_explained() -> None:
    told = (REPOSITORY / "docs" / "deploying.md").read_text(encoding="utf-8")
    keys = ("broken_by_deployment", "broken_by_heal", "slower", "too_slow", "fails_new", "not_run")

    for words in (_SAID.get(key, CATALOGUE[key].en) for key in keys):
        assert f"| `{words}" in told


def test_the_names_that_an_example_leaves_open_are_said_to_be_open() -> None:
    deploying = (REPOSITORY / "docs" / "deploying.md").read_text(encoding="utf-8")
    monitoring = (REPOSITORY / "docs" / "monitoring.md").read_text(encoding="utf-8")

    assert "OWNER and COMMIT stand for" in deploying
    assert "IMAGE stands for" in monitoring
