"""Unit tests mirror the modules, so that the tests of a module are found by its name."""

from __future__ import annotations

from pathlib import Path

import pytest
from sandbox import REPOSITORY

UNIT = REPOSITORY / "tests" / "unit"
FILES = sorted(str(path.relative_to(UNIT)) for path in UNIT.glob("*/**/test_*.py"))


@pytest.mark.parametrize("file", FILES)
def test_a_file_of_unit_tests_begins_with_the_name_of_a_module(file: str) -> None:
    path = Path(file)
    room = REPOSITORY / "remediation" / path.parent
    words = path.stem.removeprefix("test_").split("_")

    assert any((room / f"{'_'.join(words[:count])}.py").is_file() for count in range(1, len(words) + 1)), room
