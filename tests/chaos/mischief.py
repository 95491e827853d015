"""What is done to the town: faults of a drill, illnesses that only answers show, files that lie, orders to rest.

Each returns what becomes of it: healed, or refused for a reason that the healer has to name, until `amends` are made.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from town import CLIENT_DEEDS, Town

from remediation.config.model import Service
from remediation.drill import faults
from remediation.drill.bystanders import Decoy
from remediation.drill.faults import INJECTORS
from remediation.drill.helper import Helper, HelperError
from remediation.drill.results import SkipError
from remediation.engines import ownership
from remediation.system.environment import SERVICE_MARK

_LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
# How often the kernel is asked for a number that others may get first.
_ATTEMPTS = 50


@dataclass(slots=True)
class Mischief:
    """What was done, and what is to be expected."""

    refusal: str = ""
    """What a heal has to say when it may not help; empty if it has to help."""
    amends: Callable[[], object] = lambda: None
    """What its owner does about it then."""


class ImpossibleError(Exception):
    """It cannot be done here; the message says why."""


Make = Callable[[Town, Service, ExitStack], Mischief]


def _drilled(fault: str) -> Make:
    def make(town: Town, service: Service, stack: ExitStack) -> Mischief:
        brought = stack.enter_context(ExitStack())
        try:
            struck = INJECTORS[fault](town.scene(service, brought))
        except (SkipError, HelperError) as error:
            raise ImpossibleError(str(error)) from None
        if struck.stranger is None:
            return Mischief()
        return Mischief(f"port {service.address.port if service.address else 0} is held by", brought.close)

    return make


def _ill(name: str) -> Make:
    def make(town: Town, service: Service, _: ExitStack) -> Mischief:
        if service.address is None or not town.is_well(service):
            raise ImpossibleError("it does not answer")
        with suppress(OSError), urllib.request.urlopen(f"{service.address.url}/fall-ill/{name}", timeout=5) as answer:
            answer.read()
        return Mischief()

    return make


def _client(deed: str) -> Make:
    def make(town: Town, service: Service, _: ExitStack) -> Mischief:
        pid = town.store.recall(service).pid
        if pid is None or not town.is_well(service):
            raise ImpossibleError("it does not answer")
        town.meets_trouble(service.name, deed, pid)
        return Mischief()

    return make


def _pid_file(content: bytes) -> Make:
    def make(_: Town, service: Service, __: ExitStack) -> Mischief:
        service.pid_file.write_bytes(content)
        return Mischief()

    return make


def _pid_link(town: Town, service: Service, _: ExitStack) -> Mischief:
    """Plant a link at the PID file, to a file that nobody may write."""
    treasure = town.root / "treasure"
    treasure.write_text("1\n", encoding="ascii")
    service.pid_file.unlink(missing_ok=True)
    service.pid_file.symlink_to(treasure)
    return Mischief()


def _pid_given_away(town: Town, service: Service, stack: ExitStack) -> Mischief:
    """Kill the service, and have the kernel give its very PID to a bystander."""
    with town.scene(service, stack).held() as state:
        victim = state.identity
        if victim is None or not os.access(_LAST_PID, os.W_OK):
            raise ImpossibleError("no PID can be asked for here")
        _make_dead(town, service)
        environ = {name: value for name, value in os.environ.items() if name != SERVICE_MARK}
        for _ in range(_ATTEMPTS):
            try:
                _LAST_PID.write_text(str(victim.pid - 1), encoding="ascii")
            except OSError as error:
                raise ImpossibleError(f"no PID can be asked for here: {error.strerror}") from None
            helper = Helper("decoy", Path(service.command[0]).name, "", project=town.project, env=environ)
            if helper.pid == victim.pid:
                stack.enter_context(helper)
                decoy = Decoy("decoy_pid", helper)
                stack.callback(_unharmed, decoy)
                return Mischief()
            helper.end()
    raise ImpossibleError("somebody else was always quicker to get that PID")


def _unharmed(decoy: Decoy) -> None:
    harm = decoy.harm()
    assert harm is None, f"the one who got the PID: {harm}"


def _make_dead(town: Town, service: Service) -> None:
    faults.kill(ownership.family(service, town.store.recall(service)))


def _forgotten(_: Town, service: Service, __: ExitStack) -> Mischief:
    """Lose the PID file of a healthy service."""
    service.pid_file.unlink(missing_ok=True)
    return Mischief()


def _stopped(town: Town, service: Service, _: ExitStack) -> Mischief:
    """Stop it by hand."""
    assert town.run("stop", service.name) == 0
    return Mischief("stopped by hand", lambda: town.run("start", service.name))


def _spent(town: Town, service: Service, stack: ExitStack) -> Mischief:
    """Let its restart budget be spent, and kill it."""
    with town.scene(service, stack).held() as state:
        # As after it was found spent a moment ago.
        state.delay, state.troubled_at = service.budget.window, time.time()
        state.not_before = state.troubled_at + state.delay
        town.store.keep(service, state)
        _make_dead(town, service)
    return Mischief("restart budget", lambda: town.run("restart", service.name))


def _paused(town: Town, service: Service, _: ExitStack) -> Mischief:
    """Pause all healing, and kill it."""
    assert town.run("pause") == 0
    _make_dead(town, service)
    return Mischief("Healing is paused", lambda: town.run("resume"))


def _restarted(town: Town, service: Service, _: ExitStack) -> Mischief:
    """Kill it, and let somebody restart it by hand while the healers are at it."""
    _make_dead(town, service)
    town.start("restart", service.name)
    return Mischief()


ALL: Mapping[str, Make] = {
    **{fault: _drilled(fault) for fault in INJECTORS if fault != "healer-killed"},
    **{f"ill-{name}": _ill(name) for name in ("errors", "empty", "hang", "drip-body")},
    **{f"client-{deed}": _client(deed) for deed in CLIENT_DEEDS},
    "pid-0": _pid_file(b"0\n"),
    "pid-1": _pid_file(b"1\n"),
    "pid-minus-1": _pid_file(b"-1\n"),
    "pid-ours": _pid_file(f"{os.getpid()}\n".encode()),
    "pid-huge": _pid_file(b"9" * 4_000),
    "pid-garbage": _pid_file(json.dumps("\x00\x1b[2J").encode() + b"\xff\n"),
    "pid-link": _pid_link,
    "pid-given-away": _pid_given_away,
    "pid-forgotten": _forgotten,
    "stopped": _stopped,
    "budget-spent": _spent,
    "paused": _paused,
    "restarted": _restarted,
}
# These are there to be refused, by a check that says why; a monitor is not asked.
REFUSED = ("stopped", "budget-spent", "paused")
