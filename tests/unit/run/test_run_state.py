"""What follows from the rounds of a run so far: its verdict, its incidents, its harm, and its end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from remediations import remediation

from remediation.checks.results import Attempt, CheckResult, RoundFindings
from remediation.config.load import load_project
from remediation.deployment.baseline import Baseline, BaselineCheck
from remediation.deployment.comparison import ChangeKind
from remediation.healing.incident import Incident
from remediation.run.rounds import Part, Round
from remediation.run.run_state import RunState, harmed
from remediation.state.records import CheckOutcome
from remediation.state.remediation import Remediation, RemediationResult

LETTERS = {"p": CheckOutcome.PASSED, "f": CheckOutcome.FAILED, "s": CheckOutcome.SKIPPED}


def rounds(history: str, healed: str) -> list[Round]:
    """Return the rounds of a check: a letter for each result, and the services that were healed before it."""
    made = []
    for letter, names in zip(history, f" {healed}", strict=True):
        found = [CheckResult("t.py::a", "/a", [], 0.0, LETTERS[letter])] if letter != "-" else []
        made.append(Round(1, [Part(Path(), RoundFindings([], found))], tuple(names.strip())))
    return made


@pytest.mark.parametrize(
    ("history", "healed", "by"),
    [
        ("pf", "x", ["x"]), ("ff", "x", []), ("fp", "x", []), ("pp", "x", []), ("sf", "x", []), ("-f", "x", []),
        ("pff", "xy", ["x"]), ("pfp", "xy", []), ("fpf", "xy", ["y"]), ("psf", "xy", ["x", "y"]),
        ("p-f", "xy", ["x", "y"]), ("pff", "xx", ["x"]), ("ppf", "xy", ["y"]), ("pf", " ", []),
    ],
)  # fmt: skip
def test_the_heals_since_it_passed_last_broke_it(history: str, healed: str, by: list[str]) -> None:
    found = harmed(rounds(history, healed))

    assert found == ({"t.py::a": tuple(by)} if by else {})


def test_a_version_is_broken_by_no_heal() -> None:
    found = [
        CheckResult("auto-heal::api version", "api version", [], 0.0, how)
        for how in (CheckOutcome.PASSED, CheckOutcome.FAILED)
    ]

    assert harmed([Round(1, [Part(Path(), RoundFindings([], [one]))], ("api",)) for one in found]) == {}


CONFIGURATION = """
[services.api]
command = "serve"
depends_on = ["db"]
rollback = "./back.sh"

[services.db]
command = "serve"
ladder = ["restart", { run = ["clean"] }]
rollback = "./back.sh"

