"""The examples in README and docs work as pasted, and the architecture page names rooms and files that exist."""

from __future__ import annotations

import pwd
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from sandbox import REPOSITORY, Sandbox

from remediation.config.load import load_project, tomllib
from remediation.messages.catalog import CATALOG

PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").rglob("*.md"))]
HOW_TO = REPOSITORY / "docs" / "how-to"
URL = "http://localhost:8000"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Words of the comparison whose values differ from case to case.
_SAID = {"broken_by_heal": "broken by the heal of ", "slower": "slower: "}


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a language in a page."""
    return [text for name, text in _BLOCK.findall(page.read_text(encoding="utf-8")) if name == language]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_block_of_toml_loads_and_so_does_each_alternative_in_it(page: Path) -> None:
    for text in blocks(page, "toml"):
        tomllib.loads(text)
        for line in text.splitlines():
            if re.match(r"# \w+ = ", line):
                tomllib.loads(line.removeprefix("# "))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_no_command_has_a_gap_or_wants_what_is_not_published(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    commands = [*blocks(page, "sh"), *re.findall(r"`((?:kill|docker|pip|auto-heal) [^`\n]*)`", text)]

    assert [command for command in commands if "…" in command] == []
    assert [command for command in commands if re.search(r"install '?pytest-auto-heal", command)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_table_of_auto_heal_in_the_docs_is_a_valid_configuration(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The users of an example need not exist here.
    monkeypatch.setattr("remediation.config.model.getpwnam", lambda _: pwd.getpwuid(0))
    for text in blocks(page, "toml"):
        if "[tool.auto-heal" in text:
            service = "" if ".services." in text else f"\n[tool.auto-heal.services.api]\nurl = '{URL}'\n"
            (tmp_path / "pyproject.toml").write_text(text + service, encoding="utf-8")
            (tmp_path / ".env").write_text("API_TOKEN=a\nDB_PASSWORD=b\n", encoding="utf-8")
            load_project(tmp_path, {"BEAT_TOKEN": "0123456789abcdef", "HC_UUID": "x"})


@pytest.mark.soak
@pytest.mark.parametrize("page", [REPOSITORY / "README.md", HOW_TO / "write-a-check.md"], ids=lambda page: page.name)
def test_the_check_that_is_shown_runs_as_pasted(project: Sandbox, page: Path) -> None:
    (text,) = blocks(page, "python")
    project.write("healthtests/test_shown.py", text.replace("/api/prices", "/api/girls"))
    project.auto_heal("start")

    result = project.auto_heal("check", "-k", "test_shown")

    assert result.code == 0, result
    assert "✅ /api/girls OK" in result.output


def test_all_that_a_comparison_can_say_is_explained() -> None:
    told = (HOW_TO / "deploy.md").read_text(encoding="utf-8")
    keys = ("broken_by_deployment", "broken_by_heal", "slower", "too_slow", "fails_new", "not_run")

    for words in (_SAID.get(key, CATALOG[key].en) for key in keys):
        assert f"| `{words}" in told


def test_the_names_that_an_example_leaves_open_are_said_to_be_open() -> None:
    action = (REPOSITORY / "docs" / "reference" / "github-action.md").read_text(encoding="utf-8")
    monitor = (HOW_TO / "monitor.md").read_text(encoding="utf-8")

    assert "OWNER and COMMIT stand for" in action
    assert "IMAGE stands for" in monitor


# The architecture page.

ARCHITECTURE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGE = REPOSITORY / "remediation"
QUESTIONS = re.findall(r"^\| ([^|]+\?) \| `(grep [^`]+)` \| `([^`]+)` \|$", ARCHITECTURE, re.MULTILINE)
# More files than this are no answer.
_MOST_FILES = 6


def test_the_picture_shows_the_rooms_in_the_order_in_which_they_may_import() -> None:
    configuration = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    layers = configuration["tool"]["importlinter"]["contracts"][0]["layers"]
    picture = _BLOCK.findall(ARCHITECTURE)[0][1]
    # In parentheses is a room that need not be there.
    needed = {room for layer in layers if not layer.startswith("(") for room in layer.split(" | ")}

    assert re.findall(r"^ (\w+(?: \| \w+)*) {2,}", picture, re.MULTILINE) == [layer.strip("()") for layer in layers]
    assert {room for room in needed if not (PACKAGE / room / "__init__.py").is_file()} == set()


def test_every_file_that_the_architecture_page_names_exists() -> None:
    named = re.findall(r"`((?:[\w-]+/)+[\w-]+\.\w+|[\w-]+\.py|[\w-]+/)`", ARCHITECTURE)

    assert len(named) > len(QUESTIONS)
    assert [name for name in named if not any((folder / name).exists() for folder in (PACKAGE, REPOSITORY))] == []


def test_the_architecture_page_fits_on_a_page_and_answers_twenty_questions() -> None:
    assert len(ARCHITECTURE.splitlines()) <= 200
    assert len({question for question, _, _ in QUESTIONS}) >= 20


@pytest.mark.parametrize(("question", "command", "file"), QUESTIONS, ids=lambda value: value)
def test_one_grep_for_a_word_of_the_question_finds_the_file(question: str, command: str, file: str) -> None:
    words = shlex.split(command)
    result = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
    found = {line.partition(":")[0] for line in result.stdout.splitlines()}

    assert f"remediation/{file}" in found
    assert len(found) <= _MOST_FILES
    assert any(word in question.lower() for word in re.findall(r"[a-z]{4,}", words[2].lower()))
