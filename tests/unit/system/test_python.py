"""A function of this package in a new process."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from remediation.system import python


def test_a_new_process_finds_modules_where_this_one_does_and_not_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = tmp_path / "a:b\nc"
    for folder, text in ((strange, "right"), (tmp_path / "project", "wrong")):
        folder.mkdir()
        (folder / "told.py").write_text(f"import sys\n\n\ndef main():\n    print('{text}', *sys.argv[1:])\n")
    monkeypatch.syspath_prepend(strange)

    output = subprocess.check_output(python.command("told", "main", "-x", "a b"), cwd=tmp_path / "project", text=True)

    assert output == "right -x a b\n"
