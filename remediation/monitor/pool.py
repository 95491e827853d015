"""The fork servers, as the monitor sees them: the current one, the next one, and those that are about to end."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence

from remediation.config.model import Project
from remediation.monitor.file_watch import Sources
from remediation.monitor.protocol import Finish, News, Order, Ready
from remediation.supervision.channel import Channel
from remediation.supervision.family import end_family
from remediation.supervision.round_files import remove_run_folders
from remediation.system import python
from remediation.system.process import pidfd
from remediation.system.secrets import redacted
from remediation.system.telling import excerpt, without_colours

# Without a pidfd, how often to check for the end of a fork server, in seconds.
_POLL = 0.5
# How much of its output explains why a fork server did not start, in lines and bytes from the end.
_LINES, _OUTPUT = 30, 8_000
# A fork server that takes longer to collect, in seconds, counts as hung.
COLLECT_TIMEOUT = 120.0
# A fork server that takes longer to confirm an order, in seconds, counts as hung.
_CONFIRMED_WITHIN = 15.0


class WarmSession:
    """A fork server with the checks as they were when it started."""

    def __init__(self, project: Project, arguments: Sequence[str], terminal_fd: int) -> None:
        """Start it in the project's folder. It sends `Ready` when it has collected the checks."""
        self._project = project
        ours, its = socket.socketpair()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has ended
        with its:
            fds = (its.fileno(), terminal_fd)
            command = python.command("remediation.monitor.forkserver", "main", *map(str, fds), *arguments)
            self._process = subprocess.Popen(
                command, cwd=project.root,
                stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output,
                # Only the monitor receives the terminal's Ctrl+C.
                start_new_session=True, pass_fds=fds,
            )  # fmt: skip
        self.channel = Channel(ours)
        self.began = time.monotonic()
        self._pidfd = pidfd(self._process.pid)
        self.late_at: float | None = None
        self.services: list[str] = []
        """The services that have checks, once the session is ready."""
        self.files: list[str] = []

    def order(self, message: Order) -> None:
        """Send an order. The fork server has to confirm it before `late_at`, on the monotonic clock."""
        self.channel.send(message)
        if self.late_at is None:
            self.late_at = time.monotonic() + _CONFIRMED_WITHIN

    def confirmed(self, *, is_busy: bool) -> None:
        """Note a confirmation. As long as the fork server is busy, it repeats them."""
        self.late_at = time.monotonic() + _CONFIRMED_WITHIN if is_busy else None

    @property
    def fds(self) -> list[int]:
        """The descriptors to wait for. The channel alone is not enough: a child of the session may keep it open."""
        fds = [self.channel.fileno()] if self.channel.open else []
        return fds if self._pidfd is None else [*fds, self._pidfd]

    @property
    def is_watched(self) -> bool:
        """Whether one of `fds` turns readable at the end of the process in any case."""
        return self._pidfd is not None

    def notice_end(self) -> None:
        """Close the channel once the process has ended and all its messages are read, even if a child holds it."""
        if self.channel.open and self._process.poll() is not None and not self.channel.has_news:
            self.channel.close()

    def news(self) -> list[News]:
        """Return its messages. Waits if there is none."""
        return self.channel.receive(News)

    def wait(self) -> int:
        """Wait for its end, after its channel closed, and return its exit code."""
        try:
            return self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def kill(self) -> None:
        """Kill it with everything that it started, except services."""
        if self._process.poll() is None:
            end_family(self._process.pid, self._project)
            # A killed process cannot remove them itself.
            remove_run_folders(self._project.state_folder, self._process.pid)

    def close(self) -> None:
        """Close the channel and all other descriptors."""
        self.channel.close()
        self._output.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def last_output(self) -> list[str]:
        """Return the last lines of its output, without secrets and colours."""
        end = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, end - _OUTPUT))
        output = without_colours(self._output.read().decode(errors="backslashreplace"))
        return redacted(output).splitlines()[-_LINES:]


def telling_line(output: list[str]) -> str:
    """Return the line of pytest's output that explains a failed collection: one marked with E, an error, or the last.

    Before the checks, conftest files are loaded; pytest has no mark for an error in one that it did not expect.
    """
    for mark in ("E ", "ERROR"):
        for line in reversed(output):
            if line.startswith(mark):
                return line.removeprefix("E ").strip()
    return excerpt(output).telling or "pytest ended without a word"


# How long a cycle waits for edited checks to be collected before it runs the old ones, in seconds.
_COLLECTING = 5.0


