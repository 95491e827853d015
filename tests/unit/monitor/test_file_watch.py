"""Every edit of checks or configuration is noticed, and nothing else is."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from remediation.monitor.file_watch import Sources

# Moments of files that were written long before anybody looked.
LONG_AGO = time.time() - 1000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with checks, in a folder and below it, and a module beside them."""
    for name in ("auto-heal.toml", "conftest.py", "healthtests/test_one.py", "healthtests/below/test_two.py", "own.py"):
        write(tmp_path / name, "a = 1\n", at=LONG_AGO)
    return tmp_path


def write(path: Path, text: str, *, at: float | None = None) -> None:
    """Write a file with a given modification time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if at is not None:
        os.utime(path, (at, at))


def collected(root: Path) -> Sources:
    """Return the sources of a session that has read all of them."""
    sources = Sources(root)
    sources.add([str(root / "own.py"), str(root / "healthtests" / "test_one.py")])
    return sources


def swap(path: Path, text: str) -> None:
    """Replace a file by another one of the same age, as editors do."""
    draft = path.with_name("draft.txt")
    write(draft, text, at=path.stat().st_mtime)
    draft.replace(path)


EDITS: dict[str, Callable[[Path], object]] = {
    "a check": lambda root: write(root / "healthtests/test_one.py", "a = 22\n"),
    "a check, to the same size": lambda root: write(root / "healthtests/test_one.py", "a = 2\n"),
    "a check, to the same age": lambda root: write(root / "healthtests/test_one.py", "a = 22\n", at=LONG_AGO),
    "a check, put in its place": lambda root: swap(root / "healthtests/test_one.py", "a = 2\n"),
    "a check in a folder below": lambda root: write(root / "healthtests/below/test_two.py", "a = 2\n"),
    "a new check": lambda root: write(root / "healthtests/test_new.py", ""),
    "a new check in a new folder": lambda root: write(root / "healthtests/new/test_new.py", ""),
    "an old check moved there": lambda root: shutil.copy2(root / "own.py", root / "healthtests/test_old.py"),
    "a renamed check": lambda root: (root / "healthtests/test_one.py").rename(root / "healthtests/test_1.py"),
    "a deleted check": lambda root: (root / "healthtests/test_one.py").unlink(),
    "a deleted folder": lambda root: shutil.rmtree(root / "healthtests"),
    "the hooks": lambda root: write(root / "conftest.py", "a = 2\n"),
    "the configuration": lambda root: write(root / "auto-heal.toml", "a = 2\n"),
    "the deleted configuration": lambda root: (root / "auto-heal.toml").unlink(),
    "a new pyproject.toml": lambda root: write(root / "pyproject.toml", ""),
    "a module that the checks import": lambda root: write(root / "own.py", "a = 2\n"),
    "a module that is gone": lambda root: (root / "own.py").unlink(),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_an_edit_is_noticed(root: Path, edit: Callable[[Path], object]) -> None:
    sources = collected(root)
    before = sources.changed()

    edit(root)

    assert not before
    assert sources.changed()


@pytest.mark.parametrize("edit", [pytest.param(edit, id=name) for name, edit in EDITS.items() if "module" not in name])
def test_an_edit_while_the_checks_are_being_read_is_noticed(root: Path, edit: Callable[[Path], object]) -> None:
    sources = Sources(root)

    edit(root)
    sources.add([str(root / "own.py")])

    assert sources.changed()


def test_a_module_edited_while_it_is_being_read_is_noticed(root: Path) -> None:
    sources = Sources(root)

    write(root / "own.py", "a = 2\n")
    sources.add([str(root / "own.py")])

    assert sources.changed()


@pytest.mark.parametrize(
    "name",
    [
        "healthtests/notes.txt", "healthtests/__pycache__/test_one.pyc", "healthtests/__pycache__/x.py", "other.py",
        "auto-heal.log", ".auto-heal/api.json", "reports/health.xml",
    ],
)  # fmt: skip
def test_what_is_no_source_is_not_noticed(root: Path, name: str) -> None:
    sources = collected(root)

    write(root / name, "a = 2\n")

    assert not sources.changed()


def test_an_edit_of_a_file_of_variables_is_noticed_wherever_it_lies(root: Path, tmp_path: Path) -> None:
    for folder in (root, tmp_path / "elsewhere"):
        file = folder / ".env"
        sources = Sources(root, [file])
        sources.add([])
        before = sources.changed()

        write(file, "A=1")

        assert (before, sources.changed()) == (False, True)


def test_what_is_read_again_counts_from_then_on(root: Path) -> None:
    write(root / "healthtests/test_one.py", "a = 2\n")

    assert not collected(root).changed()


def test_a_folder_that_is_missing_is_no_error(tmp_path: Path) -> None:
    assert not Sources(tmp_path).changed()
