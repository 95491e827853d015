"""Another package of the same name is found wherever it hides ours."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from auto_heal_command import other_package, run


def write(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    return path


@pytest.mark.parametrize("name", ["remediation/__init__.py", "remediation.py"])
def test_a_package_or_module_in_front_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = write(tmp_path / name)
    monkeypatch.syspath_prepend(tmp_path)

    assert other_package() == str(path)


def test_a_folder_without_an_init_file_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "remediation" / "notes.txt")
    monkeypatch.syspath_prepend(tmp_path)

    assert other_package() is None


def test_a_package_behind_ours_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "remediation" / "__init__.py")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])

    assert other_package() is None


def test_an_interruption_before_a_command_begins_leaves_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("remediation.cli.main.run", interrupted)

    with pytest.raises(SystemExit) as ended:
        run()

    assert ended.value.code == 2
