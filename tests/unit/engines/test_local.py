"""What the engine for our own processes keeps of a service when it ends it."""

from __future__ import annotations

from sandbox import DEADLINE, Sandbox

from remediation.config.load import load_project
from remediation.engines.local import LocalEngine
from remediation.healing.actions import Actions
from remediation.state.event_log import EventLog
from remediation.state.service_state import ServiceState, Store
from remediation.system.process import Identity


def test_a_process_that_was_ended_is_forgotten(project: Sandbox) -> None:
    loaded = load_project(project.root, {})
    service, store = loaded.services["api"], Store(loaded)
    identity = Identity.of(project.stranger("sleep", "600").pid)
    assert identity is not None
    state = ServiceState()
    with store.lock(service, timeout=DEADLINE):
        store.remember_process(service, state, identity)
        operation = Actions(store, EventLog.of(loaded)).operation(service, state)

        LocalEngine(service).stop(operation)

    assert not identity.alive
    assert operation.dead == {identity}
    assert store.recall(service).identity is None
    assert not service.pid_file.exists()
