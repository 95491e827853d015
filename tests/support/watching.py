"""`auto-heal monitor` as a process of its own: its output, its signals, and its certain end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import NamedTuple

import psutil
from sandbox import DEADLINE, Sandbox, wait_for

from remediation.system.environment import SERVICE_MARK

# In the environment of a monitor and of all processes that it starts, so that leftovers can be found.
_MONITOR_MARK = "AUTO_HEAL_TEST_MONITOR"
# A monitor that prints more lines than this is out of control.
_MOST_LINES = 100_000
_STATISTICS = re.compile(r"\D+: \D+: (\d+) \| \D+: (\d+) \| \D+: (\d+)")
_NEXT = re.compile(r"Next check in|Следующая проверка через")


class Statistics(NamedTuple):
    """The statistics that a monitor printed."""

    checks: int
    errors: int
    heals: int


class Watching:
    """A running monitor, as the person at its terminal sees it."""

    def __init__(self, project: Sandbox, command: list[str], **env: str) -> None:
        """Start it in a process group of its own."""
        self._project = project
        self.lines: list[str] = []
        """All that it has said."""
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=project.root, env=project.environment(**env, **{_MONITOR_MARK: str(project.root)}),
            text=True, encoding="utf-8", errors="backslashreplace", start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if len(self.lines) > _MOST_LINES:
                self.process.kill()
                return

    # Its output.

    def count(self, text: str) -> int:
        """Count the lines that hold a text."""
        return sum(text in line for line in list(self.lines))

    def says(self, text: str, *, times: int = 1) -> None:
        """Wait until it has printed a text this many times."""
        self._until(lambda: self.count(text) >= times, f"{text!r}, {times} times")

    def ends_check(self, number: int) -> Statistics:
        """Wait until this many checks have ended, and return the statistics at the end of the last one."""
        self._until(lambda: len(self._ends()) >= number, f"{number} checks")
        return _counted(self.lines[: self._ends()[number - 1]])

    def _ends(self) -> list[int]:
        """Return the lines at which a check ended."""
        return [index for index, line in enumerate(list(self.lines)) if _NEXT.match(line)]

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        try:
            wait_for(lambda: condition() or self.process.poll() is not None)
        except AssertionError:
            raise AssertionError(f"not said in time: {what}\n{self}") from None
        if not condition():
            # Its last output is read after its end.
            self._reader.join(DEADLINE)
        assert condition(), f"ended before it said {what}\n{self}"

    @property
    def statistics(self) -> Statistics:
        """The latest statistics that it printed."""
        return _counted(list(self.lines))

    # Its processes.

    @property
    def crew(self) -> list[psutil.Process]:
        """The live processes of the monitor, and all that they started, except services."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                environ = process.environ()
                ours = environ.get(_MONITOR_MARK) == str(self._project.root) and SERVICE_MARK not in environ
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def forkserver(self, *, after: int = 0) -> psutil.Process:
        """Wait for the fork server of the cycles, the one `after` another one, and return it."""

        def found() -> psutil.Process | None:
            for process in self.crew:
                with suppress(psutil.Error):
                    is_ours = (
                        process.ppid() == self.process.pid and "remediation.monitor.forkserver" in process.cmdline()
                    )
                    if is_ours and process.pid != after:
                        return process
            return None

        process = wait_for(found)
        assert process is not None
        return process

    # Its end.

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the monitor's process only."""
        self.process.send_signal(number)

    def ctrl_c(self) -> None:
        """Send SIGINT to its whole process group, as a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self) -> int:
        """Wait until it has ended and its whole output is read, and return its exit code."""
        try:
            code = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"does not end\n{self}") from None
        self._reader.join(DEADLINE)
        return code

    def stop(self) -> int:
        """End it as people do, and return its exit code."""
        self.ctrl_c()
        return self.wait()

    def clean(self) -> None:
        """End the monitor and its processes, in whatever state they are."""
        self.process.kill()
        self.process.wait()

        def ended() -> bool:
            left = self.crew
            for process in left:
                with suppress(psutil.Error):
                    process.kill()
            return not left

        wait_for(ended)
        self._reader.join(DEADLINE)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def __repr__(self) -> str:
        code = self.process.poll()
        return "\n".join([f"the monitor {'runs' if code is None else f'ended with {code}'}", *self.lines])


def _counted(lines: list[str]) -> Statistics:
    found = [match for line in lines if (match := _STATISTICS.fullmatch(line))]
    return Statistics(*(int(number) for number in found[-1].groups())) if found else Statistics(0, 0, 0)


@contextmanager
def watching(project: Sandbox, *arguments: str, **env: str) -> Iterator[Watching]:
    """Yield a monitor of the project that has begun, and end it afterwards."""
    with command(project, "-m", "remediation", "monitor", *arguments, **env) as monitor:
        yield monitor


@contextmanager
def command(project: Sandbox, *words: str, **env: str) -> Iterator[Watching]:
    """Yield a monitor that `python` runs with these arguments, and end it afterwards."""
    monitor = Watching(project, list(words), **env)
    try:
        yield monitor
    finally:
        monitor.clean()


# The state of its project.


def rows(project: Sandbox, query: str) -> list[tuple[object, ...]]:
    """Query the history."""
    with closing(sqlite3.connect(project.root / ".auto-heal" / "history.db")) as database:
        return database.execute(query).fetchall()


def starts(project: Sandbox) -> int:
    """Count the starts of the only service."""
    return project.log.count("Server started with PID")


def kill(project: Sandbox, name: str = "api") -> int:
    """Kill a service, and return its previous PID."""
    pid = pid_of(project, name)
    # 0 would be the whole process group, with the tests in it.
    assert pid > 0, f"no PID file of {name}"
    os.kill(pid, signal.SIGKILL)
    return pid


def pid_of(project: Sandbox, name: str) -> int:
    """Return the PID that the PID file of a service holds; 0 while there is none."""
    file = project.root / f".{name}-server.pid"
    return int(file.read_text()) if file.exists() else 0


def only_check(project: Sandbox, body: str) -> None:
    """Let this be the only check; it heals nothing, so that no service ever starts."""
    shutil.rmtree(project.root / "healthtests", ignore_errors=True)
    project.write("healthtests/test_it.py", f"import pathlib, time\n\n\ndef test_it():\n    {body}\n")
