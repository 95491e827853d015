"""What a health answer says, in the words of many frameworks."""

from __future__ import annotations

import re

import pytest

from remediation.probes.health_body import Says, read


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"status":"UP"}', {"json": {"status": "UP"}}),
        ('{"status":"UP","components":{"db":{"status":"UP"}},"uptime":5}', {"json": {"status": "UP"}}),
        ('{"version":"1.2","status":"pass","time":"2026-01-01"}', {"json": {"status": "pass"}}),
        ('{"Status": "Healthy"}', {"json": {"Status": "Healthy"}}),
        ('{"health":{"status":"ok","since":7}}', {"json": {"health": {"status": "ok"}}}),
        ('{"ok": true, "count": 3}', {"json": {"ok": True}}),
        ('{"uptime": 3, "healthy": true}', {"json": {"healthy": True}}),
        ('{"status": 200, "state": "green"}', {"json": {"state": "green"}}),
        ("Healthy", {"matches": "^Healthy$"}),
        ("ok\n", {"matches": "^ok$"}),
        ("\r\n OK \r\n", {"matches": r"^\s*OK\s*$"}),
        ('"ok"', {"matches": '^"ok"$'}),
    ],
)
def test_of_a_well_service_the_field_or_the_word_that_says_so_is_expected(
    body: str, expected: dict[str, object]
) -> None:
    health = read(body.encode())

    assert health == (Says.WELL, expected)
    if isinstance(expression := expected.get("matches"), str):
        assert re.search(expression, body)
        assert not re.search(expression, f"not {body}")
        assert not re.search(expression, f"un{body}")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"status":"DOWN"}', {"json": {"status": "UP"}}),
        ('{"status":"OUT_OF_SERVICE"}', {"json": {"status": "UP"}}),
        ('{"state":{"health":"Unhealthy"}}', {"json": {"state": {"health": "Healthy"}}}),
        ('{"healthy": false}', {"json": {"healthy": True}}),
        ("Unhealthy", {"matches": "^Healthy$"}),
        ("not ok\n", {"matches": "^ok$"}),
    ],
)
def test_of_a_sick_service_what_it_says_when_it_is_well_is_expected(body: str, expected: dict[str, object]) -> None:
    assert read(body.encode()) == (Says.SICK, expected)


@pytest.mark.parametrize(
    "body",
    [
        "Degraded", '{"status":"warn"}', '{"status":"yellow","nodes":3}', "UNKNOWN",
        # Of these, the opposite may be ok, pass, success or healthy.
        '{"status":"fail","output":"no disk"}', '{"status":"error"}', "failed",
    ],
)  # fmt: skip
def test_of_a_service_with_concerns_or_unknown_opposite_nothing_is_expected(body: str) -> None:
    assert read(body.encode()) == (Says.DOUBTFUL, {})


@pytest.mark.parametrize(
    "body",
    [
        "", " ", "Hello", "Prometheus Server is Healthy.", "it is ok", "[]", '["ok"]', "null", "7", "true",
        '{"status": 200}', '{"uptime": 9}', '{"message": "up and running"}', '{"ok": false, "error": "unknown"}',
        '{"status": {"status": {"status": {"status": "ok"}}}}', '{"status": ""}', "<html>ok</html>", "\xff",
    ],
)  # fmt: skip
def test_what_says_nothing_of_health_is_not_taken_for_it(body: str) -> None:
    assert read(body.encode("latin-1")) is None


def test_nesting_without_end_is_no_answer_of_health() -> None:
    assert read(b'{"status":' * 100_000) is None
