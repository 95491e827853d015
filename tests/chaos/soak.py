"""Chaos: faults of all kinds at random, healers killed at random moments, and a town that must be well after each.

    python tests/chaos/soak.py --faults 200 --seed 7

Some faults are healed by checks, one or several at once, others by a monitor; one in three of the healers is killed
while it is at work. The seed decides what is done to whom and when; what the kernel makes of it differs.
"""

# ruff: noqa: E402 - the tests' own modules are found once their folder is on the path

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "support"), str(Path(__file__).resolve().parents[2])]

from invariants import Sentinel, after_each, at_the_end, report
from mischief import ALL, REFUSED, ImpossibleError, Mischief
from town import PATIENCE, Town, town

from remediation.config.model import Service
from remediation.system.exit_codes import INTERNAL_ERROR

_CHECKS = 12
# Of the time that a heal takes, within which a healer may be killed, in seconds.
_LONGEST_LIFE = 1.5
# So many faults in a row are healed by the same kind of healer.
_SHIFT = 5
# As often as this a check may be needed after healers were killed.
_LAST_CHECKS = 4


@dataclass(slots=True)
class Summary:
    """What a soak did, and what did not hold."""

    seed: int
    made: Counter[str] = field(default_factory=Counter)
    impossible: dict[str, str] = field(default_factory=dict)
    healed: int = 0
    refused: int = 0
    killed: int = 0
    checks: int = 0
    looks: int = 0
    births: int = 0
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return it for people."""
        faults = sum(self.made.values())
        return [
            f"seed {self.seed}: {faults} faults in {self.seconds:.0f} s",
            *(f"  {name:17} {count}" for name, count in sorted(self.made.items())),
            *(f"  {name:17} not made: {why}" for name, why in sorted(self.impossible.items())),
            f"{self.healed} healed, {self.refused} refused with their reason; {self.killed} healers killed",
            f"{self.checks} checks ended, {self.births} servers were started, never two at once in {self.looks} looks",
            *(f"BROKEN: {problem}" for problem in self.broken),
            "all invariants held" if not self.broken else f"{len(self.broken)} invariants did not hold",
        ]


class Soak:
    """One soak of a town."""

    def __init__(self, place: Town, seed: int, tell: Callable[[str], object]) -> None:
        """Use the town's own dice."""
        self._town = place
        self._rng = place.rng
        self._tell = tell
        self.summary = Summary(seed)
        self._number = 0

    def run(self, faults: int) -> Summary:
        """Make so many faults, one or two at a time, and return what held."""
        began, place = time.monotonic(), self._town
        sentinel = Sentinel(place)
        try:
            self._check()
            while sum(self.summary.made.values()) < faults and not self.summary.broken:
                if self._rng.random() < 0.4:
                    self._under_a_monitor(min(_SHIFT, faults), sentinel)
                else:
                    for _ in range(_SHIFT):
                        self._by_checks(sentinel)
        finally:
            sentinel.end()
        if not self.summary.broken:
            self._check()
            place.await_crew()
            self.summary.broken += at_the_end(place)
        self.summary.killed, self.summary.checks, self.summary.looks = place.killed, place.completed, sentinel.looks
        self.summary.births = sum(len(place.births(service)) for service in place.services.values())
        self.summary.seconds = time.monotonic() - began
        return self.summary

    # Faults.

    def _strike(self, stack: ExitStack, names: list[str]) -> list[Mischief]:
        """Do one thing or, to different services, two; return what was done."""
        victims = self._rng.sample(list(self._town.services.values()), self._rng.choice((1, 1, 2)))
        return [one for one in (self._make(stack, victim, self._rng.choice(names)) for victim in victims) if one]

    def _make(self, stack: ExitStack, victim: Service, name: str) -> Mischief | None:
        try:
            made = ALL[name](self._town, victim, stack)
        except ImpossibleError as error:
            self.summary.impossible[name] = str(error)
            return None
        self.summary.made[name] += 1
        self._tell(f"{sum(self.summary.made.values()):4} {name} of {victim.name}")
        return made

    def _by_checks(self, sentinel: Sentinel) -> None:
        with ExitStack() as stack:
            done = self._strike(stack, list(ALL))
            self._heal(kills=self._rng.random() < 1 / 3, at_once=self._rng.choice((1, 1, 2, 3)))
            for one in done:
                if one.refusal:
                    self._is_refused(one)
                else:
                    self.summary.healed += 1
            for _ in range(_LAST_CHECKS):
                if self._check() == 0:
                    break
            self._take_stock(sentinel)

    def _heal(self, *, kills: bool, at_once: int) -> None:
        """Let healers work at the same time, and perhaps kill one of their processes, or more, at any moment."""
        healers = [self._begin_check() for _ in range(at_once)]
        while kills and any(child.poll() is None for child, _ in healers):
            time.sleep(self._rng.uniform(0, _LONGEST_LIFE))
            self._town.kill_a_healer()
            kills = self._rng.random() < 0.5
        for child, path in healers:
            self._end_check(child, path)
        self._town.await_crew()

    def _is_refused(self, done: Mischief) -> None:
        """See that a heal says why it may not help; then let the owner make amends."""
        code, told = self._check_telling()
        if code != 1 or done.refusal not in told:
            self.summary.broken.append(f"not refused because of {done.refusal!r}, but ended with {code}: {told}")
        else:
            self.summary.refused += 1
        done.amends()

    def _under_a_monitor(self, faults: int, sentinel: Sentinel) -> None:
        place = self._town
        place.watch()
        names = [name for name in ALL if name not in REFUSED]
        for _ in range(faults):
            with ExitStack() as stack:
                done = self._strike(stack, names)
                kills = self._rng.random() < 1 / 3
                deadline = time.monotonic() + PATIENCE
                # What may not be healed is amended at once: a monitor is not waited for to say so.
                for one in done:
                    if one.refusal:
                        time.sleep(self._rng.uniform(0, 1))
                        one.amends()
                while not all(place.is_well(service) for service in place.services.values()):
                    if time.monotonic() > deadline:
                        self.summary.broken.append("the monitor did not heal in time")
                        return
                    time.sleep(self._rng.uniform(0, 0.3))
                    if kills:
                        place.kill_a_healer()
                        kills = self._rng.random() < 0.3
                    place.watch()
                self.summary.healed += len(done)
        place.unwatch()
        self._check()
        self._take_stock(sentinel)

    # Checks.

    def _begin_check(self) -> tuple[subprocess.Popen[bytes], Path]:
        self._number += 1
        path = self._town.root / "reports" / f"{self._number}.xml"
        return self._town.start("check", f"--junitxml={path}"), path

    def _end_check(self, child: subprocess.Popen[bytes], path: Path) -> int:
        code = child.wait(PATIENCE)
        if code in (0, 1):
            self._town.completed += 1
            broken = report(path, code, _CHECKS)
        else:
            broken = [] if code in (-signal.SIGKILL, INTERNAL_ERROR) else [f"a check ended with {code}"]
        self.summary.broken += broken + (self._town.said() if broken else [])
        path.unlink(missing_ok=True)
        return code

    def _check(self) -> int:
        return self._end_check(*self._begin_check())

    def _check_telling(self) -> tuple[int, str]:
        out = self._town.root / "healers.out"
        before = out.stat().st_size
        code = self._check()
        return code, out.read_bytes()[before:].decode(errors="replace")

    def _take_stock(self, sentinel: Sentinel) -> None:
        self._town.await_crew()
        self.summary.broken += after_each(self._town, sentinel)


def soak(faults: int, seed: int, tell: Callable[[str], object] = lambda _: None) -> Summary:
    """Found a town, make so many faults, and return what held."""
    with (
        tempfile.TemporaryDirectory(prefix="auto-heal-chaos-") as folder,
        town(Path(folder).resolve(), random.Random(seed)) as place,
    ):
        return Soak(place, seed, tell).run(faults)


def main() -> int:
    """Run a soak, print its summary; 1 if an invariant did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--seed", type=int, default=None, help="what decides (default: another one each time)")
    known = parser.parse_args()
    seed = random.randrange(1_000_000) if known.seed is None else known.seed
    print(f"seed {seed}", flush=True)
    summary = soak(known.faults, seed, lambda line: print(line, flush=True))
    print("\n".join(summary.lines()))
    return int(bool(summary.broken))


if __name__ == "__main__":
    sys.exit(main())
