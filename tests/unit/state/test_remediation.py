"""The record of one remediation: what is stored of it, and how several in a run become one."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from remediations import remediation
from sandbox import Sandbox

from remediation.config.load import load_project
from remediation.state.remediation import Remediation, RemediationResult, fold
from remediation.state.service_state import Store

RESULTS = pytest.mark.parametrize("result", RemediationResult)
READY = (RemediationResult.READY, RemediationResult.ADOPTED, RemediationResult.RECOVERED)


# What the disk keeps.


def test_what_is_stored_has_the_names_that_history_and_report_have() -> None:
    found = remediation(
        at=5.0, reason="why", since=1.0, answered_at=4.0, evidence="folder", number=7, rolled_back=True, incident="1f"
    )

    assert list(found.stored().items()) == [
        ("service", "api"), ("at", 5.0), ("origin", "check"), ("cause", "dead"), ("action", "restart"), ("ok", True),
        ("reason", "why"), ("since", 1.0), ("answered_at", 4.0), ("evidence", "folder"), ("incident", "1f"),
    ]  # fmt: skip


@RESULTS
def test_a_result_is_stored_as_whether_the_service_was_ready(result: RemediationResult) -> None:
    found = remediation(result=result)

    assert found.stored()["ok"] is (result in READY)
    assert Remediation.from_stored(found.stored()).ok is found.ok


@pytest.mark.parametrize("ok", [True, False])
@pytest.mark.parametrize("strict", [True, False])
def test_what_is_stored_is_read_back(*, ok: bool, strict: bool) -> None:
    found = remediation(at=5.0, ok=ok, reason="why", since=1.0, answered_at=4.0, evidence="folder")
    stored = found.stored() | {"unknown": 1, "result": "of a newer version"}

    assert Remediation.from_stored(stored if strict else stored | {"ok": int(ok)}, strict=strict) == found


@pytest.mark.parametrize(
    "broken", [{"ok": None}, {"ok": 1}, {"ok": "true"}, {"at": "5"}, {"origin": "x"}, {"since": ""}]
)
def test_what_is_no_remediation_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        Remediation.from_stored(remediation().stored() | broken)


# What was kept before there was one record.


def test_a_state_of_before_is_read(project: Sandbox) -> None:
    found = load_project(project.root, {})
    service, store = found.services["api"], Store(found)
    store.keep(service, store.recall(service))
    path = project.root / ".auto-heal" / "api.json"
    last = {"at": 4.5, "action": "restart", "ok": False, "reason": "exited"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"heals": 3, "last_heal": last}))

    state = store.recall(service)

    assert state.heals == 3
    assert state.last_heal
    assert (state.last_heal.service, state.last_heal.result) == ("api", RemediationResult.FAILED)
    assert {name: state.last_heal.stored()[name] for name in last} == last


def test_a_state_keeps_of_the_last_heal_what_it_kept_before(project: Sandbox) -> None:
    found = load_project(project.root, {})
    service, store = found.services["api"], Store(found)
    state = store.recall(service)
    state.last_heal = remediation(at=4.5, result=RemediationResult.ADOPTED)
    store.keep(service, state)

    kept = json.loads((project.root / ".auto-heal" / "api.json").read_text())["last_heal"]

    assert list(kept.items()) == [("at", 4.5), ("action", "restart"), ("ok", True), ("reason", "")]


# How long a service was down.


@pytest.mark.parametrize(
    ("since", "answered_at", "downtime"),
    [(1.0, 3.5, 2.5), (None, 3.5, None), (1.0, None, None), (None, None, None), (5.0, 1.0, 0.0)],
    ids=["down", "by hand", "still down", "nothing known", "a clock that was set back"],
)
def test_the_downtime_is_from_the_first_failed_attempt_to_the_answer(
    since: float | None, answered_at: float | None, downtime: float | None
) -> None:
    assert remediation(since=since, answered_at=answered_at).downtime == downtime


# All that a run did for a service, as one.


def test_one_remediation_is_its_own_fold() -> None:
    one = remediation(at=5.0, since=1.0, answered_at=5.0, evidence="folder")

    assert fold([one], is_sick=False) == one


def test_a_fold_tells_of_all_actions_and_of_the_whole_incident() -> None:
    found = fold(
        [
            remediation(at=3.0, ok=False, cause="no answer", reason="exited", since=1.0, evidence="first"),
            remediation(at=4.0, result=RemediationResult.HINDERED, action="", reason="no port", since=1.0),
            remediation(
                at=9.0, cause="HTTP 500", action="rollback by x", since=2.0, answered_at=9.0, evidence="second"
            ),
        ],
        is_sick=False,
    )

    assert (found.cause, found.result) == ("no answer", RemediationResult.READY)
    assert found.action == "restart in vain (exited), then rollback by x"
    assert found.evidence == "first, second"
    assert found.downtime == 8.0


def test_a_fold_without_any_action_tells_why() -> None:
    refused = remediation(result=RemediationResult.REFUSED, action="", reason="stopped by hand")

    assert fold([refused], is_sick=True).action == "none: stopped by hand"


def test_a_service_that_is_still_sick_has_no_downtime_yet() -> None:
    assert fold([remediation(since=1.0, answered_at=5.0)], is_sick=True).downtime is None
