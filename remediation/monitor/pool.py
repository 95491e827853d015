"""The fork servers, seen from the monitor: the one in force, one that collects anew, those that only end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence

from remediation.config.model import Project
from remediation.monitor.file_watch import Sources
from remediation.monitor.protocol import Finish, News, Order, Ready
from remediation.supervision.channel import Channel
from remediation.supervision.family import end_family
from remediation.supervision.round_files import remove_run_folders
from remediation.system.process import pidfd
from remediation.system.secrets import redacted

# The end of what it printed that explains why it did not come up, in lines and bytes.
_LINES, _OUTPUT = 30, 8_000
# How long it may take to collect, in seconds, before it counts as hung.
COLLECT_TIMEOUT = 120.0


# How soon it has to confirm an order, in seconds, before it counts as hung.
_CONFIRMED_WITHIN = 15.0


class WarmSession:
    """A fork server with the checks as they are now."""

    def __init__(self, project: Project, arguments: Sequence[str], terminal_fd: int) -> None:
        """Start one in the project's folder; it tells when it is ready."""
        self._project = project
        ours, its = socket.socketpair()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has ended
        with its:
            fds = (its.fileno(), terminal_fd)
            command = [sys.executable, "-m", "remediation.monitor.forkserver", *map(str, fds), *arguments]
            self._process = subprocess.Popen(
                command, cwd=project.root,
                stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output,
                # The terminal's Ctrl+C is for the monitor alone.
                start_new_session=True, pass_fds=fds,
            )  # fmt: skip
        self.channel = Channel(ours)
        self.began = time.monotonic()
        self._pidfd = pidfd(self._process.pid)
        self.late_at: float | None = None
        self.services: list[str] = []
        """The services that have checks, once it is ready."""
        self.files: list[str] = []

    def order(self, message: Order) -> None:
        """Give an order, which it has to confirm before `late_at`, on the monotonic clock."""
        self.channel.send(message)
        if self.late_at is None:
            self.late_at = time.monotonic() + _CONFIRMED_WITHIN

    def taken(self, *, is_busy: bool) -> None:
        """Note that it has confirmed; as long as it is busy, it does so again and again."""
        self.late_at = time.monotonic() + _CONFIRMED_WITHIN if is_busy else None

    @property
    def fds(self) -> list[int]:
        """The descriptors that tell of it: a process that it has started could keep the channel open."""
        fds = [self.channel.fileno()] if self.channel.open else []
        return fds if self._pidfd is None else [*fds, self._pidfd]

    def notice_end(self) -> None:
        """If its process has ended and all that it has said is heard, close the channel, whoever else holds it."""
        if self.channel.open and self._process.poll() is not None and not self.channel.has_news:
            self.channel.close()

    def news(self) -> list[News]:
        """Return what it has said; waits if it says nothing."""
        return self.channel.receive(News)

    def wait(self) -> int:
        """Wait for its end, after its channel closed, and return its exit code."""
        try:
            return self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def kill(self) -> None:
        """End it at once, with all that it started but for services."""
        if self._process.poll() is None:
            end_family(self._process.pid, self._project)
            # What it could not do itself.
            remove_run_folders(self._project.state_folder, self._process.pid)

    def close(self) -> None:
        """Let go of it."""
        self.channel.close()
        self._output.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def last_words(self) -> list[str]:
        """Return the end of what it printed."""
        end = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, end - _OUTPUT))
        return redacted(self._output.read().decode(errors="backslashreplace")).splitlines()[-_LINES:]


# How long edited checks may take to collect before a cycle goes on with the old ones, in seconds.
_COLLECTING = 5.0


