"""Who else may write what root runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from remediation.config import trust

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root is warned")
NOBODY = 65_534


@pytest.fixture
def root() -> Iterator[Path]:
    """A project that only root may write, below a folder that everyone may write to, as /tmp is."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "healthtests").mkdir()
        for name in ("auto-heal.toml", ".env", "conftest.py", "healthtests/test_a.py"):
            (place / name).touch(mode=0o644)
        yield place


def problems(root: Path) -> list[str]:
    """Return the problems, without the path of the project."""
    return [
        problem.removeprefix(f"{root}").removeprefix("/")
        for problem in trust.problems(root, [root / "auto-heal.toml", root / ".env"])
    ]


def test_what_only_root_may_write_is_no_problem(root: Path) -> None:
    assert problems(root) == []


@pytest.mark.parametrize("name", ["auto-heal.toml", ".env", "conftest.py", "healthtests/test_a.py", "healthtests"])
def test_a_file_of_another_user_is_one(root: Path, name: str) -> None:
    os.chown(root / name, NOBODY, -1)

    assert problems(root) == [f"{name} can be written by the user nobody"]


@pytest.mark.parametrize(("mode", "group", "who"), [(0o646, 0, "everyone"), (0o664, NOBODY, f"the group {NOBODY}")])
def test_a_file_that_others_may_write_is_one(root: Path, mode: int, group: int, who: str) -> None:
    os.chown(root / "auto-heal.toml", -1, group)
    (root / "auto-heal.toml").chmod(mode)

    assert problems(root) == [f"auto-heal.toml can be written by {who}"]


def test_a_file_that_roots_own_group_may_write_is_none(root: Path) -> None:
    (root / "auto-heal.toml").chmod(0o664)

    assert problems(root) == []


def test_a_folder_on_the_way_that_others_may_write_is_one_unless_its_sticky_bit_protects_what_is_in_it(
    root: Path,
) -> None:
    root.chmod(0o1777)
    protected = problems(root)
    root.chmod(0o777)

    assert protected == []
    assert problems(root) == [" can be written by everyone"]


def test_without_root_nobody_is_warned(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "auto-heal.toml").chmod(0o666)
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)

    assert problems(root) == []
