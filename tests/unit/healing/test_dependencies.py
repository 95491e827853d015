"""Incidents are handed to one thread each, or to this one."""

from __future__ import annotations

import os
from typing import Any, cast

import pytest
from remediations import remediation
from sandbox import Sandbox, free_port

from remediation.config.load import load_project
from remediation.healing import dependencies
from remediation.healing.incident import Incident
from remediation.state.event_log import EventLog
from remediation.state.remediation import Remediation
from remediation.state.service_state import ServiceState, Store
from remediation.system.process import Identity


def test_without_threads_to_be_had_all_are_healed_one_after_the_other(
    project: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.configure('depends_on = ["db"]', more='[services.db]\ncommand = "true"\n')
    loaded, healed = load_project(project.root, {}), list[str]()
    store, event_log = Store(loaded), EventLog.of(loaded)
    incidents = [Incident(service, "ill", 0.0, 0) for service in loaded.services.values()]

    class Remediator:
        def stop_waiting(self) -> None:
            pass

        def heal(self, incident: Incident) -> Remediation:
            healed.append(incident.service.name)
            return remediation(incident.service.name)

    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", refuse)
    outcomes = dependencies.heal_all(
        incidents, loaded.services, remediator=cast("Any", Remediator()), store=store, event_log=event_log
    )

    assert healed == ["db", "api"]
    assert [outcome.service for outcome in outcomes] == ["db", "api"]


def test_a_dependency_that_another_auto_heal_starts_now_is_down_although_its_process_lives(project: Sandbox) -> None:
    project.configure(
        'depends_on = ["db"]',
        more=f'[services.db]\ncommand = ["sleep", "99"]\nurl = "http://127.0.0.1:{free_port()}"\n',
    )
    loaded = load_project(project.root, {})
    store, db = Store(loaded), loaded.services["db"]
    incident = Incident(loaded.services["api"], "ill", 0.0, 0, id="1f")
    with store.lock(db, timeout=1):
        ours = Identity.of(os.getpid())
        assert ours is not None
        store.remember_process(db, ServiceState(), ours)

        started, _ = dependencies.with_dependencies([incident], loaded.services, store)
    ready, _ = dependencies.with_dependencies([incident], loaded.services, store)

    assert started["db"].cause == "api depends on it and it is down"
    assert started["db"].id == "1f"
    assert ready.keys() == {"api"}
