"""The way back, seen from a run: who has to take it, what answers then, and what it may have swept away."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from remediation.deployment.deployment import Deployment
from remediation.project.memory import Store
from remediation.project.voice import Voice
from remediation.session.course import Course
from remediation.session.rounds import Round

if TYPE_CHECKING:
    from remediation.healer.healer import Healer
    from remediation.healer.outcome import Outcome, Patient


def tell_what_broke(course: Course, voice: Voice) -> list[Patient]:
    """Return whom a deployment has made sick and no heal has helped, having told what it broke."""
    patients = course.to_roll_back()
    if not patients:
        if spared := course.to_roll_back(all_sick=True):
            voice.say("no_rollback", names=_names(spared))
        return []
    for change in course.changes():
        voice.tell(change.phrase)
    return patients


def take_back(patients: Iterable[Patient], healer: Healer, course: Course, voice: Voice) -> list[Outcome]:
    """Roll all of them back, those that share a command by running it once."""
    groups: dict[object, list[Patient]] = {}
    for patient in patients:
        groups.setdefault((patient.service.rollback, patient.service.cwd), []).append(patient)
    outcomes: list[Outcome] = []
    for group in groups.values():
        try:
            with _kept(course.rounds):
                outcomes += healer.roll_back(group)
        except KeyboardInterrupt:
            voice.say("back_interrupted", names=_names(group))
            raise
    return outcomes


def _names(patients: Iterable[Patient]) -> str:
    return ", ".join(patient.service.name for patient in patients)


@contextmanager
def _kept(rounds: Iterable[Round]) -> Iterator[None]:
    """Keep the reports of the rounds, which a rollback may sweep away with all that git does not know."""
    reports = {part.xml: part.xml.read_bytes() for one in rounds for part in one.parts}
    try:
        yield
    finally:
        for path, content in reports.items():
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


def await_what_was(
    outcomes: Iterable[Outcome], told: Deployment, known: Mapping[str, str], store: Store, voice: Voice
) -> None:
    """Let the next round expect the versions that were `known` before, and wait for them.

    Whoever runs a service may take a while to bring the old one back.
    """
    from remediation.deployment import arrival

    services = store.project.services
    back = [services[one.service] for one in outcomes if one.rolled_back and not one.rollback_problem]
    after = told.back([service.name for service in back if service.version], known)
    os.environ.update(after.to_environment())
    arrival.await_arrival(back, store, voice, wait=told.wait, versions=after.versions)
