"""The figures: each rule against a small history worked out by hand, and all of them against a naive count."""

from __future__ import annotations

import io
import json
import math
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from remediation.commands.report import document, percentage, report
from remediation.journal.figures import Chapter, Figures, Heals, Percentiles, figures
from remediation.journal.history import History
from remediation.journal.record import Heal, Kind, Result, Run
from remediation.project.config import load_project

NOW = 1_000_000.0
SINCE = 10_000.0
BEGIN = NOW - SINCE

# How a round went for its subject: seconds after the window's begin, of the first failed attempt, and of the pass.
Round = tuple[float, float | None, float | None]


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """Return the history of an empty project, in whose folder we are."""
    (tmp_path / "auto-heal.toml").write_text('[services.api]\ncommand = "true"\n')
    monkeypatch.chdir(tmp_path)
    return History(load_project(tmp_path, {}))


def result(
    at: float, failed: float | None, passed: float | None, *, kind: Kind = "service", key: str = "api", **more: Any
) -> Result:
    """Return a result whose moments are seconds after the window's begin."""
    failed_at, passed_at = (None if moment is None else BEGIN + moment for moment in (failed, passed))
    name, services = more.pop("name", key), more.pop("services", [])
    return Result(kind, key, name, services, BEGIN + at, failed_at, passed_at, **more)


def record(history: History, *results: Result, interval: float | None = None, took: float = 0.0) -> None:
    """Write a run with these results, which ends so many seconds after the first of them."""
    at = results[0].at
    history.record_run(Run(at, at + took, "monitor" if interval else "check", "", interval, list(results)))


def heal(history: History, at: float, *, ok: bool = True) -> None:
    """Write a heal of api that ended so many seconds after the window's begin."""
    history.record_heal(Heal("api", BEGIN + at, "check", "dead", "restart", ok=ok))


def chapters(history: History, **window: float) -> list[Chapter]:
    """Return the figures of the window."""
    with history.reading() as database:
        return figures(database, **{"since": SINCE, "now": NOW, **window})


def service(
    history: History, rounds: Sequence[Round] = (), *, interval: float | None = None, **window: float
) -> Figures:
    """Write these rounds of api, and return its figures."""
    for one in rounds:
        record(history, result(*one), interval=interval)
    (chapter,) = chapters(history, **window)
    assert chapter.service is not None
    return chapter.service


def well(*moments: float) -> list[Round]:
    """Return rounds that found nothing wrong."""
    return [(at, None, at) for at in moments]


# Uptime.


def test_uptime_of_checks_is_the_share_of_runs_without_a_failure_for_good(history: History) -> None:
    found = service(history, [*well(0, 10, 20), (30, 30, 35), (40, 40, None), (50, None, None)])

    assert (found.runs, found.passed, found.skipped) == (5, 3, 1)
    assert found.uptime_of_checks == 0.6


@pytest.mark.parametrize(
    ("interval", "moments", "watched"),
    [
        (None, [0, 100, 300], 300 + 600),
        (None, [0, 1_000], 600 + 600),
        (None, [9_900], 100),
        (30.0, [0, 30, 60], 60 + 90),
        (30.0, [0, 89, 179.5], 89 + 90 + 90),
        (1000.0, [0, 2_500], 2_500 + 3_000),
        (1000.0, [9_000], 1_000),
    ],
)
def test_a_result_vouches_until_the_next_one_or_now_but_only_for_so_long(
    history: History, interval: float | None, moments: list[float], watched: float
) -> None:
    found = service(history, well(*moments), interval=interval)

    assert found.watched == pytest.approx(watched)
    assert found.down == 0
    assert found.uptime_of_time == 1.0


@pytest.mark.parametrize(
    ("rounds", "down"),
    [
        ([(0, 2, 30)], 28),
        ([(0, 0, None)], 600),
        ([(0, 5, None), (100, None, 100)], 95),
        ([(0, 0, None), (100, 101, None), (200, 200, 260)], 100 + 99 + 60),
        ([(0, 0, 700)], 600),
        ([(0, 0, 150), (100, None, 100)], 100),
        ([(0, 120, 150), (100, None, 100)], 0),
        ([(50, 40, 60), (700, None, 700)], 10),
    ],
    ids=[
        "healed in the run", "until the end of the credit", "until the next one", "through three runs",
        "longer than the credit", "longer than until the next one", "after the credit", "before the credit",
    ],
)  # fmt: skip
def test_within_the_credit_it_is_down_from_the_first_failed_attempt_until_it_passed(
    history: History, rounds: list[Round], down: float
) -> None:
    found = service(history, rounds)

    assert found.down == pytest.approx(down)
    assert found.uptime_of_time == pytest.approx(1 - down / found.watched)


