"""Send notifications by apprise, in one process per URL, so that the monitor never waits for them.

Both ends are here: `Messengers` starts and supervises the processes, and `main` runs in each of them. URLs contain
secrets. A process gets its URL through stdin, and messages name a URL only by its place in the configuration.
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
from remediation.system.capabilities import has_memory_files

# How long a messenger may take, in seconds.
LIMIT = 30.0
# Messengers that run at the same time. Each is a Python process with apprise in it.
MOST_AT_WORK = 4
# Messages that wait for one URL. One more, and the oldest is dropped.
MOST_WAITING = 20

_COMMAND = (sys.executable, "-m", "remediation.monitor.notification_worker")
# The folder of our package. In a project's folder, any file could shadow an imported module.
_HOME = Path(__file__).resolve().parents[2]
_LONGEST_LINE = 500
# How long a messenger may run on after it has closed its stderr, in seconds.
_ENDING = 0.2
# A messenger's limit for itself, in case the monitor is not there to kill it, in whole seconds, alarm(2).
_LONGEST_LIFE = 60
_NICENESS = 5
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,30})://", re.IGNORECASE)
# The HTTP status of an answer and the kind of a failure, the only parts of apprise's log lines that are never secrets.
_STATUS = re.compile(r"error=(\d{3})\b")
_LATE, _NOT_CONNECTED = re.compile(r"\btimed out\b"), re.compile(r"connect timeout=|ConnectTimeout")
# How long to wait for an answer, in seconds, unless the URL says so (rto=N). apprise's own 4 s are too few for some.
_ANSWER_TIMEOUT = 10.0


Colour = Literal["failure", "success", "warning"]


class Notification(msgspec.Struct, frozen=True):
    """A message to send. apprise colours it by its `kind`."""

    title: str
    body: str
    kind: Colour


class Delivery(msgspec.Struct, frozen=True):
    """Messages for URLs, whose keys are names for people. Without messages, the URLs are only validated."""

    urls: dict[str, str]
    messages: list[Notification]


def places(urls: Sequence[str]) -> dict[str, str]:
    """Return the URLs by names without secrets: the place in the configuration, and the scheme."""
    schemes = (_SCHEME.match(url) for url in urls)
    names = (f"notify.urls[{number}]" + (f" ({match[1]})" if match else "") for number, match in enumerate(schemes))
    return dict(zip(names, urls, strict=True))


def refused(urls: Sequence[str]) -> str | None:
    """Return why apprise refuses some of the URLs, or None if it accepts all. Sends nothing; takes half a second."""
    process = _start(Delivery(places(urls), []))
    try:
        _, output = process.communicate(timeout=LIMIT)
    except BaseException as error:
        _kill(process)
        if isinstance(error, subprocess.TimeoutExpired):
            return f"apprise did not load within {seconds(LIMIT)}s"
        raise
    return _problem(process.returncode, output) if process.returncode else None


def _scratch() -> IO[bytes]:
    """Return a file without a name, in memory where the system supports it, memfd_create(2)."""
    return os.fdopen(os.memfd_create("errand"), "w+b") if has_memory_files() else tempfile.TemporaryFile()


def _start(delivery: Delivery) -> subprocess.Popen[bytes]:
    # Not a pipe, which might be full before the process reads it.
    with _scratch() as stdin:
        stdin.write(msgspec.json.encode(delivery))
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
    """Kill a messenger, whose status was not collected yet, with its children. Return its exit status."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stderr:
        process.stderr.close()
    return process.wait()


def _problem(status: int, output: bytes) -> str:
    last = printable(output.decode(errors="backslashreplace").strip().rpartition("\n")[2])
    if status < 0:
        with suppress(ValueError):
            return f"the messenger was killed by {signal.Signals(-status).name}"
    return last or f"the messenger ended with status {status}"


