"""Records the state of the services before a drill, and restores it afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from remediation.config.model import Project, Service
from remediation.drill import faults
from remediation.drill.observer import is_up, strays
from remediation.drill.results import RefusedError
from remediation.engines import engine_of, ownership
from remediation.engines.engine import Condition
from remediation.engines.errors import HealError
from remediation.healing import liveness
from remediation.healing.backoff import Spent
from remediation.healing.context import longest
from remediation.healing.remediator import Remediator
from remediation.messages.message import Message
from remediation.state.service_state import Store
from remediation.system.files import LockTimeoutError


class SteadyState:
    """Makes services ready for a drill, and restores them afterwards."""

    def __init__(self, project: Project, store: Store, remediator: Remediator) -> None:
        """Begin with nothing recorded."""
        self._project = project
        self._store = store
        self._remediator = remediator
        self._started: list[Service] = []
        self._touched: list[Service] = []
        self._budgets: dict[str, Spent] = {}
        self._owners: set[str] = set()
        self._suspect: set[str] = set()

    def prepare(self, services: Sequence[Service]) -> None:
        """Ensure that services, dependencies first, are up and proven to be ours.

        RefusedError if that is impossible or not allowed.
        """
        for service in services:
            if liveness.condition(service, self._store) is Condition.BY_HAND:
                raise RefusedError("drill_by_hand", name=service.name)
        for service in self._project.services.values():
            if engine_of(service).can_start:
                self._budgets[service.name] = Spent.of(self._store.recall(service))
        for service in services:
            self._touched.append(service)
            self._make_ready(service)
            identity = self._store.proven_process(service)
            if identity and service.address and ownership.owns(service.address.endpoint, identity.pid):
                self._owners.add(service.name)

    def _make_ready(self, service: Service) -> None:
        state = liveness.condition(service, self._store)
        if state is Condition.SUSPENDED:
            raise RefusedError("drill_suspended_before", name=service.name)
        if state in (Condition.UNKNOWN, Condition.REPLACED):
            raise RefusedError("drill_foreign", name=service.name, url=service.address)
        if state is Condition.DEAD:
            self._started.append(service)
            try:
                self._remediator.start(service)
            except HealError as error:
                raise RefusedError("drill_no_start", problem=error.message) from None

    def owns_port(self, service: Service) -> bool:
        """Return whether the service's process or a descendant listened on its port before the drill."""
        return service.name in self._owners

    def forget_restarts(self) -> None:
        """Clear the restart budget of every service."""
        for name in self._budgets:
            self._budget(self._project.services[name], Spent())

    def _budget(self, service: Service, spent: Spent) -> None:
        with self._store.lock(service, timeout=longest(service)):
            state = self._store.recall(service)
            if Spent.of(state) != spent:
                spent.put(state)
                self._store.keep(service, state)

    def mark_suspect(self, service: Service) -> None:
        """Note that a fault is about to hit a service, so that only a restart reliably restores it."""
        self._suspect.add(service.name)

    def clear_suspect(self, service: Service) -> None:
        """Note that a service was healed since the fault."""
        self._suspect.discard(service.name)

    def restore(self, service: Service) -> None:
        """Ensure that a service is up as configured, without stray processes. HealError if that fails."""
        healthy = self._store.pid_file_problem(service) is None and self._is_up(service)
        if service.name in self._suspect or not healthy or strays(service, self._store):
            faults.resume(ownership.family(service, self._store.recall(service)))
            self._remediator.restart(service)
        self.clear_suspect(service)

    def _is_up(self, service: Service) -> bool:
        return is_up(service, self._store, owns_port=self.owns_port(service))

    def put_back(self) -> list[Message]:
        """Restore everything, even if a part of it fails, and return a message for each failure."""
        problems: list[Message] = []
        for service in self._touched:
            if service not in self._started:
                problems += _problems(service, partial(self.restore, service))
        for service in reversed(self._started):
            problems += _problems(service, partial(self._stop, service))
        for name, spent in self._budgets.items():
            service = self._project.services[name]
            problems += _problems(service, partial(self._budget, service, spent))
        return problems

    def _stop(self, service: Service) -> None:
        self._remediator.stop(service)
        with self._store.lock(service, timeout=longest(service)):
            state = self._store.recall(service)
            # The service was down before the drill, but not stopped by hand.
            state.stopped_by_hand = False
            self._store.keep(service, state)


def _problems(service: Service, step: Callable[[], None]) -> list[Message]:
    """Do a step for a service, and return a message if it fails."""
    try:
        step()
    except HealError as error:
        return [error.message]
    except LockTimeoutError:
        return [Message("busy", {"name": service.name, "seconds": longest(service)})]
    except OSError as error:
        where, problem = error.filename or "OS", error.strerror or error
        return [Message("surroundings", {"name": service.name, "where": where, "problem": problem})]
    return []