def test_a_skipped_check_neither_vouches_nor_ends_what_its_predecessor_vouches_for(history: History) -> None:
    found = service(history, [(0, None, 0), (100, None, None), (5_000, None, None)])

    assert found.watched == pytest.approx(600)
    assert (found.runs, found.skipped) == (1, 2)


def test_what_was_only_skipped_has_no_uptime(history: History) -> None:
    found = service(history, [(0, None, None)])

    assert (found.uptime_of_checks, found.uptime_of_time, found.skipped) == (None, None, 1)


def test_a_run_vouches_from_its_end_on_however_long_it_took(history: History) -> None:
    record(history, result(0, 0, 25), interval=2.0, took=30)

    (found,) = [chapter.service for chapter in chapters(history) if chapter.service]

    assert (found.watched, found.down) == (36, 25)


def test_only_results_of_the_window_count(history: History) -> None:
    found = service(history, [*well(-1, 100), (SINCE, None, SINCE), (SINCE + 1, SINCE + 1, None)])

    assert (found.runs, found.failures) == (2, 0)
    assert found.watched == pytest.approx(600)


# Incidents.


@pytest.mark.parametrize(
    ("rounds", "failures", "repairs"),
    [
        (well(0, 10), 0, []),
        ([(0, 1, 5)], 1, [4]),
        ([(0, 0, 5), (10, 10, 15)], 2, [5, 5]),
        ([*well(0), (10, 11, None), (20, 20, None), (30, 30, None), (40, None, 41)], 1, [30]),
        ([(0, 0, None), (10, 10, 17), *well(20)], 1, [17]),
        ([(0, 0, None), (10, None, 10), (20, 20, None), (30, None, 33)], 2, [10, 13]),
        ([(0, 0, None), (10, None, None), (20, 20, None), (30, None, 30)], 1, [30]),
        ([(10, 10, 9)], 1, [0]),
    ],
    ids=[
        "none", "closed in its run", "two in two runs", "over several runs", "closed by a run that failed too",
        "two over several runs", "with a skip in between", "a clock that was set back",
    ],
)  # fmt: skip
def test_an_incident_lasts_from_its_first_failure_until_it_passes(
    history: History, rounds: list[Round], failures: int, repairs: list[float]
) -> None:
    found = service(history, rounds)

    assert found.failures == failures
    assert found.down_since is None
    assert found.mttr == (Percentiles(repairs[0], repairs[-1]) if repairs else None)


def test_an_incident_that_is_open_counts_and_has_no_repair_time(history: History) -> None:
    found = service(history, [(0, 0, 5), *well(10), (20, 21, None), (30, 30, None)])

    assert found.failures == 2
    assert found.down_since == BEGIN + 21
    assert found.mttr == Percentiles(5, 5)


def test_an_incident_that_was_open_when_the_window_began_begins_with_its_first_result_in_it(history: History) -> None:
    found = service(history, [(-50, -50, None), (-20, -20, None), (10, 10, None), (40, None, 40)])

    assert found.failures == 1
    assert found.mttr == Percentiles(30, 30)


def test_percentiles_are_by_nearest_rank(history: History) -> None:
    durations = list(range(1, 21))
    random.Random(5).shuffle(durations)

    found = service(history, [(100 * n, 100 * n, 100 * n + length) for n, length in enumerate(durations)])

    assert found.mttr == Percentiles(10, 19)


def test_mean_time_between_failures_is_the_time_it_was_well_by_the_number_of_failures(history: History) -> None:
    assert service(history, well(0)).mtbf is None

    found = service(history, [(100, 100, 150), (200, 200, None)])

    assert found.mtbf == pytest.approx((800 - 50 - 600) / 2)


def test_latency_is_that_of_what_passed(history: History) -> None:
    for n, latency in enumerate([0.3, 0.1, None, 0.2, 0.9]):
        record(history, result(n, None if latency else n, n, latency=latency))

    assert service(history).latency == Percentiles(0.2, 0.9)


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


def test_heals_are_counted_by_service_and_within_the_window(history: History) -> None:
    for at in (-1, 10, 20, SINCE + 1):
        heal(history, at)
    history.record_heal(Heal("db", BEGIN + 15, "hand", "", "restart", ok=False))
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
    history.record_heal(Heal("cache", BEGIN, "hand", "", "restart", ok=True))

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


# The timeline.


def test_the_timeline_says_when_it_was_well_and_down_and_when_nobody_looked(history: History) -> None:
    rounds = [*well(50), (250, 275, None), (300, None, 310), *well(450)]

    timeline = service(history, rounds, since=6_000, now=BEGIN + 6_000).timeline

    assert [(one.watched, one.down) for one in timeline[:11]] == [
        (50, 0), (100, 0), (100, 25), (100, 0), (100, 0), (100, 0), (100, 0), (100, 0), (100, 0), (100, 0), (50, 0)
    ]  # fmt: skip
    assert {(one.watched, one.down) for one in timeline[11:]} == {(0, 0)}
    assert len(timeline) == 60


