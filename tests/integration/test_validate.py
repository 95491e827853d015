"""`auto-heal validate` says in one line whether the configuration, and with --checks the checks, can be used."""

from __future__ import annotations

from sandbox import Sandbox


def test_a_valid_configuration_is_said_so_and_nothing_is_touched(project: Sandbox) -> None:
    before = sorted(project.root.rglob("*"))

    result = project.auto_heal("validate")
    with_checks = project.auto_heal("validate", "--checks")

    assert (result.code, result.output) == (0, "auto-heal.toml: valid; services: api\n")
    assert (with_checks.code, with_checks.output) == (0, result.output)
    assert [path for path in sorted(project.root.rglob("*")) if ".auto-heal" not in path.parts] == before


def test_a_broken_configuration_is_told_in_one_sentence(project: Sandbox) -> None:
    project.write("auto-heal.toml", "retires = 3\n[services.api]\ncommand = 'x'\nurl = 'http://localhost:1'\n")

    result = project.auto_heal("validate")

    assert result.code == 4
    assert result.output == "auto-heal: auto-heal.toml: unknown key 'retires'; did you mean 'retries'?\n"


def test_checks_that_cannot_be_collected_are_told_only_if_asked_for(project: Sandbox) -> None:
    project.write("healthtests/test_more.py", "import nosuch\n")

    alone, result = project.auto_heal("validate"), project.auto_heal("validate", "--checks", AUTO_HEAL_LANG="ru")

    assert alone.code == 0, alone
    assert result.code == 4
    assert result.output == ("auto-heal: не удалось собрать проверки: ModuleNotFoundError: No module named 'nosuch'\n")


def test_a_folder_without_a_check_is_told(project: Sandbox) -> None:
    for file in (project.root / "healthtests").glob("test_*.py"):
        file.unlink()

    result = project.auto_heal("validate", "--checks")

    assert result.code == 4
    assert result.output == f"auto-heal: there is no check in {project.root.resolve()}/healthtests\n"