[services.web]
command = "serve"
"""
GOOD = '<testsuites><testsuite><testcase classname="t" name="a"/></testsuite></testsuites>'


@pytest.fixture
def run(tmp_path: Path) -> RunState:
    """Return a run without rounds. Its api depends on db, db has two steps, and web has no rollback."""
    (tmp_path / "auto-heal.toml").write_text(CONFIGURATION)
    return RunState(load_project(tmp_path, {}))


def failure(*services: str, name: str = "a", final: bool = True, number: int = 0, **values: Any) -> Attempt:
    """Return a failed attempt of a check that heals these services; `values` replace its other fields."""
    known = {"error": False, "message": "ill", "type": "E", "text": "E ill", "started": 10.0}
    seen = values.pop("seen", 0)
    return Attempt(
        f"t.py::{name}", f"/{name}", **{**known, **values}, final=final, number=number,
        heals=dict.fromkeys(services, seen),
    )  # fmt: skip


def check(outcome: CheckOutcome, *services: str, name: str = "a", nodeid: str = "") -> CheckResult:
    """Return the result of a check of these services."""
    return CheckResult(nodeid or f"t.py::{name}", f"/{name}", list(services), 0.0, outcome, passed_at=20.0)


def a_round(*found: Attempt | CheckResult, healed: Iterable[str] = ()) -> Round:
    """Return a round with these attempts and results."""
    attempts = [each for each in found if isinstance(each, Attempt)]
    results = [each for each in found if isinstance(each, CheckResult)]
    return Round(1, [Part(Path(), RoundFindings(attempts, results))], tuple(healed))


def did(service: str, *results: RemediationResult) -> list[Remediation]:
    """Return remediations of a service that ended so."""
    return [remediation(service, result=result, reason="no answer") for result in results]


def names(incidents: Iterable[Incident]) -> list[str]:
    """Return the services of incidents."""
    return [incident.service.name for incident in incidents]


FAILED, PASSED, SKIPPED = CheckOutcome.FAILED, CheckOutcome.PASSED, CheckOutcome.SKIPPED


# What is healed.


def test_a_service_that_failed_for_good_in_the_last_round_is_healed(run: RunState) -> None:
    last = a_round(failure("api"), failure("db", name="b", final=False))
    run.rounds = [a_round(failure("web")), a_round(failure("db")), last]

    assert names(run.to_heal()) == ["api"]


def test_a_service_is_healed_while_a_step_of_its_ladder_is_left(run: RunState) -> None:
    run.rounds = [a_round(failure("api", "db"))]
    run.add([*did("api", RemediationResult.FAILED), *did("db", RemediationResult.FAILED)])

    (incident,) = run.to_heal()

    assert (incident.service.name, incident.steps_used) == ("db", 1)


def test_a_service_for_which_nothing_more_may_be_done_is_not_healed(run: RunState) -> None:
    run.rounds = [a_round(failure("db"))]
    run.add(did("db", RemediationResult.SKIPPED, RemediationResult.REFUSED))

    assert run.to_heal() == []


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        (did("db", RemediationResult.FAILED), True),
        (did("db", RemediationResult.FAILED, RemediationResult.FAILED), False),
        (did("db", RemediationResult.SKIPPED), False),
        (did("api", RemediationResult.FAILED), False),
        ([*did("api", RemediationResult.FAILED), *did("db", RemediationResult.FAILED)], True),
    ],
    ids=["one of two steps", "both", "none was used", "its only one", "another service has one"],
)
def test_there_is_a_next_step_after_one_that_a_service_used_if_its_ladder_has_it(
    run: RunState, done: list[Remediation], *, expected: bool
) -> None:
    run.add(done)

    assert run.has_next_step(done) is expected


def test_each_step_and_an_adoption_of_each_service_is_a_round_of_healing(run: RunState) -> None:
    run.rounds = [a_round(failure("api"))]
    run.add(did("db", RemediationResult.RECOVERED))

    assert run.most_heals == (1 + 1) + (2 + 1)


# What is rolled back.


def test_services_with_a_rollback_are_rolled_back_after_their_dependencies(run: RunState) -> None:
    run.rounds = [a_round(failure("web", "api", "db"))]

    incidents = run.to_roll_back()

    assert names(incidents) == ["db", "api"]
    assert [incident.steps_used for incident in incidents] == [0, 0]


def test_no_service_is_rolled_back_twice(run: RunState) -> None:
    run.rounds = [a_round(failure("api", "db"))]
    run.add([remediation("db", rolled_back=True), remediation("db"), remediation("api")])

    assert names(run.to_roll_back()) == ["api"]


def test_what_was_broken_before_the_deployment_is_rolled_back_only_on_demand(run: RunState) -> None:
    run.baseline = Baseline(0.0, {"t.py::a": BaselineCheck("/a", FAILED), "t.py::b": BaselineCheck("/b", PASSED)})
    run.rounds = [a_round(failure("api"), failure("db", name="b"))]

    assert names(run.to_roll_back()) == ["db"]
    assert names(run.to_roll_back(all_sick=True)) == ["db", "api"]


# What an incident knows.


def test_an_incident_has_the_cause_and_the_moment_of_the_first_failure_of_its_service(run: RunState) -> None:
    other, first = (
        failure("db", message="other", started=1.0),
        failure("api", message="first", started=5.0, final=False),
    )
    run.rounds = [a_round(other, first, failure("api", message="then", number=1)), a_round(failure("api"))]

    (incident,) = run.to_heal()

    assert (incident.cause, incident.since) == ("first", 5.0)


def test_an_incident_that_an_earlier_run_left_open_began_then(run: RunState) -> None:
    run.rounds = [a_round(failure("api", "web"))]
    folder = run.project.state_folder
    folder.mkdir()
    (folder / ".incidents").write_text(json.dumps({"api": 3.0, "web": 30.0}))

    before = [incident.since for incident in run.to_heal()]
    (folder / ".incidents").write_text(json.dumps({"api": 1.0}))

    assert before == [3.0, 10.0]
    assert [incident.since for incident in run.to_heal()] == before


@pytest.mark.parametrize(("seen", "numbers", "expected"), [(7, (5, 6), 7), (5, (7, 6), 7), (4, (), 4)])
def test_an_incident_has_seen_the_heals_before_its_attempt_and_those_of_this_run(
    run: RunState, seen: int, numbers: tuple[int, ...], expected: int
) -> None:
    run.rounds = [a_round(failure("db", seen=seen))]
    run.add(remediation("db", number=number, result=RemediationResult.SKIPPED) for number in numbers)

    assert [incident.seen for incident in run.to_heal()] == [expected]


@pytest.mark.parametrize(
    ("results", "adopted"),
    [
        ([RemediationResult.ADOPTED, RemediationResult.FAILED], True),
        ([RemediationResult.FAILED], False),
        ([], False),
    ],
)
def test_an_incident_knows_whether_its_process_was_found_again(
    run: RunState, results: list[RemediationResult], *, adopted: bool
) -> None:
    run.rounds = [a_round(failure("db"))]
    run.add(did("db", *results))

    assert [incident.adopted for incident in run.to_heal()] == [adopted]


def test_an_incident_has_the_text_of_each_failed_attempt_of_its_service(run: RunState) -> None:
    run.rounds = [
        a_round(failure("db", text="of another"), failure("api", text="E 503", final=False)),
        a_round(failure("api", "db", number=1, text="E 502")),
    ]
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(10.0))

    story = next(incident.story for incident in run.to_heal() if incident.service.name == "api")

    assert story == (f"{moment}, round 1, attempt 1: t.py::a\nE 503\n\n{moment}, round 2, attempt 2: t.py::a\nE 502\n")


# What a run concludes.


@pytest.mark.parametrize(("texts", "complete"), [([GOOD, GOOD], True), ([GOOD, None], False), ([GOOD, "<te"], False)])
def test_a_round_is_complete_if_each_part_has_a_whole_report(
    run: RunState, tmp_path: Path, texts: list[str | None], *, complete: bool
) -> None:
    parts = []
    for number, text in enumerate(texts):
        parts.append(Part(tmp_path / f"{number}.xml", RoundFindings([], [])))
        if text:
            parts[-1].xml.write_text(text)
    run.rounds = [Round(0, parts)]

    assert run.is_complete is complete


@pytest.mark.parametrize(
    ("done", "may_roll_back", "verdict"),
    [
        ([], True, "healthy"),
        ([remediation(action="")], True, "healthy"),
        ([remediation(action=""), remediation("db")], True, "healed"),
        ([remediation(rolled_back=True)], False, "healed"),
        ([remediation(rolled_back=True), remediation("db")], True, "rolled-back"),
    ],
)
def test_the_verdict_says_what_was_done(
    run: RunState, done: list[Remediation], verdict: str, *, may_roll_back: bool
) -> None:
    run.rollback = may_roll_back
    run.add(done)

    assert run.verdict_if_passed == verdict


def test_a_run_rolls_nothing_back_unless_it_is_told_so(run: RunState) -> None:
    assert run.rollback is False


@pytest.mark.parametrize(
    ("results", "unproven"),
    [
        ([check(SKIPPED, "api"), check(PASSED, "db")], "api"),
        ([check(SKIPPED, *"hgfedcba"), check(FAILED, "i")], "a, b, c, d, e, f, g, h"),
        ([check(SKIPPED, "api"), check(PASSED, "api")], None),
        ([check(SKIPPED), check(SKIPPED)], "api, db, web"),
        ([check(SKIPPED), check(PASSED)], None),
        ([check(PASSED)], None),
        ([], None),
    ],
)
def test_a_service_all_of_whose_checks_were_skipped_is_unproven(
    run: RunState, results: list[CheckResult], unproven: str | None
) -> None:
    run.rounds = [a_round(*results)]

    assert run.unproven() == unproven


def test_a_service_gives_up_once_in_a_run(run: RunState) -> None:
    gave_up = RemediationResult.GAVE_UP
    run.add([*did("web", RemediationResult.REFUSED), *did("api", gave_up, gave_up), *did("db", gave_up)])

    assert run.gave_up == ["api", "db"]


def test_only_what_this_run_did_is_counted(run: RunState) -> None:
    ours = [remediation("api", number=3), remediation("db", number=1)]
    run.add([ours[0], remediation("api"), ours[1]])

    assert run.counted == ours


def test_the_remediations_of_a_service_are_one_and_a_sick_one_has_not_answered(run: RunState) -> None:
    run.rounds = [
        a_round(
            failure("api"), check(FAILED, "api"), check(PASSED, "db", name="b"),
            # A check may have any name, that of a service, too.
            check(FAILED, "api", nodeid="db"),
        )
    ]  # fmt: skip
    run.add([remediation(action="restart", answered_at=5.0), remediation(action="clean", answered_at=6.0)])
    run.add([remediation("db", answered_at=7.0)])

    folded = run.folded()

    assert [(done.service, done.action, done.answered_at) for done in folded] == [
        ("api", "restart, then clean", None), ("db", "restart", 7.0),
    ]  # fmt: skip


# What changed.


def test_the_results_are_those_of_all_rounds(run: RunState) -> None:
    run.rounds = [a_round(failure("api"), check(FAILED, "api")), a_round(check(PASSED, "api"), healed=["api"])]

    assert [(result.kind, result.key, result.outcome) for result in run.results()] == [
        ("check", "t.py::a", CheckOutcome.HEALED), ("service", "api", CheckOutcome.HEALED),
    ]  # fmt: skip


def test_a_check_that_the_last_heal_broke_is_told_once(run: RunState) -> None:
    run.baseline = Baseline(0.0, {"t.py::b": BaselineCheck("/b", PASSED)})
    sick = [check(FAILED), check(FAILED, name="b")]
    run.rounds = [a_round(check(PASSED), sick[1]), a_round(*sick, healed=["api"])]

    first = run.newly_harmed()
    run.rounds.append(a_round(*sick, healed=["db"]))

    assert [(change.nodeid, change.kind) for change in first] == [("t.py::a", ChangeKind.BROKEN_BY_HEAL)]
    assert run.newly_harmed() == []
    assert [change.kind for change in run.changes()] == [ChangeKind.BROKEN_BY_HEAL, ChangeKind.BROKEN_BY_DEPLOYMENT]


# What is published.


def test_a_rollback_of_this_run_that_failed_is_a_failure(run: RunState) -> None:
    run.rounds, run.rollback = [a_round(check(PASSED, "api"))], True
    run.add([remediation("db"), remediation(rollback_problem="exited with status 3")])

    assert run.publication([]).failures == {"api rollback": "exited with status 3"}


def test_a_rollback_of_another_run_that_failed_is_no_failure(run: RunState) -> None:
    run.rounds = [a_round(check(PASSED, "api"))]
    run.add([remediation(rollback_problem="exited with status 3")])

    assert run.publication([]).failures == {}


@pytest.mark.parametrize(
    ("checked", "named"), [(["api"], ["api"]), (["api", "web"], ["api", "web"]), (["api", "db", "web"], [])]
)
def test_the_checked_services_are_named_unless_they_are_all(
    run: RunState, checked: list[str], named: list[str]
) -> None:
    run.rounds = [a_round(*(check(PASSED, service, name=f"{service}{n}") for service in checked for n in range(2)))]

    assert run.publication([]).services == named


def test_the_published_report_has_what_the_run_found(run: RunState) -> None:
    run.rounds, run.prefix = [a_round(check(PASSED, "api"))], "deployed"
    run.add([remediation(), remediation()])

    found = run.publication(["a line"])

    assert (found.rounds, found.lines, found.prefix) == (run.rounds, ["a line"], "deployed")
    assert [done.action for done in found.remediations] == ["restart, then restart"]


@pytest.mark.parametrize(
    ("actions", "suffix"),
    [([], ""), (["back", "back"], ", also after back"), (["back", "undo"], ", also after back; undo")],
)
def test_a_failed_check_has_a_note_of_its_change_and_of_the_rollbacks(
    run: RunState, actions: list[str], suffix: str
) -> None:
    run.baseline = Baseline(0.0, {"t.py::a": BaselineCheck("/a", PASSED), "t.py::b": BaselineCheck("/b", FAILED)})
    run.rounds = [a_round(check(FAILED), check(PASSED, name="b"))]
    run.add([remediation(action="restart"), *(remediation(action=action, rolled_back=True) for action in actions)])

    assert run.publication([]).notes == {"t.py::a": f"broken by the deployment{suffix}"}


def test_a_check_in_the_report_has_the_name_that_people_know_if_it_ever_failed(run: RunState) -> None:
    run.prefix = "deployed"
    run.rounds = [a_round(failure("api")), a_round(check(PASSED))]

    addresses = [("deployed.t", "b"), ("deployed.t", "a"), ("t", "a"), ("deployed.t", "a")]

    assert run.names(addresses) == ["b", "/a", "a"]