# All of it, against a count that knows nothing of SQL.


def naive(rounds: list[tuple[Round, float]], heals: list[tuple[float, bool]]) -> dict[str, Any]:
    """Count one service's figures from (round, longest credit) in order of time, and (moment, ok) of its heals."""
    seen = [(one, cap) for one, cap in rounds if one[1:] != (None, None)]
    ends = [at for (at, _, _), _ in seen[1:]] + [SINCE]
    watched, down, repairs, began = 0.0, 0.0, [], None
    for ((at, failed, passed), cap), following in zip(seen, ends, strict=True):
        end = min(at + cap, following)
        watched += end - at
        if failed is not None:
            down += max(0.0, min(end if passed is None else passed, end) - max(at, failed))
            began = failed if began is None else began
        if began is not None and passed is not None:
            repairs.append(max(0.0, passed - began))
            began = None
    failures = len(repairs) + (began is not None)
    helped = 0
    for moment, ok in heals:
        after = [(failed, passed) for (at, failed, passed), _ in seen if at >= moment]
        helped += ok and bool(after) and (after[0][0] is None or after[0][1] is not None)
    return {
        "runs": len(seen), "passed": sum(failed is None for (_, failed, _), _ in seen),
        "skipped": len(rounds) - len(seen), "watched": watched, "down": down, "failures": failures,
        "down_since": None if began is None else BEGIN + began, "mttr": ranked(repairs),
        "mtbf": (watched - down) / failures if failures else None,
        "heals": {"total": len(heals), "ok": sum(ok for _, ok in heals), "helped": helped},
    }  # fmt: skip


def ranked(values: list[float]) -> dict[str, float] | None:
    """Return median and 95th percentile by nearest rank."""
    ordered = sorted(values)
    ranks = {"median": math.ceil(0.5 * len(values)), "p95": math.ceil(0.95 * len(values))}
    return {name: ordered[rank - 1] for name, rank in ranks.items()} if values else None


def rounded(value: Any) -> Any:
    """Return a value as JSON has it, its numbers to the microsecond."""
    return json.loads(json.dumps(value), parse_float=lambda text: round(float(text), 6))


@pytest.mark.parametrize("seed", range(5))
def test_the_figures_of_a_random_history_are_those_of_a_naive_count(history: History, seed: int) -> None:
    dice = random.Random(seed)
    rounds: list[tuple[Round, float]] = []
    for at in sorted(dice.sample(range(1, int(SINCE)), 150)):
        failed = at + dice.random() * 9 if dice.random() < 0.4 else None
        passed = at + dice.random() * 99 if dice.random() < (0.6 if failed else 0.9) else None
        interval = dice.choice([None, 10.0, 40.0])
        rounds.append(((at, failed, passed), 3 * interval if interval else 600.0))
        record(history, result(at, failed, passed), interval=interval)
    heals = [(dice.random() * SINCE, dice.random() < 0.8) for _ in range(40)]
    for moment, ok in heals:
        heal(history, moment, ok=ok)

    (found,) = document(chapters(history), since=SINCE, now=NOW)["services"]

    expected = naive(rounds, heals)
    assert expected["failures"] > 20
    assert rounded({name: found[name] for name in expected}) == rounded(expected)
    assert sum(one["watched"] for one in found["timeline"]) == pytest.approx(expected["watched"])
    assert sum(one["down"] for one in found["timeline"]) == pytest.approx(expected["down"])


# The report.


