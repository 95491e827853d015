"""What a heal does not begin."""

from __future__ import annotations

import pytest
from sandbox import Sandbox

from remediation.config.load import load_project
from remediation.healing.hooks import NoHooks
from remediation.healing.incident import Incident
from remediation.healing.remediator import Remediator
from remediation.state.event_log import EventLog
from remediation.state.service_state import Store


def test_a_run_that_is_interrupted_during_a_hook_begins_no_heal(project: Sandbox) -> None:
    class Interrupted(NoHooks):
        def before(self, *_: object) -> None:
            remediator.stop_waiting()

    loaded = load_project(project.root, {})
    store = Store(loaded)
    remediator = Remediator(store, EventLog.of(loaded), record=lambda _: None, origin="check", hooks=Interrupted())

    with pytest.raises(KeyboardInterrupt):
        remediator.heal(Incident(loaded.services["api"], "ill", 0.0, 0))

    assert project.servers() == []
    assert store.recall(loaded.services["api"]).restarts == []
