"""A run of the tests in CI fails if a test is skipped without a known reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from expected_skips import ExpectedSkips
from sandbox import REPOSITORY

pytest_plugins = ["pytester"]

TESTS = """
    import pytest

    def test_one():
        pytest.skip("cc is not installed")

    @pytest.mark.skipif(True, reason="only root mounts")
    def test_two():
        pass

    @pytest.mark.xfail
    def test_three():
        assert False
"""


@pytest.mark.parametrize(
    ("lines", "code", "named"),
    [
        ("*::test_one: cc is\n# a comment\n\n*::test_two: only root\n", 0, []),
        ("*::test_one: cc is\n", 1, ["*test_two: only root mounts"]),
        ("*::test_one: another reason\n*::test_*: only root\n", 1, ["*test_one: cc is not installed"]),
        ("", 1, ["*test_one: cc is not installed", "*test_two: only root mounts"]),
    ],
    ids=["all expected", "another test", "another reason", "none expected"],
)
def test_an_unexpected_skip_fails_the_run_and_is_named(
    pytester: pytest.Pytester, lines: str, code: int, named: list[str]
) -> None:
    pytester.makepyfile(TESTS)
    file = pytester.path / "skips.txt"
    file.write_text(lines, encoding="utf-8")

    result = pytester.runpytest_inprocess("-p", "no:asyncio", plugins=[ExpectedSkips(file)])

    assert result.ret == code
    result.stdout.fnmatch_lines(named)


def test_a_list_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(pytest.UsageError, match="No such file"):
        ExpectedSkips(tmp_path / "none.txt")


def test_each_line_of_the_list_names_a_file_of_tests() -> None:
    lines = (REPOSITORY / "tests" / "expected_skips.txt").read_text(encoding="utf-8").splitlines()

    for line in lines:
        if line.startswith("tests/"):
            assert (REPOSITORY / line.partition("::")[0]).is_file(), line
