"""The steady state of a drill: which process does not count as recovered, and that a drill restores everything."""

from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path

from drilling import QUICK, loaded_from
from sandbox import REPOSITORY, Sandbox, free_port, wait_for

from remediation.config.model import Project
from remediation.drill.bystanders import Bystanders
from remediation.drill.checker import Checker
from remediation.drill.faults import INJECTORS, Scene
from remediation.drill.interrupt import Interrupts
from remediation.drill.observer import is_back, is_up
from remediation.drill.steady_state import SteadyState
from remediation.healing.remediator import Remediator
from remediation.state.event_log import EventLog
from remediation.state.service_state import Store
from remediation.system import ports
from remediation.system.process import Identity
from remediation.system.signals import Signals


def healer_of(project: Project) -> Remediator:
    """Return a healer like that of a drill."""
    return Remediator(Store(project), EventLog.of(project), record=lambda _: None, origin="hand")


def test_an_orphan_that_the_drill_made_is_never_the_healed_service(project: Sandbox, tmp_path: Path) -> None:
    project.configure(f'ready = "tcp"\n{QUICK}')
    loaded = loaded_from(project)
    service, store, remediator = loaded.services["api"], Store(loaded), healer_of(loaded)
    remediator.start(service)
    with Bystanders(service, loaded) as herd, ExitStack() as stack:
        scene = Scene(loaded, service, store, remediator, herd, random.Random(1), tmp_path, stack)
        struck = INJECTORS["orphan-on-port"](scene)
        (listener,) = ports.listeners(project.port, "127.0.0.1")
        orphan = Identity.of(listener.pid or 0)
        assert orphan
        store.remember_process(service, store.recall(service), orphan)
        looks_like_it = is_up(service, store, owns_port=True)
        was_back = is_back(service, store, struck, owns_port=True)

        remediator.restart(service)

        assert (looks_like_it, was_back) == (True, False)
        assert is_back(service, store, struck, owns_port=True)
    remediator.stop(service)


def test_what_cannot_be_put_back_is_told_and_hinders_nothing_else(project: Sandbox) -> None:
    db = (
        f'[services.db]\ncommand = ["python3", "server.py"]\ncwd = "{REPOSITORY / "examples" / "peachmini"}"\n'
        f'url = "http://127.0.0.1:{free_port()}"\nready = "/api/health"'
    )
    project.configure(QUICK, more=db)
    loaded = loaded_from(project)
    store, (api, other) = Store(loaded), loaded.services.values()
    spent = store.recall(other)
    spent.restarts = [1.0]
    store.keep(other, spent)
    remediator = healer_of(loaded)
    ground = SteadyState(loaded, store, remediator)
    ground.prepare([other, api])
    ground.forget_restarts()
    in_the_way = project.root / ".auto-heal" / "api.lock"
    in_the_way.unlink()
    in_the_way.mkdir()

    problems = [str(problem) for problem in ground.put_back()]
    in_the_way.rmdir()
    remediator.stop(api)

    assert all(f"api: {in_the_way.resolve()}: Is a directory" in problem for problem in problems)
    assert len(problems) == 2
    assert store.recall(other).restarts == [1.0]
    assert not store.recall(other).stopped_by_hand
    assert store.proven_process(other) is None


def test_a_check_that_is_killed_leaves_no_folder_of_its_run(project: Sandbox, tmp_path: Path) -> None:
    loaded = loaded_from(project)
    with Signals() as signals:
        checker = Checker(loaded, tmp_path, Interrupts(signals))

        checked = checker.heal(lambda _: wait_for(lambda: any(loaded.state_folder.glob("run-*"))))

    assert checked.killed
    assert not list(loaded.state_folder.glob("run-*"))
