"""Send messages by apprise, each URL's in a process of its own, so that whoever has something to tell never waits.

Both ends are here: `Messengers` starts the processes and looks after them, `main` is what runs in each. URLs hold
secrets: they go to it through stdin, and people are told of them by their place in the configuration alone.
"""

from __future__ import annotations

import logging
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal

import msgspec

from remediation.messages.message import printable, seconds

# How long a messenger may take, in seconds.
LIMIT = 30.0
# Messengers at work at a time; each is a Python with apprise in it.
MOST_AT_WORK = 4
# Messages that wait for one URL; one more, and the oldest is given up.
MOST_WAITING = 20

_COMMAND = (sys.executable, "-m", "remediation.monitor.notification_worker")
# Where our package lies. In a project's folder, any file could take the place of a module that is imported.
_HOME = Path(__file__).resolve().parents[2]
_LONGEST_LINE = 500
# Between the end of what a messenger says and its own end, in seconds.
_ENDING = 0.2
# Whoever would end a messenger that hangs may itself have ended; whole seconds, alarm(2).
_LONGEST_LIFE = 60
_NICENESS = 5
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,30})://", re.IGNORECASE)
# What apprise's own lines tell that is no secret: the HTTP status of the answer.
_STATUS = re.compile(r"error=(\d{3})\b")


class Notification(msgspec.Struct, frozen=True):
    """What is sent; `kind` is how apprise colours it."""

    title: str
    body: str
    kind: Literal["failure", "success"]


class Delivery(msgspec.Struct, frozen=True):
    """Messages for URLs, which the keys name for people; without messages, the URLs are only looked at."""

    urls: dict[str, str]
    messages: list[Notification]


def places(urls: Sequence[str]) -> dict[str, str]:
    """Return the URLs by what is no secret of them: where each stands, and its scheme."""
    schemes = (_SCHEME.match(url) for url in urls)
    names = (f"notify.urls[{number}]" + (f" ({found[1]})" if found else "") for number, found in enumerate(schemes))
    return dict(zip(names, urls, strict=True))


def refused(urls: Sequence[str]) -> str | None:
    """Say which of the URLs apprise does not take, or None if it takes all; sends nothing, takes half a second."""
    process = _start(Delivery(places(urls), []))
    try:
        _, said = process.communicate(timeout=LIMIT)
    except BaseException as error:
        _kill(process)
        if isinstance(error, subprocess.TimeoutExpired):
            return f"apprise did not load within {seconds(LIMIT)}s"
        raise
    return _problem(process.returncode, said) if process.returncode else None


