"""A contestant that is to be harmed in more ways than a race allows: once, each in a fresh folder, its watcher too."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import psutil
from ground import MARK, Ground, free_port, lives, marked
from stopwatch import BenchError, Command
from watch import Watch
from watched import Injury, Service, hang, suspend, take_port
from watchers import Watcher

DISK = "disk"
_DISK_KILOBYTES = 64
_POLL_SECONDS = 0.005
# Behind a full queue of a silent listener a request would wait a second for its next SYN, whoever listens by then.
_PROBE_SECONDS = 0.2
# Until when a killed service is sure to have a successor, if its watcher starts one at once.
_HALF_WAY_SECONDS = 4.0
_UNMOUNTS = 20


@dataclass(frozen=True, slots=True)
class Harm:
    """What was done to a service, when, and who was there."""

    at: float
    victim: psutil.Process
    """The process without whose end the service cannot answer again."""
    children: frozenset[psutil.Process] = frozenset()
    """Of the service, before."""
    strangers: list[psutil.Popen] = field(default_factory=list)
    """Those that we started."""


class Post(Watch):
    """A watch whose watcher may be killed and started again, and whose log may be on a disk of its own."""

    def __init__(self, place: Ground, watcher: Watcher, service: Service) -> None:
        """Lay it out and start it; BenchError unless the service answers then."""
        self._place = place
        self._words: list[str] = []
        self._disk: Path | None = None
        self.over = False
        super().__init__(place, replace(watcher, lay_out=partial(self._lay_out, watcher)), service)

    def _lay_out(self, watcher: Watcher, folder: Path, service: Service) -> list[str]:
        if service.log.startswith(DISK):
            disk = folder / DISK
            disk.mkdir()
            options = f"size={_DISK_KILOBYTES}k"
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=True)
            self._disk = disk
        self._words = watcher.lay_out(folder, service)
        return self._words

    def servers(self) -> set[psutil.Process]:
        """Return the processes that run the service's program, its forks included."""
        script = str(self.service.script)
        found = set()
        for process in marked(self.folder):
            with suppress(psutil.Error):
                if script in process.cmdline():
                    found.add(process)
        return found

    def heads(self) -> set[psutil.Process]:
        """Return those of them that are nobody's fork."""
        found = self.servers()
        heads = set()
        for process in found:
            with suppress(psutil.Error):
                if process.parent() not in found:
                    heads.add(process)
        return heads

    def server(self) -> psutil.Process:
        """Return the only one; BenchError if there are more, or none."""
        heads = self.heads()
        if len(heads) != 1:
            raise BenchError(f"{self.watcher.name}: {len(heads)} servers before the fault")
        return heads.pop()

    def downtime(self, harm: Harm, *, cap: float) -> float:
        """Return the seconds from a harm until the service answers: infinite after `cap`."""
        while lives(harm.victim) or not self.service.answers(timeout=_PROBE_SECONDS):
            if self.over:
                raise BenchError("interrupted")
            if time.perf_counter() - harm.at > cap:
                return float("inf")
            time.sleep(_POLL_SECONDS)
        return time.perf_counter() - harm.at

    def gave_up(self) -> bool:
        """Return whether the watcher wrote that it gives the service up."""
        text = self.watcher.gives_up
        logs = [*self.folder.glob("*.log"), *self.folder.glob("output*.txt")]
        return bool(text) and any(text in path.read_text(errors="replace") for path in logs)

    def fill(self) -> None:
        """Fill the disk of the log, up to the last byte of the pages that its files have already."""
        assert self._disk
        filling = self._disk / "filling"
        filling.touch()
        for path in (filling, *(path for path in self._disk.iterdir() if path.is_file())):
            with suppress(OSError), path.open("ab", buffering=0) as file:
                for _ in range(_DISK_KILOBYTES * 1024):
                    file.write(b"\n")

    def crash(self) -> None:
        """Kill the watcher's main process, and it alone, and start it again as its init would."""
        self._command.kill()
        env = self._place.environment(**{MARK: str(self.folder)})
        self._command = Command(self._words, cwd=self.folder, env=env, output=self.folder / "output-again.txt")

    def environment(self, service: Service) -> dict[str, str]:
        """Return the environment for a service that is nobody's business, but ours at the end."""
        return self._place.environment(**service.env)

    def end(self) -> None:
        """End the watcher and the service, and take the disk away."""
        self.over = True
        super().end()
        if self._disk:
            _unmount(self._disk)
        self._disk = None