@pytest.fixture
def recent(history: History, monkeypatch: pytest.MonkeyPatch) -> History:
    """Return a history of the last hour, with a terminal of 80 columns to show it on."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(time, "time", lambda: NOW)
    for at in range(6_400, 10_000, 30):
        sick = 8_200 <= at < 8_500
        record(
            history,
            result(at, at if sick else None, None if sick else at),
            result(at, at if sick else None, None if sick else at, kind="check", key="t.py::a", name="/api/health",
                   services=["api"], latency=None if sick else 0.004),
            result(at, None, at, kind="check", key="t.py::b", name="\x1b[31mred", latency=1.25),
            interval=30.0,
        )  # fmt: skip
    heal(history, 8_400)
    heal(history, 8_501)
    return history


@pytest.mark.usefixtures("recent")
def test_the_report_is_read_in_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    code = report(since=3_600.0, as_json=False)

    output, errors = capsys.readouterr()
    start, end = (time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment)) for moment in (NOW - 3_600, NOW))
    healthy = "▁" * 30 + "█" * 5 + "▁" * 25
    assert (code, errors) == (0, "")
    assert output.splitlines() == [
        f"From {start} to {end} (1h)",
        "",
        "               UPTIME OF TIME WATCHED  UPTIME OF CHECKS            FAILURES",
        "api            91.67% of 1h            91.7% of checks (110/120)   1",
        "  /api/health  91.67% of 1h            91.7% of checks (110/120)   1",
        "(no service)",
        "  \\x1b[31mred  100.00% of 1h           100.0% of checks (120/120)  0",
        "",
        f"api            {healthy}",
        f"  /api/health  {healthy}",
        "(no service)",
        f"  \\x1b[31mred  {'▁' * 60}",
        "               ▁ well  ▄ partly down  █ down  · not watched; each 1m",
        "",
        "               HEALS              MTTR     MTBF  LATENCY",
        "api            2, 2 ok, 1 helped  5m (5m)  55m   -",
        "  /api/health  -                  5m (5m)  55m   4ms (4ms)",
        "(no service)",
        "  \\x1b[31mred  -                  -        -     1.2s (1.2s)",
        "MTTR and latency: median (95th percentile), nearest rank.",
    ]


@pytest.mark.usefixtures("recent")
def test_a_program_can_recompute_what_is_in_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    code = report(since=3_600.0, as_json=True)

    found = json.loads(capsys.readouterr().out)
    (api,), (apart,) = found["services"], found["checks"]
    assert code == 0
    assert (found["since"], found["now"]) == (3_600.0, NOW)
    assert {name: value for name, value in api.items() if name not in ("checks", "timeline")} == {
        "kind": "service", "key": "api", "name": "api", "runs": 120, "passed": 110, "skipped": 0, "watched": 3_600.0,
        "down": 300.0, "failures": 1, "down_since": None, "mttr": {"median": 300.0, "p95": 300.0}, "mtbf": 3_300.0,
        "latency": None, "heals": {"total": 2, "ok": 2, "helped": 1}, "uptime_of_checks": 110 / 120,
        "uptime_of_time": 3_300 / 3_600,
    }  # fmt: skip
    assert api["timeline"][29:36] == [{"watched": 60.0, "down": down} for down in (0, 60, 60, 60, 60, 60, 0)]
    assert [one["latency"] for one in api["checks"]] == [{"median": 0.004, "p95": 0.004}]
    assert (apart["key"], apart["name"], apart["heals"]) == ("t.py::b", "\x1b[31mred", None)


@pytest.mark.usefixtures("recent")
def test_a_narrow_terminal_without_unicode_gets_a_short_timeline_in_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))

    report(since=7_200.0, as_json=False)

    sys.stdout.flush()
    lines = written.getvalue().decode("ascii").splitlines()
    assert f"api            {'.' * 15}{'_' * 7}oo{'_' * 6}" in lines
    assert "               _ well  o partly down  # down  . not watched; each 4m" in lines


def test_a_long_name_is_cut_and_a_timeline_that_may_have_colours_has_them(
    recent: History, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    record(recent, result(9_999, None, 9_999, kind="check", key="t.py::c", name="n" * 99))

    report(since=3_600.0, as_json=False)

    lines = capsys.readouterr().out.splitlines()
    green, red, end = "\033[32m", "\033[31m", "\033[0m"
    assert f"api                 {green}{'▁' * 30}{end}{red}{'█' * 5}{end}{green}{'▁' * 25}{end}" in lines
    assert any(line.startswith(f"  {'n' * 15}…  100.00% of 1.0s ") for line in lines)


def test_a_service_that_is_down_says_for_how_long(recent: History, capsys: pytest.CaptureFixture[str]) -> None:
    record(recent, result(9_980, 9_985, None))

    report(since=100.0, as_json=False)

    assert "1, down for 15s" in capsys.readouterr().out


@pytest.mark.usefixtures("recent")
def test_an_empty_window_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(since=5.0, as_json=False) == 0
    assert capsys.readouterr().out.startswith("Nothing was checked from ")

    assert report(since=5.0, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == {"since": 5.0, "now": NOW, "services": [], "checks": []}


@pytest.mark.parametrize("content", [None, b"garbage" * 999])
def test_a_history_that_cannot_be_read_is_one_sentence(
    history: History, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    if content:
        history.path.parent.mkdir()
        history.path.write_bytes(content)

    assert report(since=60.0, as_json=True) == 1

    output, errors = capsys.readouterr()
    assert output == ""
    assert errors == (
        f"auto-heal: the history {history.path} cannot be read: file is not a database\n" if content
        else "auto-heal: there is no history yet; `auto-heal check` and `auto-heal monitor` write it\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("share", "decimals", "text"),
    [(1.0, 2, "100.00%"), (0.999999, 2, "99.99%"), (39 / 42, 1, "92.9%"), (0.00001, 1, "0.1%"), (0.0, 1, "0.0%")],
)
def test_only_all_of_it_is_100_percent_and_only_nothing_is_0(share: float, decimals: int, text: str) -> None:
    assert percentage(share, decimals) == text