def _scratch() -> IO[bytes]:
    """Return a file without a name, in memory where there is such a thing, memfd_create(2)."""
    return os.fdopen(os.memfd_create("errand"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()


def _start(errand: Delivery) -> subprocess.Popen[bytes]:
    # No pipe: it might be full before anybody reads.
    with _scratch() as stdin:
        stdin.write(msgspec.json.encode(errand))
        stdin.seek(0)
        return subprocess.Popen(
            _COMMAND,
            cwd=_HOME,
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )


def _kill(process: subprocess.Popen[bytes]) -> int:
    """End a messenger that nobody has waited for yet, with its children, and return its exit status."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stderr:
        process.stderr.close()
    return process.wait()


def _problem(status: int, said: bytes) -> str:
    last = printable(said.decode(errors="backslashreplace").strip().rpartition("\n")[2])
    if status < 0:
        with suppress(ValueError):
            return f"the messenger was killed by {signal.Signals(-status).name}"
    return last or f"the messenger ended with status {status}"


class _Messenger:
    """One process at work for one URL; its end is seen by the end of its stderr, which works everywhere."""

    def __init__(self, where: str, url: str, messages: list[Notification]) -> None:
        self.url = url
        self.where = where
        self.deadline = time.monotonic() + LIMIT
        self._said = b""
        self._process = _start(Delivery({where: url}, messages))
        self.fd = self._process.stderr.fileno() if self._process.stderr else -1
        os.set_blocking(self.fd, False)

    def has_ended(self) -> bool:
        """Take what it says, and return whether that was all."""
        try:
            part = os.read(self.fd, 4096)
        except BlockingIOError:
            return False
        self._said = (self._said + part)[-_LONGEST_LINE:]
        return not part

    def problem(self) -> str | None:
        """See one that has ended out, and say what went wrong."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDING)
        status = self._process.returncode
        # One that closed its stderr and goes on is none of ours.
        status = self.kill() if status is None else status
        if self._process.stderr:
            self._process.stderr.close()
        return _problem(status, self._said) if status else None

    def kill(self) -> int:
        """End it."""
        return _kill(self._process)


class Messengers:
    """All messengers at work, and the messages that wait for one: one messenger a URL, so that their order is kept.

    An event loop waits for `fds` to become readable and for `deadline`, and calls `attend` on either.
    """

    def __init__(self, tell: Callable[..., None]) -> None:
        """Tell each failure once, as `not_notified`."""
        self._tell = tell
        self._places: Mapping[str, str] = {}
        # By URL; who was served last is last.
        self._waiting: dict[str, deque[Notification]] = {}
        self._overflown: set[str] = set()
        self._at_work: list[_Messenger] = []

    def address(self, urls: Sequence[str]) -> None:
        """Send what follows to these URLs, and what waits only to those that are still among them."""
        self._places = {url: where for where, url in reversed(places(urls).items())}
        self._waiting = {url: self._waiting.get(url, deque()) for url in urls}
        self._overflown &= set(urls)

    def add(self, message: Notification) -> None:
        """Have a message sent to every URL."""
        for url, waiting in self._waiting.items():
            waiting.append(message)
            if len(waiting) > MOST_WAITING:
                waiting.popleft()
                if url not in self._overflown:
                    self._overflown.add(url)
                    self._failed(self._places[url], f"more than {MOST_WAITING} messages wait, the oldest are dropped")

    def fds(self) -> list[int]:
        """Return the descriptors that turn readable when there is something to attend to."""
        return [messenger.fd for messenger in self._at_work]

    def deadline(self) -> float | None:
        """Return the moment of the monotonic clock at which a messenger is to be killed, if one is at work."""
        return min((messenger.deadline for messenger in self._at_work), default=None)

    def attend(self) -> None:
        """See out those that have ended, kill those that are late, and start those for whom messages wait."""
        for messenger in list(self._at_work):
            if messenger.has_ended():
                problem = messenger.problem()
            elif time.monotonic() >= messenger.deadline:
                messenger.kill()
                problem = f"not done within {seconds(LIMIT)}s"
            else:
                continue
            self._at_work.remove(messenger)
            if problem:
                self._failed(messenger.where, problem)
        self._start_waiting()

    def close(self, timeout: float) -> None:
        """Wait for what is under way, at most `timeout` seconds, and end what is not done by then."""
        end = time.monotonic() + timeout
        self.attend()
        while self._at_work and (now := time.monotonic()) < end:
            with selectors.DefaultSelector() as selector:
                for fd in self.fds():
                    selector.register(fd, selectors.EVENT_READ)
                selector.select(max(0.0, min(end, self.deadline() or end) - now))
            self.attend()
        late = {messenger.url: messenger.where for messenger in self._at_work}
        late |= {url: self._places[url] for url, waiting in self._waiting.items() if waiting}
        for messenger in self._at_work:
            messenger.kill()
        self._at_work.clear()
        self.address([])
        for where in late.values():
            self._failed(where, "not done when the monitor ended")

    def _start_waiting(self) -> None:
        busy = {messenger.url for messenger in self._at_work}
        for url in [url for url, waiting in self._waiting.items() if waiting and url not in busy]:
            if len(self._at_work) >= MOST_AT_WORK:
                return
            messages = list(self._waiting.pop(url))
            self._waiting[url] = deque()
            self._overflown.discard(url)
            try:
                self._at_work.append(_Messenger(self._places[url], url, messages))
            except OSError as error:
                self._failed(self._places[url], f"no messenger can be started: {error.strerror or error}")

    def _failed(self, where: str, problem: str) -> None:
        # A messenger says itself where, as one that tries several URLs must.
        self._tell("not_notified", problem=problem if problem.startswith(where) else f"{where}: {problem}")


# What runs in a messenger.


class _Statuses(logging.Handler):
    """Keeps the last HTTP status that apprise logged."""

    last: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if found := _STATUS.search(record.getMessage()):
            self.last = found[1]


def send(errand: Delivery) -> list[str]:
    """Send all messages to all URLs, one after the other, and return what went wrong, a clause a URL."""
    try:
        import apprise
    except ImportError as error:
        return [f"apprise cannot be imported: {error}"]
    statuses = _Statuses()
    logging.getLogger("apprise").addHandler(statuses)
    asset = apprise.AppriseAsset(app_id="auto-heal", app_desc="auto-heal", async_mode=False)
    problems = []
    for where, url in errand.urls.items():
        notifier = apprise.Apprise(asset=asset)
        if not notifier.add(url):
            problems.append(f"{where}: apprise does not take this URL; `apprise --details` lists those that it does")
            continue
        statuses.last = None
        arrived = [
            bool(notifier.notify(message.body, title=message.title, notify_type=message.kind, body_format="text"))
            for message in errand.messages
        ]
        if not all(arrived):
            how = f"the answer was status {statuses.last}" if statuses.last else "it could not be reached"
            problems.append(f"{where}: {how}")
    return problems


def main() -> int:
    """Run the errand on stdin; return 0 if all was sent, otherwise 1 after one line on stderr."""
    signal.alarm(_LONGEST_LIFE)
    # Whoever heals goes first.
    os.nice(_NICENESS)
    # Whatever else is printed, by a plug-in say, might hold a URL; nor may children of ours keep stderr open.
    report, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    for fd in (1, 2):
        os.dup2(nowhere, fd)
    try:
        problems = send(msgspec.json.decode(sys.stdin.buffer.read(), type=Delivery))
    except Exception as error:  # noqa: BLE001 - what a plug-in raises might hold a URL too
        problems = [f"the messenger failed: {type(error).__name__}"]
    if problems:
        os.write(report, f"{'; '.join(problems)}\n".encode(errors="backslashreplace"))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
