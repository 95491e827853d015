"""What the JSON of an answer lacks of what a declared check expects."""

from __future__ import annotations

from typing import Any

import pytest

from remediation.checks.expectations import differences


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        ({}, {"a": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": {"b": True}}, {"a": {"b": True, "c": []}}),
        ({"a": 1.0}, {"a": 1}),
        ([], [1, 2]),
        ([2], [1, 2]),
        ([{"id": 2}], [{"id": 1}, {"id": 2, "up": True}]),
        ("UP", "UP"),
    ],
)
def test_a_value_may_have_more_than_is_expected(expected: Any, value: Any) -> None:
    assert list(differences(expected, value)) == []


@pytest.mark.parametrize(
    ("expected", "value", "problem"),
    [
        ({"a": 1}, {}, "the JSON has no a"),
        ({"a": {"b": 1}}, {"a": {}}, "the JSON has no a.b"),
        ({"status": "ok"}, {"status": "down"}, 'status is "down", not "ok"'),
        ({"up": True}, {"up": 1}, "up is 1, not true"),
        ({"n": 1}, {"n": True}, "n is true, not 1"),
        ({"a": {"b": 1}}, {"a": None}, 'a is null, not {"b":1}'),
        ({}, [], "the JSON is [], not {}"),
        ([3], [1, 2], "no item of the JSON fits 3"),
        ({"a": [{"id": 3}]}, {"a": [{"id": 1}]}, 'no item of a fits {"id":3}'),
        ({"s": "x"}, {"s": "\ud800"}, 's is "\\ud800", not "x"'),
        ({"n": 1}, {"n": float("nan")}, "n is NaN, not 1"),
        ("x" * 100, "y", f'the JSON is "y", not "{"x" * 59}...'),
    ],
)
def test_what_is_missing_is_named_with_its_place(expected: Any, value: Any, problem: str) -> None:
    assert next(differences(expected, value)) == problem