class SessionPool:
    """Collects anew without losing what there is, and lets go of what is over."""

    def __init__(self, arguments: Sequence[str], terminal_fd: int) -> None:
        """Give each session these arguments of pytest, and a descriptor to tell by."""
        self._arguments = arguments
        self._terminal_fd = terminal_fd
        self.current: WarmSession | None = None
        self.coming: WarmSession | None = None
        self._leaving: list[WarmSession] = []
        self._collecting_since = 0.0
        self._is_fresh = False

    @property
    def all(self) -> list[WarmSession]:
        """All of them."""
        return [one for one in (self.current, self.coming, *self._leaving) if one]

    @property
    def services(self) -> list[str]:
        """The services that the checks in force are of."""
        return self.current.services if self.current else []

    # Collecting.

    def collect(self, project: Project) -> None:
        """Start a session that collects the checks as they are now, in place of one that does so.

        OSError if none can be had; the one in force stays.
        """
        sources = Sources(project.root)
        if self.coming:
            self.coming.kill()
            self.coming.wait()
            self.coming.close()
            self.coming = None
        else:
            self._collecting_since = time.monotonic()
        self.coming = WarmSession(project, self._arguments, self._terminal_fd)
        self._sources = sources

    def put_up_with(self, project: Project) -> None:
        """Take the files as they are now for known, though they cannot be used."""
        self._sources = Sources(project.root)

    def take_over(self, session: WarmSession, ready: Ready) -> None:
        """Put a session that has collected in force; the one before ends when its cycles have."""
        session.services, session.files = ready.services, ready.files
        self._sources.add(ready.files)
        if self.current:
            self._leaving.append(self.current)
        self.current, self.coming, self._is_fresh = session, None, True

    def note_use(self) -> None:
        """Note that a cycle begins with the session in force."""
        self._is_fresh = False

    @property
    def were_edited(self) -> bool:
        """Whether checks or configuration are no longer as they were read; asked before each cycle but the first."""
        # What was just collected is used once, or files that change all the time would keep every cycle from beginning.
        return self.coming is None and not self._is_fresh and self._sources.changed()

    @property
    def may_wait_until(self) -> float:
        """Until when a cycle may wait for edited checks, on the monotonic clock."""
        return self._collecting_since + _COLLECTING if self.coming else 0.0

    @property
    def moments(self) -> Iterable[float]:
        """The moments at which one of them is late, on the monotonic clock."""
        yield from (one.late_at for one in self.all if one.late_at is not None)
        if self.coming:
            yield self.coming.began + COLLECT_TIMEOUT

    # Ends.

    def end_late(self) -> bool:
        """End those that do not take an order any more, as when stopped; return whether there was one."""
        now = time.monotonic()
        late = [one for one in self.all if one.late_at is not None and now > one.late_at]
        for one in late:
            one.kill()
        return bool(late)

    def failed(self, *, stopping: bool) -> WarmSession | None:
        """Return one that could not collect, or took too long; it is none of ours any more."""
        for one in self.all:
            one.notice_end()
        coming = self.coming
        if coming is None or (coming.channel.open and time.monotonic() <= coming.began + COLLECT_TIMEOUT):
            return None
        if coming.channel.open or stopping:
            coming.kill()
        if self.current:
            # An edit of what that one has read, too, is a reason to try again.
            self._sources.add(self.current.files)
        self.coming = None
        return coming

    def gone(self, is_used: Callable[[WarmSession], bool]) -> list[WarmSession]:
        """Return those that have ended, which are none of ours any more; end those that no cycle uses any longer."""
        gone = [one for one in (self.current, *self._leaving) if one and not one.channel.open]
        if self.current in gone:
            self.current = None
        self._leaving = [one for one in self._leaving if one not in gone]
        for one in self._leaving:
            # Not before, which would break off its cycle.
            if one.late_at is None and not is_used(one):
                one.order(Finish())
        return gone

    def finish(self) -> None:
        """Begin no heal any more, and end when those under way have ended."""
        for one in self.all:
            one.order(Finish())
        if self.coming:
            self.coming.kill()

    def close(self, *, at_once: bool) -> None:
        """Wait for their end, or end them at once."""
        for one in self.all:
            if at_once:
                one.kill()
            else:
                one.order(Finish())
                one.wait()
            one.close()