def _unmount(disk: Path) -> None:
    for _ in range(_UNMOUNTS):
        if subprocess.run(["umount", disk], stderr=subprocess.DEVNULL).returncode == 0:
            return
        time.sleep(_POLL_SECONDS)
    subprocess.run(["umount", "-l", disk])


Harming = Callable[[Post], Harm]


@contextmanager
def harmed(post: Post, harming: Harming) -> Iterator[Harm]:
    """Harm a service, and end the strangers that were needed for it."""
    harm = harming(post)
    for stranger in harm.strangers:
        # Some wait for ever for a zombie: who is killed has to be gone.
        threading.Thread(target=stranger.wait, daemon=True).start()
    try:
        yield harm
    finally:
        for stranger in harm.strangers:
            dismiss(stranger)


def dismiss(process: psutil.Popen) -> None:
    """End a process that we started."""
    with suppress(psutil.Error):
        process.kill()
    process.wait()


def kill(post: Post) -> Harm:
    """Kill the service as `kill -9` does."""
    server = post.server()
    children = frozenset(server.children(recursive=True))
    at = time.perf_counter()
    server.kill()
    return Harm(at, server, children)


def suspended(post: Post) -> Harm:
    """Stop it as `kill -STOP` does."""
    return _harm(suspend(post.service))


def hung(post: Post) -> Harm:
    """Have it answer nothing any more."""
    return _harm(hang(post.service))


def robbed(post: Post) -> Harm:
    """Kill it and have a silent stranger listen on its port."""
    injury = take_port(post.service)
    # The stranger's end is not asked for; that of the service is sure.
    return Harm(injury.at, injury.culprit, strangers=[injury.culprit])  # type: ignore[list-item]


def _harm(injury: Injury) -> Harm:
    return Harm(injury.at, injury.culprit)


def stale_pid_file(post: Post) -> Harm:
    """Have its PID file name nobody, and kill it."""
    nobody = subprocess.Popen([sys.executable, "-c", ""])
    nobody.wait()
    _write_pid(post, nobody.pid)
    return kill(post)


def reused_pid_file(post: Post) -> Harm:
    """Have its PID file name another server of the same program and user, on another port, and kill it."""
    another = replace(post.service, port=free_port())
    env = post.environment(another)
    bystander = psutil.Popen(another.words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.perf_counter() + 10
    while not another.answers() and time.perf_counter() < end:
        time.sleep(_POLL_SECONDS)
    try:
        _write_pid(post, bystander.pid)
        return replace(kill(post), strangers=[bystander])
    except BaseException:
        dismiss(bystander)
        raise


def _write_pid(post: Post, pid: int) -> None:
    (path,) = post.folder.glob(post.watcher.pid_file)
    path.write_text(f"{pid}\n")


def full_disk(post: Post) -> Harm:
    """Fill the disk that its log is on, and kill it."""
    post.fill()
    return kill(post)


def watcher_too(post: Post) -> Harm:
    """Kill it, and its watcher at once."""
    harm = kill(post)
    post.crash()
    return harm


def watcher_half_way(post: Post) -> Harm:
    """Kill it, and its watcher as soon as that has started a new one."""
    harm = kill(post)
    end = harm.at + _HALF_WAY_SECONDS
    while not post.heads() - {harm.victim} and time.perf_counter() < end:
        time.sleep(_POLL_SECONDS)
    post.crash()
    return harm


def is_root() -> bool:
    """Return whether we may mount a disk."""
    return os.geteuid() == 0
