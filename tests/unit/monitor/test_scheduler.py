"""Forks claim the groups of a round one by one, and services that depend on each other stay in one group."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from remediation.monitor.scheduler import Claims, groups


def item(name: str, *services: str, file: str = "test_a.py") -> Any:
    """Return the part of a check that the grouping needs."""
    marks = [pytest.mark.heals(*services).mark] if services else []
    return SimpleNamespace(nodeid=name, path=Path(file), iter_markers=lambda _: iter(marks))


def named(cut: list[list[Any]]) -> list[list[str]]:
    """Return the groups by the names of their checks."""
    return [[one.nodeid for one in group] for group in cut]


def services(**needs: list[str]) -> Any:
    """Return services with their dependencies."""
    return {name: SimpleNamespace(depends_on=tuple(others)) for name, others in needs.items()}


@pytest.mark.parametrize(
    ("needs", "items", "expected"),
    [
        ({"a": [], "b": []}, [item("1", "a"), item("2", "b"), item("3", "a")], [["1", "3"], ["2"]]),
        ({"a": ["b"], "b": []}, [item("1", "a"), item("2", "b")], [["1", "2"]]),
        ({"a": ["b"], "b": ["c"], "c": []}, [item("1", "a"), item("2", "c")], [["1", "2"]]),
        ({"a": ["c"], "b": ["c"], "c": []}, [item("1", "a"), item("2", "b")], [["1", "2"]]),
        ({"a": [], "b": [], "c": []}, [item("1", "a"), item("2", "a", "b"), item("3", "c")], [["1", "2"], ["3"]]),
        ({"a": []}, [item("1"), item("2", "a"), item("3"), item("4", file="test_b.py")], [["1", "3"], ["2"], ["4"]]),
    ],
    ids=["apart", "dependent", "through another", "one need", "one check of two", "without services by file"],
)  # fmt: skip
def test_together_stay_checks_of_services_that_have_to_do_with_each_other(
    needs: dict[str, list[str]], items: list[Any], expected: list[list[str]]
) -> None:
    assert named(groups(items, services(**needs))) == expected


def test_more_groups_than_a_pipe_takes_are_joined() -> None:
    names = [f"s{number}" for number in range(5000)]

    cut = groups([item(name, name) for name in names], services(**{name: [] for name in names}))

    assert [name for group in named(cut) for name in group] == names
    claims = Claims(len(cut))
    assert [claims.next() for _ in cut] == list(range(len(cut)))
    claims.close()


def test_every_group_is_claimed_once_by_one_of_several_processes() -> None:
    claims = Claims(1000)
    reader, writer = os.pipe()
    for _ in range(4):
        if os.fork() == 0:
            while (index := claims.next()) is not None:
                os.write(writer, f"{index}\n".encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="ascii") as told:
        claimed = [int(line) for line in told]
    for _ in range(4):
        os.wait()

    assert sorted(claimed) == list(range(1000))
    assert not claims.left
    claims.close()


def test_what_is_left_is_known_without_claiming_it() -> None:
    claims = Claims(1)

    assert claims.left
    assert claims.left
    assert claims.next() == 0
    assert not claims.left
    assert claims.next() is None
    claims.close()
