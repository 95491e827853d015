"""One rollback for several services or several healers: its command runs once."""

from __future__ import annotations

import signal

import pytest
from rolling import AUTO_HEAL, BACK, RUN, Deployed
from sandbox import DEADLINE, Sandbox, free_port, wait_for

from remediation.config.load import load_project
from remediation.healing import context
from remediation.healing.incident import Incident
from remediation.healing.remediator import Remediator
from remediation.state.event_log import EventLog
from remediation.state.service_state import Store
from remediation.system.process import Identity


@pytest.fixture
def deployed(project: Sandbox) -> Deployed:
    """A project whose service runs version 2."""
    return Deployed(project)


# Several services.


@pytest.fixture
def both(deployed: Deployed) -> Deployed:
    """A project whose web depends on api and shares its rollback; both are up."""
    url = f"http://127.0.0.1:{free_port()}"
    web = [
        "[services.web]", deployed.command, f'url = "{url}"', "ready = '/'", 'depends_on = ["api"]',
        'rollback = { run = ["sh", "rollback.sh"] }', deployed.table("starts"),
    ]  # fmt: skip
    deployed.rolls_back(more="\n".join(web))
    assert deployed.project.auto_heal("start").code == 0
    return deployed


def test_services_that_share_it_are_rolled_back_once_and_restarted_in_their_order(both: Deployed) -> None:
    outcomes = both.end(both.begin("roll_back", "web", "api"))

    assert [(outcome["service"], outcome["ok"], outcome["action"]) for outcome in outcomes] == [
        ("web", True, f"{RUN}, restart"),
        ("api", True, f"{RUN}, restart"),
    ]
    assert len(both.runs) == 1
    assert both.starts == ["2", "2", "1", "1"]
    assert "on the way" in both.lines("web-server.log")
    assert "Rolling web, api back by `sh rollback.sh`" in both.project.log
    told = both.project.log
    assert told.index("api restarted") < told.index("web restarted")


def test_one_command_may_restart_them_all_by_auto_heal(both: Deployed) -> None:
    both.project.write("rollback.sh", f"echo $$ >> runs\n{BACK}\n{AUTO_HEAL} restart\n")

    outcomes = both.end(both.begin("roll_back", "api", "web"))

    assert [(outcome["ok"], outcome["action"]) for outcome in outcomes] == [(True, RUN)] * 2
    assert both.starts == ["2", "2", "1", "1"]


def test_one_that_was_not_rolled_back_with_the_other_is_restarted_without_going_back_twice(both: Deployed) -> None:
    before = both.project.state["heals"]
    assert both.roll_back("api")["ok"]

    outcomes = both.end(both.begin("roll_back", f"api={before}", "web"))

    assert [outcome["rolled_back"] for outcome in outcomes] == [True, True]
    assert outcomes[1]["action"] == f"{RUN} (by another auto-heal), restart"
    assert len(both.runs) == 1
    assert both.starts == ["2", "2", "1", "1"]


def test_one_stopped_by_hand_is_left_out(both: Deployed) -> None:
    assert both.project.auto_heal("stop", "api").code == 0

    outcomes = both.end(both.begin("roll_back", "api", "web"))

    assert [outcome["refused"] for outcome in outcomes] == [True, False]
    assert both.starts == ["2", "2", "1"]


def test_a_lock_that_is_not_to_be_had_refuses_all(both: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "longest", lambda _: 0.0)
    found = load_project(both.project.root, {})
    store = Store(found)
    remediator = Remediator(store, EventLog.of(found), record=lambda _: None, origin="check")
    incidents = [Incident(service, "ill", 0.0, seen=1) for service in found.services.values()]

    with store.lock(found.services["web"], timeout=DEADLINE):
        outcomes = remediator.roll_back(incidents)

    assert [(outcome.result.refused, outcome.rolled_back) for outcome in outcomes] == [(True, False)] * 2
    assert all("web: another auto-heal has been at work on it" in outcome.reason for outcome in outcomes)
    assert both.project.log.count("another auto-heal has been at work") == 1
    assert both.runs == []
    assert not store.is_locked(found.services["api"])


# Several healers.


def test_two_at_once_run_it_once(deployed: Deployed) -> None:
    seen = deployed.project.state["heals"]

    processes = [deployed.begin("roll_back", f"api={seen}") for _ in range(2)]
    outcomes = [deployed.end(process)[0] for process in processes]

    assert [(outcome["ok"], outcome["rolled_back"]) for outcome in outcomes] == [(True, True)] * 2
    actions = sorted(outcome["action"] for outcome in outcomes)
    assert actions == [f"{RUN}, restart", f"{RUN}, restart by another auto-heal"]
    assert len(deployed.runs) == 1
    assert deployed.starts == ["2", "1"]


def test_a_heal_meanwhile_waits_and_finds_it_healed(deployed: Deployed) -> None:
    deployed.rolls_back("touch begun", "until test -e go; do sleep 0.02; done", BACK)
    seen = deployed.project.state["heals"]
    rolling = deployed.begin("roll_back", "api")
    wait_for((deployed.project.root / "begun").exists)
    healing = deployed.begin("heal", f"api={seen}")
    wait_for((deployed.project.root / "heal.begins").exists)

    (deployed.project.root / "go").touch()
    (rolled,), (healed,) = deployed.end(rolling), deployed.end(healing)

    assert rolled["action"] == f"{RUN}, restart"
    assert (healed["ok"], healed["rolled_back"]) == (True, True)
    assert healed["action"] == f"{RUN}, restart by another auto-heal"
    assert deployed.starts == ["2", "1"]


@pytest.mark.parametrize("act", ["heal", "roll_back", "restart"])
@pytest.mark.parametrize("step", ["sleep 600 & echo $! >> runs; wait", f"{AUTO_HEAL} stop api; sleep 600"])
def test_what_a_killed_healer_left_is_ended_before_the_next(deployed: Deployed, step: str, act: str) -> None:
    deployed.rolls_back("touch begun", step, options="timeout = 600")
    rolling = deployed.begin("roll_back", "api")
    wait_for((deployed.project.root / "begun").exists)
    if "stop" in step:
        wait_for(lambda: deployed.project.state["stopped_by_hand"])
    wait_for(lambda: deployed.project.state["command"])
    rolling.kill()
    rolling.communicate()
    (script, *_) = deployed.runs
    assert Identity.of(int(script))
    deployed.rolls_back()

    if act == "restart":
        assert deployed.project.auto_heal("restart").code == 0
    else:
        deployed.end(deployed.begin(act, "api"))

    assert Identity.of(int(script)) is None
    assert not [pid for pid in deployed.runs if Identity.of(int(pid))]
    if "stop" not in step or act == "restart":
        assert deployed.version == ("1" if act == "roll_back" else "2")


def test_ctrl_c_ends_the_command_and_frees_the_lock(deployed: Deployed) -> None:
    deployed.rolls_back("touch begun", "sleep 600", options="timeout = 600")
    rolling = deployed.begin("roll_back", "api")
    wait_for((deployed.project.root / "begun").exists)

    rolling.send_signal(signal.SIGINT)
    rolling.communicate(timeout=DEADLINE)

    assert Identity.of(int(deployed.runs[0])) is None
    assert deployed.project.auto_heal("restart").code == 0
    assert deployed.version == "2"
