"""The statistics of random histories, compared with a count that does not use SQL."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from past import BEGIN, NOW, SINCE, Round, chapters, heal, no_past, record, result

from remediation.cli.report import document
from remediation.state.history import History


@pytest.fixture
def history(tmp_path: Path) -> History:
    """Return the history of an empty project."""
    return no_past(tmp_path)


def naive(rounds: list[tuple[Round, float]], heals: list[tuple[float, bool]]) -> dict[str, Any]:
    """Count a service's statistics from its rounds (time, longest credit), in order, and heals (time, ok)."""
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
        after = [one for one, _ in seen if one[0] >= moment]
        healed_again = bool(after) and any(moment < later <= after[0][0] for later, _ in heals)
        helped += ok and bool(after) and not healed_again and (after[0][1] is None or after[0][2] is not None)
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
    """Return a value as in JSON, with numbers rounded to the microsecond."""
    return json.loads(json.dumps(value), parse_float=lambda text: round(float(text), 6))


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.soak) for seed in (2, 3, 4))])
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

    (found,) = document(chapters(history), {}, since=SINCE, now=NOW)["services"]

    expected = naive(rounds, heals)
    assert expected["failures"] > 20
    assert rounded({name: found[name] for name in expected}) == rounded(expected)
    assert sum(one["watched"] for one in found["timeline"]) == pytest.approx(expected["watched"])
    assert sum(one["down"] for one in found["timeline"]) == pytest.approx(expected["down"])
