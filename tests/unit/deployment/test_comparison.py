"""Each check after a deployment is compared with the same check before it, in a table of all cases."""

from __future__ import annotations

import pytest
from msgspec import structs
from outcomes import outcome_of

from remediation.config.model import LatencyLimits
from remediation.deployment.baseline import Baseline, BaselineCheck
from remediation.deployment.comparison import Change, ChangeKind, Slowdown, changes, slowdown
from remediation.state.records import CheckOutcome, Result

LIMITS = LatencyLimits(calls=5, factor=2, margin=0.05)
NODE = "t.py::a"
GONE = "passed before, did not run now"
BROKEN = "broken by the deployment"
STILL = "still broken, as before the deployment"
NEW = "fails, was not checked before the deployment"
REPAIRED = "repaired, it failed before the deployment"


def now(outcome: str, latency: float | None = None) -> Result:
    """Return a check after the deployment."""
    failed_at = 1.0 if outcome in ("failed", "healed") else None
    passed_at = 2.0 if outcome in ("passed", "healed") else None
    return Result(
        "check", NODE, "/a", ["api"], 0.0, outcome_of(failed_at, passed_at), failed_at, passed_at, latency=latency
    )


def compared(
    before: BaselineCheck | None, after: Result, harmed: dict[str, tuple[str, ...]] | None = None
) -> list[Change]:
    """Return the changes between two states of a check."""
    baseline = Baseline(0.0, {NODE: before} if before else {})
    return changes([after], baseline=baseline, limits=LIMITS, harmed=harmed or {})


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("passed", "passed", ""), ("passed", "failed", BROKEN), ("passed", "healed", ""),
        ("passed", "skipped", GONE),
        ("failed", "passed", REPAIRED), ("failed", "failed", STILL),
        ("failed", "healed", REPAIRED), ("failed", "skipped", ""),
        ("skipped", "failed", NEW), ("skipped", "passed", ""), ("new", "failed", NEW), ("new", "passed", ""),
    ],
)  # fmt: skip
def test_a_check_is_compared_with_itself(before: str, after: str, words: str) -> None:
    known = None if before == "new" else BaselineCheck("/a", CheckOutcome(before))

    found = compared(known, now(after))

    assert [str(change.what) for change in found] == [words][: bool(words)]


@pytest.mark.parametrize(
    ("before", "after", "is_slower"),
    [
        (0.1, 0.2, True), (0.1, 0.199, False), (0.1, 10.0, True), (0.2, 0.1, False),
        # Twice of very little is noise.
        (0.001, 0.049, False), (0.001, 0.0511, True), (0.0, 0.06, True), (None, 9.0, False), (0.1, None, False),
    ],
)  # fmt: skip
def test_slower_is_by_a_factor_and_a_margin(before: float | None, after: float | None, is_slower: bool) -> None:
    found = compared(BaselineCheck("/a", CheckOutcome.PASSED, before), now("passed", after))

    assert [change.kind for change in found] == [ChangeKind.SLOWER][:is_slower]


@pytest.mark.parametrize("kind", ChangeKind)
def test_a_change_is_a_failure_if_the_check_fails(kind: ChangeKind) -> None:
    passes = {ChangeKind.REPAIRED, ChangeKind.SLOWER, ChangeKind.NOT_RUN}

    assert kind.is_failure == (kind not in passes)


@pytest.mark.parametrize(
    ("kind", "sign"), [(ChangeKind.REPAIRED, "🎉"), (ChangeKind.NOT_RUN, "⚠️"), (ChangeKind.STILL_BROKEN, "❌")]
)
def test_the_log_shows_how_good_a_change_is(kind: ChangeKind, sign: str) -> None:
    assert str(Change(NODE, "/a", kind).message).startswith(sign)


def test_a_margin_is_enough_in_itself_and_counted_from_the_latency_before() -> None:
    limits = LatencyLimits(calls=5, factor=1, margin=0.5)

    assert slowdown(1.5, 1.0, limits) == Slowdown(1.5, 1.0)
    assert slowdown(1.4, 1.0, limits) is None


def test_a_latency_is_told_in_milliseconds() -> None:
    assert slowdown(1.00049, 0.12349, LIMITS) == Slowdown(1.0, 0.123)


def test_only_what_passed_before_can_be_slower() -> None:
    (change,) = compared(BaselineCheck("/a", CheckOutcome.FAILED, 0.1), now("passed", 9.0))

    assert change.kind is ChangeKind.REPAIRED
    assert compared(BaselineCheck("/a", CheckOutcome.SKIPPED, 0.1), now("passed", 9.0)) == []


def test_what_fails_for_being_slower_alone_is_not_called_broken() -> None:
    slow = structs.replace(now("failed"), message="takes 0.21s, before 0.05s", only_slower=True)

    (change,) = compared(BaselineCheck("/a", CheckOutcome.PASSED), slow)

    assert str(change.what) == "slower than before the deployment"
    assert change.kind is ChangeKind.TOO_SLOW
    assert change.kind.is_failure


def test_what_fails_with_the_words_of_a_slower_one_is_called_broken() -> None:
    ill = structs.replace(now("failed"), message="takes 0.21s, before 0.05s")

    (change,) = compared(BaselineCheck("/a", CheckOutcome.PASSED), ill)

    assert change.kind is ChangeKind.BROKEN_BY_DEPLOYMENT


def test_a_slower_one_says_by_how_much() -> None:
    [change] = compared(BaselineCheck("/a", CheckOutcome.PASSED, 0.05), now("passed", 0.2104))

    assert str(change.what) == "slower: 0.21s, before 0.05s"
    assert change.message.render("ru", named=True) == "⚠️ /a: медленнее: 0.21 с, прежде 0.05 с"


def test_what_a_heal_broke_was_not_broken_by_the_deployment() -> None:
    [change] = compared(BaselineCheck("/a", CheckOutcome.PASSED), now("failed"), {NODE: ("api", "db")})

    assert str(change.message) == "❌ /a: broken by the heal of api, db"
    assert change.kind.is_failure


def test_without_a_baseline_only_the_harm_of_heals_is_told() -> None:
    harmed = {NODE: ("api",)}

    assert changes([now("failed")], baseline=None, limits=LIMITS, harmed={}) == []
    assert len(changes([now("failed")], baseline=None, limits=LIMITS, harmed=harmed)) == 1


def test_what_passed_before_and_is_gone_is_told() -> None:
    before = Baseline(
        0.0, {NODE: BaselineCheck("/a", CheckOutcome.PASSED), "t.py::b": BaselineCheck("/b", CheckOutcome.FAILED)}
    )

    [change] = changes([], baseline=before, limits=LIMITS, harmed={})

    assert (change.nodeid, str(change.message)) == (NODE, "⚠️ /a: passed before, did not run now")
    assert change.kind is ChangeKind.NOT_RUN


def test_services_are_not_compared() -> None:
    service = Result("service", "api", "api", ["api"], 0.0, CheckOutcome.FAILED, 1.0)

    assert (
        changes(
            [service],
            baseline=Baseline(0.0, {"api": BaselineCheck("x", CheckOutcome.PASSED)}),
            limits=LIMITS,
            harmed={},
        )
        == []
    )
