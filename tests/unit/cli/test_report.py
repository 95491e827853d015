"""`auto-heal report`: readable on any terminal, and a program can recompute it from its JSON."""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path

import pytest
from past import BEGIN, NOW, heal, no_past, record, result

from remediation.cli.report import percentage, report
from remediation.state.history import History


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """Return the history of an empty project, whose folder is the working directory."""
    monkeypatch.chdir(tmp_path)
    return no_past(tmp_path)


@pytest.fixture
def recent(history: History, monkeypatch: pytest.MonkeyPatch) -> History:
    """Return a history of the last hour, with a terminal of 80 columns."""
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
    healed = [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment)) for moment in (BEGIN + 8_400, BEGIN + 8_501)]
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
        "",
        "     STEP     HELPED  MEDIAN DOWNTIME",
        "api  restart  1 of 2  -",
        "",
        "LAST HEALS",
        f"{healed[1]}  api: dead",
        "  restart, done",
        f"{healed[0]}  api: dead",
        "  restart, done",
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
        "latency": None, "measurements": [], "incident": None, "heals": {"total": 2, "ok": 2, "helped": 1},
        "steps": [{"action": "restart", "total": 2, "helped": 1, "downtime": None}], "uptime_of_checks": 110 / 120,
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
    assert json.loads(capsys.readouterr().out) == {"since": 5.0, "now": NOW, "services": [], "checks": [], "heals": []}


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
