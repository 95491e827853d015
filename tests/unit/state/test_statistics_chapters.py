"""The statistics of a service: its heals, which of them helped, and its checks."""

from __future__ import annotations

from pathlib import Path

import pytest
from past import BEGIN, NOW, SINCE, Round, chapters, heal, no_past, record, result, service, well
from remediations import remediation

from remediation.state.history import History
from remediation.state.statistics import Heals, Step, figures


@pytest.fixture
def history(tmp_path: Path) -> History:
    """Return the history of an empty project."""
    return no_past(tmp_path)


# Heals.


@pytest.mark.parametrize(
    ("ok", "rounds", "helped"),
    [
        (True, well(20), 1),
        (True, [(20, 20, 25)], 1),
        (True, [(20, 20, None), *well(30)], 0),
        (False, well(20), 0),
        (True, [], 0),
        (True, [(20, None, None), (30, 30, None)], 0),
        (True, [(10, 10, 11)], 1),
        (True, [(9.9, 9.9, None), *well(20)], 1),
    ],
    ids=[
        "well", "healed once more", "sick", "a heal that failed", "nobody looked", "skipped, then sick", "its own run",
        "a run that had ended",
    ],
)  # fmt: skip
def test_a_heal_helped_if_the_next_run_that_looked_left_the_service_well(
    history: History, *, ok: bool, rounds: list[Round], helped: int
) -> None:
    heal(history, 10, ok=ok)

    found = service(history, rounds)

    assert found.heals == Heals(1, int(ok), helped)


def test_of_several_steps_in_one_run_only_the_last_can_have_helped(history: History) -> None:
    for at, action in ((12, "npm ci, restart"), (14, "restart")):
        history.record_remediation(remediation(at=BEGIN + at, action=action, since=BEGIN + 10, answered_at=BEGIN + at))
    record(history, result(10, 10, 14), took=10)

    (chapter,) = chapters(history)

    assert chapter.service is not None
    assert chapter.service.heals == Heals(2, 2, 1)
    assert chapter.service.steps == [Step("npm ci, restart", 1, 0, None), Step("restart", 1, 1, 4.0)]


def test_a_reload_or_a_hook_that_failed_has_not_helped_and_the_step_after_it_may_have(history: History) -> None:
    for at, action in (
        (12, "reload, hook flush, npm ci, restart"),
        (22, "hook flush"),
        (32, "npm run reload, restart"),
    ):
        history.record_remediation(
            remediation(at=BEGIN + at, action=action, since=BEGIN + at - 2, answered_at=BEGIN + at)
        )
        record(history, result(at, at, at + 1), took=2)

    (chapter,) = chapters(history)

    assert chapter.service is not None
    assert chapter.service.steps == [
        Step("hook flush", 2, 1, 2.0),
        Step("npm ci, restart", 1, 1, 2.0),
        Step("npm run reload, restart", 1, 1, 2.0),
        Step("reload", 1, 0, None),
    ]


def test_each_check_has_the_steps_of_the_incidents_in_which_it_failed(history: History) -> None:
    for at, incident, action in ((10, "a", "restart"), (30, "b", "restart"), (50, "c", "reload")):
        begun, over = BEGIN + at, BEGIN + at + at / 10
        history.record_remediation(
            remediation(at=over, action=action, since=begun, answered_at=over, incident=incident)
        )
        check = "slow" if incident == "c" else "health"
        record(
            history, result(at, at, at + at / 10, incident=incident),
            result(at, at, at + at / 10, kind="check", key=check, services=["api"], incident=incident),
            result(at, None, at, kind="check", key="well", services=["api"]), took=at / 10,
        )  # fmt: skip

    (chapter,) = chapters(history)

    assert chapter.service is not None
    assert chapter.service.steps == [Step("restart", 2, 2, 1.0), Step("reload", 1, 1, 5.0)]
    assert {check.key: check.steps for check in chapter.checks} == {
        "health": [Step("restart", 2, 2, 1.0)], "slow": [Step("reload", 1, 1, 5.0)], "well": [],
    }  # fmt: skip


def test_heals_are_counted_by_service_and_within_the_window(history: History) -> None:
    for at in (-1, 10, 20, SINCE + 1):
        heal(history, at)
    history.record_remediation(remediation("db", BEGIN + 15, ok=False, origin="monitor"))
    # By hand is no heal.
    history.record_remediation(remediation("db", BEGIN + 16, origin="hand", action="restart by hand"))
    record(history, result(15, None, 15), result(15, 15, None, key="db"), result(15, None, 15, kind="check", key="db"))

    found = {one.service.key: one.service.heals for one in chapters(history) if one.service}

    assert found == {"api": Heals(2, 2, 1), "db": Heals(1, 0, 0)}


# Who stands where.


def test_checks_stand_below_the_services_that_they_may_heal_and_others_apart(history: History) -> None:
    record(
        history,
        result(0, None, 0, key="web"),
        result(0, None, 0, kind="check", key="t.py::b", name="/b", services=["web", "db"]),
        result(0, None, 0, kind="check", key="t.py::a", name="/a", services=["web"]),
        result(0, None, 0, kind="check", key="t.py::c", name="/c"),
    )
    history.record_remediation(remediation("cache", BEGIN))

    found = [(one.service and one.service.key, [check.name for check in one.checks]) for one in chapters(history)]

    assert found == [("cache", []), ("db", ["/b"]), ("web", ["/a", "/b"]), (None, ["/c"])]


def test_a_check_that_was_renamed_is_still_one_and_stands_where_it_was_last(history: History) -> None:
    for at, name, services in ((0, "z", ["api"]), (10, "old", []), (20, "z", ["db"])):
        record(history, result(at, at, None, kind="check", key="t.py::a", name=name, services=services))

    (chapter,) = chapters(history)

    assert chapter.service is not None
    assert (chapter.service.key, chapter.service.runs) == ("db", 0)
    assert [(one.name, one.runs, one.failures) for one in chapter.checks] == [("z", 3, 1)]


def test_a_service_and_a_check_of_one_name_are_two(history: History) -> None:
    record(history, result(0, None, 0), result(0, 0, None, kind="check", services=["api"]))

    (chapter,) = chapters(history)

    assert chapter.service is not None
    assert (chapter.service.passed, chapter.checks[0].passed) == (1, 0)


def test_nothing_is_left_in_the_database_and_it_can_be_asked_again(history: History) -> None:
    record(history, result(0, 1, 2))

    with history.reading() as database:
        first, second = (figures(database, since=SINCE, now=NOW) for _ in range(2))
        left = database.execute("SELECT name FROM sqlite_temp_master").fetchall()

    assert first == second
    assert left == []
