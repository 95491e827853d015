"""The commands that need no project: help, and the schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from remediation.cli.main import main
from remediation.config.json_schema import json_schema


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without a project."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTO_HEAL_LANG", "en")


def printed(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what a command prints that ends with 0."""
    try:
        assert main(words) == 0
    except SystemExit as ended:
        assert ended.code == 0  # noqa: PT017 - of two ways to end
    return capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["check"], ["help"]])
def test_help_prints_what_the_option_prints(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert printed("help", *words, capsys=capsys) == printed(*words, "--help", capsys=capsys)


@pytest.mark.parametrize(("words", "in_pyproject"), [([], False), (["--pyproject"], True)])
def test_the_schema_is_printed_as_json(
    words: list[str], capsys: pytest.CaptureFixture[str], *, in_pyproject: bool
) -> None:
    assert json.loads(printed("schema", *words, capsys=capsys)) == json_schema(in_pyproject=in_pyproject)