class SessionPool:
    """Starts new sessions while the current one stays in use, and ends old ones."""

    def __init__(self, arguments: Sequence[str], terminal_fd: int) -> None:
        """Give each session these arguments for pytest, and a descriptor for its log lines."""
        self._arguments = arguments
        self._terminal_fd = terminal_fd
        self.current: WarmSession | None = None
        self.upcoming: WarmSession | None = None
        self._ending: list[WarmSession] = []
        self._collecting_since = 0.0
        self._is_fresh = False

    @property
    def all(self) -> list[WarmSession]:
        """All sessions."""
        return [session for session in (self.current, self.upcoming, *self._ending) if session]

    @property
    def services(self) -> list[str]:
        """The services that the current checks belong to."""
        return self.current.services if self.current else []

    # Collecting.

    def collect(self, project: Project) -> None:
        """Start a session that collects the checks as they are now. It replaces one that is still collecting.

        OSError if no process can be started; the current session stays.
        """
        sources = Sources(project.root, project.env_files)
        if self.upcoming:
            self.upcoming.kill()
            self.upcoming.wait()
            self.upcoming.close()
            self.upcoming = None
        else:
            self._collecting_since = time.monotonic()
        self.upcoming = WarmSession(project, self._arguments, self._terminal_fd)
        self._sources = sources

    def accept_files(self, project: Project) -> None:
        """Treat the files as unchanged from now on, although they cannot be used."""
        self._sources = Sources(project.root, project.env_files)

    def take_over(self, session: WarmSession, ready: Ready) -> None:
        """Make a session that has collected the current one. The previous one ends with its last cycle."""
        session.services, session.files = ready.services, ready.files
        self._sources.add(ready.files)
        if self.current:
            self._ending.append(self.current)
        self.current, self.upcoming, self._is_fresh = session, None, True

    def note_use(self) -> None:
        """Note that a cycle begins in the current session."""
        self._is_fresh = False

    @property
    def were_edited(self) -> bool:
        """Whether checks or configuration were edited since they were read."""
        # A new session is used at least once: files that change all the time would otherwise block every cycle.
        return self.upcoming is None and not self._is_fresh and self._sources.changed()

    @property
    def may_wait_until(self) -> float:
        """How long a cycle may wait for edited checks, as a moment on the monotonic clock."""
        return self._collecting_since + _COLLECTING if self.upcoming else 0.0

    @property
    def moments(self) -> Iterable[float]:
        """When to check the sessions at the latest, on the monotonic clock."""
        yield from (session.late_at for session in self.all if session.late_at is not None)
        if not all(session.is_watched for session in self.all):
            yield time.monotonic() + _POLL
        if self.upcoming:
            yield self.upcoming.began + COLLECT_TIMEOUT

    # Ends.

    def end_late(self) -> bool:
        """Kill the sessions that do not confirm an order, as when stopped. Return whether there was one."""
        now = time.monotonic()
        late = [session for session in self.all if session.late_at is not None and now > session.late_at]
        for session in late:
            session.kill()
        return bool(late)

    def failed(self, *, stopping: bool) -> WarmSession | None:
        """Return the session that could not collect or took too long, if any, and remove it from the pool."""
        for session in self.all:
            session.notice_end()
        upcoming = self.upcoming
        if upcoming is None or (upcoming.channel.open and time.monotonic() <= upcoming.began + COLLECT_TIMEOUT):
            return None
        if upcoming.channel.open or stopping:
            upcoming.kill()
        if self.current:
            # Editing a file that the current session has read is a reason to try again, too.
            self._sources.add(self.current.files)
        self.upcoming = None
        return upcoming

    def gone(self, is_used: Callable[[WarmSession], bool]) -> list[WarmSession]:
        """Return the sessions that have ended, and remove them. End old ones that no cycle uses any more."""
        gone = [session for session in (self.current, *self._ending) if session and not session.channel.open]
        if self.current in gone:
            self.current = None
        self._ending = [session for session in self._ending if session not in gone]
        for session in self._ending:
            # An earlier order would interrupt its cycle.
            if session.late_at is None and not is_used(session):
                session.order(Finish())
        return gone

    def finish(self) -> None:
        """Order all sessions to begin no more heals, and to end when those under way have ended."""
        for session in self.all:
            session.order(Finish())
        if self.upcoming:
            self.upcoming.kill()

    def close(self, *, at_once: bool) -> None:
        """Wait for the end of all sessions, or kill them if `at_once`."""
        for session in self.all:
            if at_once:
                session.kill()
            else:
                session.order(Finish())
                session.wait()
            session.close()