class _Messenger:
    """A process that delivers to one URL. The end of its stderr shows its own end, on every system."""

    def __init__(self, where: str, url: str, messages: list[Notification]) -> None:
        self.url = url
        self.where = where
        self.deadline = time.monotonic() + LIMIT
        self._output = b""
        self._process = _start(Delivery({where: url}, messages))
        self.fd = self._process.stderr.fileno() if self._process.stderr else -1
        os.set_blocking(self.fd, False)

    def has_ended(self) -> bool:
        """Read its output. Return whether that was the end."""
        try:
            part = os.read(self.fd, 4096)
        except BlockingIOError:
            return False
        self._output = (self._output + part)[-_LONGEST_LINE:]
        return not part

    def problem(self) -> str | None:
        """Collect its status after the end of its output. Return what went wrong, or None."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDING)
        status = self._process.returncode
        # A messenger that closes its stderr and runs on does not behave as ours.
        status = self.kill() if status is None else status
        if self._process.stderr:
            self._process.stderr.close()
        return _problem(status, self._output) if status else None

    def kill(self) -> int:
        """Kill the process."""
        return _kill(self._process)


class Messengers:
    """The running messengers, and the waiting messages. Each URL has at most one messenger, which keeps their order.

    An event loop waits for `fds` to become readable and for `deadline`, and calls `attend` on either.
    """

    def __init__(self, log: Callable[..., None]) -> None:
        """Log each failure once, as `not_notified`."""
        self._log = log
        self._places: Mapping[str, str] = {}
        # By URL. The URL that was served last is last.
        self._waiting: dict[str, deque[Notification]] = {}
        self._overflown: set[str] = set()
        self._at_work: list[_Messenger] = []

    def address(self, urls: Sequence[str]) -> None:
        """Send later messages to these URLs. Drop waiting messages for all other URLs."""
        self._places = {url: where for where, url in reversed(places(urls).items())}
        self._waiting = {url: self._waiting.get(url, deque()) for url in urls}
        self._overflown &= set(urls)

    def add(self, message: Notification) -> None:
        """Queue a message for every URL."""
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
        """Return when the next messenger has to be killed, on the monotonic clock; None if none runs."""
        return min((messenger.deadline for messenger in self._at_work), default=None)

    def attend(self) -> None:
        """Collect messengers that have ended, kill late ones, and start new ones for waiting messages."""
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
        """Wait for deliveries under way, at most `timeout` seconds, and kill the messengers that remain."""
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
        # A messenger's own message names the place already, as it may concern one of several URLs.
        self._log("not_notified", problem=problem if problem.startswith(where) else f"{where}: {problem}")


# What runs in a messenger.


class _Failures(logging.Handler):
    """A log handler that keeps the last HTTP status from apprise, and whether an answer came too late."""

    status: str | None = None
    is_late = False

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if match := _STATUS.search(text):
            self.status = match[1]
        self.is_late |= bool(_LATE.search(text)) and not _NOT_CONNECTED.search(text)

    def problem(self, timeout: float) -> str:
        """Return why a message did not arrive, or may not have arrived."""
        if self.status:
            return f"the answer was status {self.status}"
        if self.is_late:
            return f"no answer within {seconds(timeout)}s; it may have arrived"
        return "it could not be reached"


def send(delivery: Delivery) -> list[str]:
    """Send all messages to all URLs, one after the other. Return the problems, one clause per URL."""
    try:
        import apprise
    except ImportError as error:
        return [f"apprise cannot be imported: {error}"]
    logger = logging.getLogger("apprise")
    # It logs the errors of connections at this level.
    logger.setLevel(logging.DEBUG)
    asset = apprise.AppriseAsset(app_id="auto-heal", app_desc="auto-heal", async_mode=False)
    problems = []
    for where, url in delivery.urls.items():
        notifier = apprise.Apprise(asset=asset)
        if not notifier.add(url):
            problems.append(f"{where}: apprise does not take this URL; `apprise --details` lists those that it does")
            continue
        (server,) = notifier
        if "socket_read_timeout" not in vars(server):
            # The URL does not set it.
            server.socket_read_timeout = _ANSWER_TIMEOUT
        failures = _Failures()
        logger.addHandler(failures)
        arrived = [
            bool(notifier.notify(message.body, title=message.title, notify_type=message.kind, body_format="text"))
            for message in delivery.messages
        ]
        logger.removeHandler(failures)
        if not all(arrived):
            problems.append(f"{where}: {failures.problem(server.socket_read_timeout)}")
    return problems


def main() -> int:
    """Send the delivery on stdin. Return 0 if everything was sent, otherwise 1 after one line on stderr."""
    signal.alarm(_LONGEST_LIFE)
    # Heals have priority.
    os.nice(_NICENESS)
    # Other output, such as a plug-in's, might contain a URL. Children must not keep stderr open either.
    report, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    for fd in (1, 2):
        os.dup2(nowhere, fd)
    try:
        problems = send(msgspec.json.decode(sys.stdin.buffer.read(), type=Delivery))
    except Exception as error:  # noqa: BLE001 - the message of a plug-in's exception might contain a URL, too
        problems = [f"the messenger failed: {type(error).__name__}"]
    if problems:
        os.write(report, f"{'; '.join(problems)}\n".encode(errors="backslashreplace"))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
