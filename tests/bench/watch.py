"""One contestant at its post: started in a folder of its own, harmed again and again, and ended."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import psutil
from ground import MARK, Ground, end, lives, marked
from stopwatch import Actions, BenchError, Command, Time
from watched import Fault, Injury, Service
from watchers import Watcher

# Some take a service that died within its first second for one that cannot start.
_SETTLE_SECONDS = 1.5
# Most look once a second: a fault has to come at any moment of it.
_JITTER_SECONDS = 1.0


class Watch:
    """A contestant that watches a service."""

    def __init__(self, place: Ground, watcher: Watcher, service: Service) -> None:
        """Lay it out and start it; BenchError unless the service answers then."""
        self.watcher = watcher
        self.service = service
        self.folder = place.folder(watcher.name)
        self.output = self.folder / "output.txt"
        words = watcher.lay_out(self.folder, service)
        env = place.environment(**{MARK: str(self.folder)})
        self._command = Command(words, cwd=self.folder, env=env, output=self.output)
        self._answered = math.nan
        try:
            self._command.until(service.answers)
        except BenchError:
            self.end()
            raise
        self._answered = time.perf_counter()

    def recovery(self, fault: Fault, *, cap: float) -> Actions:
        """Harm the service, and take the time until it answers again: infinite after `cap` seconds."""
        asked = time.perf_counter()
        while not self.service.answers():
            # Of an earlier fault.
            if time.perf_counter() - asked > cap:
                return Time(math.inf)
            yield
        begin = max(time.perf_counter(), self._answered + _SETTLE_SECONDS) + random.uniform(0, _JITTER_SECONDS)
        while time.perf_counter() < begin:
            yield
        injury = fault(self.service)
        # While the culprit lives, a request would only fill the queue of a socket that is not served.
        while lives(injury.culprit) or not self.service.answers():
            if time.perf_counter() - injury.at > cap:
                break
            yield
        else:
            self._answered = time.perf_counter()
        _end_culprit(injury)
        return Time(self._answered - injury.at if self._answered > injury.at else math.inf)

    def members(self) -> list[psutil.Process]:
        """Return the processes of the watcher, without what it watches."""
        script = str(self.service.script)
        return [process for process in marked(self.folder) if script not in _words(process)]

    def end(self) -> None:
        """End the watcher and the service."""
        end(self.folder)
        self._command.kill()


def _end_culprit(injury: Injury) -> None:
    with suppress(psutil.Error):
        injury.culprit.kill()
    # A stranger is our own child.
    with suppress(psutil.Error):
        injury.culprit.wait(0)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def boot(place: Ground, service: Service) -> Time:
    """Start a service by itself, until it answers."""
    output = place.root / "boot.txt"
    command = Command(service.words, cwd=place.root, env=place.environment(**service.env), output=output)
    try:
        return Time(command.until(service.answers))
    finally:
        command.kill()


def _brief(error: BenchError) -> str:
    """Return what went wrong and the last line of what was printed."""
    first, *more = str(error).strip().splitlines()
    return " ".join((first, *more[-1:]))


@contextmanager
def watches(
    place: Ground, watchers: Iterable[Watcher], *, service: Callable[[], Service] = Service
) -> Iterator[tuple[list[Watch], list[str]]]:
    """Lend those contestants that are on this machine and start, and a line about each of the others."""
    started: list[Watch] = []
    absent = []
    try:
        for watcher in watchers:
            if missing := ", ".join(watcher.missing):
                absent.append(f"{watcher.name}: not measured, {missing} not found")
                continue
            try:
                started.append(Watch(place, watcher, service()))
            except BenchError as error:
                if not watcher.needs:
                    # Our own: without it there is nothing to compare.
                    raise
                absent.append(f"{watcher.name}: not measured, {_brief(error)}")
        yield started, absent
    finally:
        for watch in started:
            watch.end()
