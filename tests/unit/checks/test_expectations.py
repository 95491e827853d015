"""What the JSON of an answer lacks of what a declared check expects."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from requests.utils import get_encoding_from_headers

from remediation.checks.expectations import differences, mismatch
from remediation.checks.transport import Answer
from remediation.config.checks import Check


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


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        ("text/html", "utf-8"), ("text/html", "utf-8-sig"), ("application/json", "utf-8"), (None, "utf-8"),
        ("text/html; charset=windows-1251", "cp1251"), ("text/plain; Charset=nonsense", "utf-8"),
    ],
)  # fmt: skip
def test_a_body_is_read_in_its_encoding(content_type: str | None, encoding: str) -> None:
    answer = Answer()
    answer.status_code = 200
    answer._content = "Привет, мир".encode(encoding)
    if content_type:
        answer.headers["Content-Type"] = content_type
    answer.encoding = get_encoding_from_headers(answer.headers)

    assert mismatch(msgspec.convert({"get": "/", "contains": "мир", "matches": "^П"}, Check), answer) is None
