"""In any dependency graph, dependencies heal before their dependents, each once, without deadlock."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from properties import looking_at
from remediations import remediation

from remediation.config.load import load_project
from remediation.config.model import Service
from remediation.healing.dependencies import heal_all
from remediation.healing.incident import Incident
from remediation.healing.remediator import Remediator
from remediation.state.event_log import EventLog
from remediation.state.remediation import Remediation
from remediation.state.service_state import Store

NAMES = "abcdefgh"


class Recorder:
    """Heals nothing, and records the services it was asked for, and when each was done."""

    def __init__(self, succeeds: set[str]) -> None:
        """Succeed for some services."""
        self._succeeds = succeeds
        self._lock = threading.Lock()
        self.events: list[tuple[str, str]] = []

    def stop_waiting(self) -> None:
        """Do nothing: nothing here waits."""

    def heal(self, incident: Incident) -> Remediation:
        """Record the call."""
        name = incident.service.name
        with self._lock:
            self.events.append(("begins", name))
        with self._lock:
            self.events.append(("ends", name))
        return remediation(name, ok=name in self._succeeds)


def services(root: Path, graph: dict[str, set[str]], elsewhere: set[str]) -> tuple[dict[str, Service], Store, EventLog]:
    """Configure services that were never started; those `elsewhere` are probed at a closed port."""
    tables = []
    for name, needs in graph.items():
        run = 'restart = "x"\nurl = "tcp://127.0.0.1:1"' if name in elsewhere else 'command = "x"'
        tables.append(f"[services.{name}]\n{run}\ndepends_on = {sorted(needs)}\n")
    (root / "auto-heal.toml").write_text("timeout = 0.001\n" + "".join(tables))
    project = load_project(root, {})
    return dict(project.services), Store(project), EventLog.of(project)


def all_needs(graph: dict[str, set[str]], name: str) -> set[str]:
    """Return the direct and indirect dependencies of a service."""
    return graph[name].union(*(all_needs(graph, need) for need in graph[name]))


@looking_at(60)
@given(
    needs=st.lists(st.sets(st.integers(0, 7)), min_size=1, max_size=8),
    sick=st.sets(st.sampled_from(NAMES), min_size=1),
    succeeds=st.sets(st.sampled_from(NAMES)),
    elsewhere=st.sets(st.sampled_from(NAMES)),
)
def test_each_is_healed_once_and_after_all_that_it_depends_on(
    tmp_path: Path, needs: list[set[int]], sick: set[str], succeeds: set[str], elsewhere: set[str]
) -> None:
    # Only what comes before it in the alphabet, so that nothing goes round in a circle.
    graph = {NAMES[index]: {NAMES[one] for one in wanted if one < index} for index, wanted in enumerate(needs)}
    sick = (sick & graph.keys()) or {NAMES[0]}
    configured, store, event_log = services(tmp_path, graph, elsewhere)
    recorder = Recorder(succeeds)
    incidents = [Incident(configured[name], "sick", 0.0, 0) for name in sorted(sick)]

    outcomes = heal_all(
        incidents, configured, remediator=cast("Remediator", recorder), store=store, event_log=event_log
    )

    treated = sick.union(*(all_needs(graph, name) for name in sick))
    assert sorted(outcome.service for outcome in outcomes) == sorted(treated)
    begun = [name for event, name in recorder.events if event == "begins"]
    assert len(begun) == len(set(begun))
    by_name = {outcome.service: outcome for outcome in outcomes}
    for name in treated:
        failed = {need for need in all_needs(graph, name) if not by_name[need].ok}
        # What nobody can know to be dead is not restarted as long as that which it depends on is not there.
        assert (name in begun) == (name not in elsewhere or not failed)
        for need in all_needs(graph, name) & set(begun):
            if name in begun:
                assert recorder.events.index(("ends", need)) < recorder.events.index(("begins", name))


def test_a_hundred_services_that_all_depend_on_each_other_are_put_in_order(tmp_path: Path) -> None:
    # Every way through them would be 2 ** 99.
    names = [f"s{number:02}" for number in range(100)]
    graph: dict[str, Any] = {name: set(names[:index]) for index, name in enumerate(names)}
    configured, store, event_log = services(tmp_path, graph, set())
    recorder = Recorder(set(names))

    heal_all(
        [Incident(configured["s99"], "sick", 0.0, 0)],
        configured,
        remediator=cast("Remediator", recorder),
        store=store,
        event_log=event_log,
    )

    assert [name for event, name in recorder.events if event == "begins"] == names
