"""Messages of an incident: each event once, sent by processes that delay nobody, and no secret of a URL anywhere."""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import psutil
import pytest
from sandbox import DEADLINE, Sandbox, free_port, wait_for

from remediation.journal.record import Heal, Kind, Result, Run
from remediation.monitor import messenger
from remediation.monitor.notify import Notifier, require
from remediation.project.config import load_project
from remediation.project.model import Project
from remediation.project.schema import ConfigError

SECRET = "s3cr3t-t0ken"
# Waits for an answer for longer than any test, whatever apprise's own patience is.
PATIENT = "?rto=600&cto=600"
DB = '[services.db]\nurl = "http://127.0.0.1:9"\nrestart = ["true"]'
EVIL = "a\x1b[31mred\r\n2025-01-01 forged\x00\x07\u2028\u202e\udcffb"

Make = Callable[..., Notifier]


class Receiver:
    """A real HTTP server that takes messages as apprise sends them."""

    def __init__(self) -> None:
        """Listen on a free port."""
        self.status = 200
        self.got: list[dict[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(json.loads(body) if "json" in self.headers["Content-Type"] else {})
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://user:{SECRET}@127.0.0.1:{self._server.server_port}/{SECRET}/"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def titles(self) -> list[str]:
        """What has come, without whence."""
        return [got["title"].partition(" (")[0] for got in self.got]

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that answers."""
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def hung() -> Iterator[str]:
    """The URL of a receiver that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"json://user:{SECRET}@127.0.0.1:{server.getsockname()[1]}/{SECRET}/{PATIENT}"


@pytest.fixture
def told() -> list[str]:
    """What the user was told."""
    return []


@pytest.fixture
def make(project: Sandbox, told: list[str]) -> Iterator[Make]:
    """Make a notifier for these URLs; whatever it has under way is ended with the test."""
    made: list[Notifier] = []

    def make(*urls: str, on: list[str] | None = None, top: str = "") -> Notifier:
        def tell(key: str, **values: object) -> None:
            assert (key, [*values]) == ("not_notified", ["problem"])
            told.append(str(values["problem"]))

        made.append(Notifier(configured(project, *urls, on=on, top=top), tell=tell))
        return made[-1]

    yield make
    for notifier in made:
        notifier.close(0)
    assert not messengers()


@pytest.fixture
def unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let messages wait, and none be sent."""
    monkeypatch.setattr(messenger, "MOST_AT_WORK", 0)


def configured(
    project: Sandbox, *urls: str, on: list[str] | None = None, top: str = "", more: str | None = None
) -> Project:
    """Return the project with these URLs."""
    events = f"on = {json.dumps(on)}\n" if on is not None else ""
    notify = f"[notify]\nurls = {json.dumps(list(urls))}\n{events}"
    project.configure(top=top, more=f"{DB if more is None else more}\n{notify}")
    return load_project(project.root, {})


def waiting(notifier: Notifier) -> list[messenger.Message]:
    """Return the messages that wait to be sent."""
    return [message for queue in notifier._messengers._waiting.values() for message in queue]


def run(*results: Result, ended: float = 1000.0) -> Run:
    """Return a run of a monitor."""
    return Run(0.0, ended, "monitor", "sick", 1.0, list(results))


def result(name: str, state: str) -> Result:
    """Return what became of a service or, with a slash in its name, of a check that names no service."""
    failed_at = 900.0 if state in ("sick", "healed") else None
    passed_at = 990.0 if state in ("healed", "well") else None
    kind: Kind = "check" if "/" in name else "service"
    services = [name] if kind == "service" else []
    return Result(kind, name, name, services, 0.0, failed_at, passed_at, message="no answer")


def heal(name: str, *, ok: bool = True, reason: str = "") -> Heal:
    """Return a heal."""
    answered_at = 990.0 if ok else None
    return Heal(name, 950.0, "monitor", "no answer", "restart", ok, reason, since=900.0, answered_at=answered_at)


SICK = run(result("api", "sick"))
WELL = run(result("api", "well"))


def observe(notifier: Notifier, words: str) -> None:
    """Observe a run, told as `api=sick db=well db+healed db+gave-up`."""
    pairs = [word.split("=") for word in words.split() if "=" in word]
    heals = [heal(word.partition("+")[0]) for word in words.split() if word.endswith("+healed")]
    gave_up = [word.partition("+")[0] for word in words.split() if word.endswith("+gave-up")]
    notifier.observe(run(*(result(name, state) for name, state in pairs)), heals, gave_up)


def messengers() -> list[psutil.Process]:
    """Return the messengers that this process has started and that live or were not seen out."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "remediation.monitor.messenger" in child.cmdline() or child.status() == psutil.STATUS_ZOMBIE:
                found.append(child)
    return found


def attended(notifier: Notifier, condition: Callable[[], object]) -> None:
    """Wait as an event loop does, until a condition holds."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "not attended in time"
        with selectors.DefaultSelector() as selector:
            for fd in notifier.fds():
                selector.register(fd, selectors.EVENT_READ)
            deadline = notifier.deadline()
            selector.select(max(0.0, (end if deadline is None else min(end, deadline)) - time.monotonic()))
        notifier.attend()


def idle(notifier: Notifier) -> bool:
    """Return whether there is nothing to wait for."""
    return not notifier.fds() and notifier.deadline() is None


# Once an incident.


@pytest.mark.usefixtures("unsent")
@pytest.mark.parametrize(
    ("runs", "events"),
    [
        (["api=well"], []),
        (["api=skipped"], []),
        ([""], []),
        (["api=sick"], ["api is sick"]),
        (["api=sick", "api=sick", "api=sick"], ["api is sick"]),
        (["api=sick", "api=skipped", "", "api=sick"], ["api is sick"]),
        (["api=healed"], ["api is sick", "api is healed"]),
        (["api=sick", "api=healed"], ["api is sick", "api is healed"]),
        (["api=sick", "api=well"], ["api is sick", "api is healed"]),
        (["api=sick", "api=well", "api=well"], ["api is sick", "api is healed"]),
        (["api=healed", "api=healed"], ["api is sick", "api is healed"] * 2),
        (["api=sick", "api=well", "api=sick"], ["api is sick", "api is healed", "api is sick"]),
        (["api=sick api+gave-up"] * 3, ["api is sick", "gave up on api"]),
        (["api=sick", "api=sick api+gave-up"], ["api is sick", "gave up on api"]),
        (["api=healed api+gave-up"], ["api is sick", "gave up on api", "api is healed"]),
        (["api=sick api+gave-up", "api=well"] * 2, ["api is sick", "gave up on api", "api is healed"] * 2),
        (["api=sick", "api=sick db=sick", "api=well db=sick"], ["api is sick", "db is sick", "api is healed"]),
        # A service that no check names, but another one depends on.
        (["api=healed db+healed"], ["api is sick", "api is healed"]),
        (["db+gave-up"] * 2, ["db is sick", "gave up on db"]),
        (["db+gave-up", "db+healed", "db+healed"], ["db is sick", "gave up on db", "db is healed"]),
        # A check that names no service.
        (["/x=sick", "/x=sick", "/x=well"], ["/x is sick", "/x is healed"]),
        (["/x=sick", "api=well", "/x=sick"], ["/x is sick"]),
        (["/x=sick", "/y=well", "/x=sick"], ["/x is sick", "/x is sick"]),
        (["/api=sick api=sick api+gave-up"], ["api is sick", "gave up on api", "/api is sick"]),
    ],
)
def test_each_event_is_told_once_an_incident(make: Make, runs: list[str], events: list[str]) -> None:
    notifier = make("json://127.0.0.1:9/")

    for words in runs:
        observe(notifier, words)

    titles = [message.title.removeprefix("auto-heal: ").partition(" (")[0] for message in waiting(notifier)]
    assert titles == events


@pytest.mark.usefixtures("unsent")
def test_a_check_of_a_service_is_that_services_business(make: Make) -> None:
    notifier = make("json://127.0.0.1:9/")

    notifier.observe(run(Result("check", "a", "/a", ["api"], 0.0, 900.0, None), result("api", "sick")), [], ())

    assert [message.title.partition(" (")[0] for message in waiting(notifier)] == ["auto-heal: api is sick"]


@pytest.mark.usefixtures("unsent")
@pytest.mark.parametrize(
    ("on", "events"),
    [
        ([], []),
        (["sick"], ["api is sick"]),
        (["healed"], ["api is healed"]),
        (["gave-up"], ["gave up on api"]),
        (["healed", "sick"], ["api is sick", "api is healed"]),
    ],
)
def test_only_the_events_that_are_wanted_are_told(make: Make, on: list[str], events: list[str]) -> None:
    notifier = make("json://127.0.0.1:9/", on=on)

    for words in ("api=sick", "api=sick api+gave-up", "api=well"):
        observe(notifier, words)

    titles = [message.title.removeprefix("auto-heal: ").partition(" (")[0] for message in waiting(notifier)]
    assert titles == events


def test_without_urls_nothing_happens_at_all(make: Make) -> None:
    notifier = make()

    observe(notifier, "api=sick api+gave-up")

    assert idle(notifier)
    assert not messengers()


@pytest.mark.usefixtures("unsent")
def test_a_service_that_is_configured_no_longer_is_forgotten(project: Sandbox, make: Make) -> None:
    notifier = make("json://127.0.0.1:9/")
    observe(notifier, "api=sick db=sick")

    notifier.reload(configured(project, "json://127.0.0.1:9/", more=""))
    notifier.reload(configured(project, "json://127.0.0.1:9/"))
    observe(notifier, "api=sick db=sick")

    titles = [message.title.partition(" (")[0] for message in waiting(notifier)]
    assert titles == [f"auto-heal: {name} is sick" for name in ("api", "db", "db")]


@pytest.mark.usefixtures("unsent")
def test_what_waits_for_a_url_that_is_no_longer_configured_is_dropped(project: Sandbox, make: Make) -> None:
    notifier = make("json://127.0.0.1:9/")
    observe(notifier, "api=sick")

    notifier.reload(configured(project, "json://127.0.0.1:8/"))

    assert waiting(notifier) == []


# The message.


@pytest.mark.usefixtures("unsent")
@pytest.mark.parametrize(
    ("language", "titles", "bodies"),
    [
        (
            "en",
            ["auto-heal: api is sick ({} on {})", "auto-heal: gave up on api ({} on {})",
             "auto-heal: api is healed ({} on {})"],
            ["Cause: no answer|Action: restart: did not start|Since: {}|Downtime: 100s"] * 2
            + ["Cause: no answer|Action: restart|Since: {}|Downtime: 90s"],
        ),
        (
            "ru",
            ["auto-heal: api болен ({} на {})", "auto-heal: api восстановить не удаётся, прекращаем ({} на {})",
             "auto-heal: api восстановлен ({} на {})"],
            ["Причина: no answer|Действие: restart: did not start|Начало: {}|Простой: 100s"] * 2
            + ["Причина: no answer|Действие: restart|Начало: {}|Простой: 90s"],
        ),
    ],
)  # fmt: skip
def test_a_message_says_what_where_why_and_for_how_long(
    project: Sandbox, make: Make, language: str, titles: list[str], bodies: list[str]
) -> None:
    notifier = make("json://127.0.0.1:9/", top=f'language = "{language}"\n')

    notifier.observe(SICK, [heal("api", ok=False, reason="did not start")], ["api"])
    notifier.observe(run(result("api", "healed")), [heal("api")], ())

    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(900))
    where = project.root.name, os.uname().nodename
    messages = waiting(notifier)
    assert [message.title for message in messages] == [title.format(*where) for title in titles]
    assert [message.body for message in messages] == [body.format(began).replace("|", "\n") for body in bodies]
    assert [message.kind for message in messages] == ["failure", "failure", "success"]


@pytest.mark.usefixtures("unsent")
def test_what_came_back_by_itself_is_told_so(make: Make) -> None:
    notifier = make("json://127.0.0.1:9/")

    notifier.observe(SICK, [], ())
    notifier.observe(WELL, [], ())

    assert "Action: none, it came back by itself" in waiting(notifier)[-1].body


@pytest.mark.usefixtures("unsent")
def test_what_comes_from_outside_is_harmless_in_a_message(make: Make) -> None:
    notifier = make("json://127.0.0.1:9/")
    long = f"{EVIL} http://user:{SECRET}@127.0.0.1/x@y ftp://{SECRET}@host " + "long " * 100_000
    ill = Result("service", "api", EVIL, ["api"], 0.0, 900.0, None, message=long)

    notifier.observe(run(ill), [Heal("api", 0.0, "monitor", long, long, ok=False, reason=long)], ["api"])

    for message in waiting(notifier):
        for line in (message.title, *message.body.split("\n")):
            assert line.isprintable(), line
            assert SECRET not in line
        assert "http://127.0.0.1/x@y" in message.body
        assert len(message.title) + len(message.body) < 3000


# Sending.


def test_what_happened_arrives_in_its_order(receiver: Receiver, make: Make, told: list[str]) -> None:
    notifier = make(receiver.url)

    observe(notifier, "api=healed")
    observe(notifier, "api=sick db=sick")
    attended(notifier, lambda: idle(notifier))

    assert receiver.titles == [
        f"auto-heal: {event}" for event in ("api is sick", "api is healed", "api is sick", "db is sick")
    ]
    assert [got["type"] for got in receiver.got] == ["failure", "success", "failure", "failure"]
    assert receiver.got[0]["message"].startswith("Cause: no answer\n")
    assert told == []


def test_one_that_hangs_delays_neither_the_monitor_nor_another(
    receiver: Receiver, hung: str, make: Make, told: list[str]
) -> None:
    notifier = make(hung, receiver.url)

    for words in ("api=sick", "api=well"):
        observe(notifier, words)
    attended(notifier, lambda: len(receiver.got) == 2 and len(notifier.fds()) == 1)

    assert [process.is_running() for process in messengers()] == [True]
    assert told == []


def test_one_that_hangs_is_killed_when_it_is_late(
    hung: str, make: Make, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messenger, "LIMIT", 0.5)
    notifier = make(hung)

    notifier.observe(SICK, [], ())
    attended(notifier, lambda: idle(notifier))

    assert told == ["notify.urls[0] (json): not done within 0.5s"]
    assert not messengers()


@pytest.mark.parametrize("status", [400, 401, 403, 500])
def test_one_that_refuses_is_told_once_with_its_status(
    receiver: Receiver, make: Make, told: list[str], status: int
) -> None:
    receiver.status = status
    notifier = make(receiver.url)

    observe(notifier, "api=healed")
    attended(notifier, lambda: idle(notifier))

    assert told == [f"notify.urls[0] (json): the answer was status {status}"]


def test_one_that_is_not_there_is_told_and_the_next_message_is_tried_again(make: Make, told: list[str]) -> None:
    notifier = make(f"json://user:{SECRET}@127.0.0.1:{free_port()}/{SECRET}/")

    for words in ("api=sick", "api=well"):
        observe(notifier, words)
        attended(notifier, lambda: idle(notifier))

    assert told == ["notify.urls[0] (json): it could not be reached"] * 2


def test_a_messenger_that_is_killed_is_told(hung: str, make: Make, told: list[str]) -> None:
    notifier = make(hung)
    notifier.observe(SICK, [], ())

    [process] = wait_for(messengers)
    process.send_signal(signal.SIGKILL)
    attended(notifier, lambda: idle(notifier))

    assert told == ["notify.urls[0] (json): the messenger was killed by SIGKILL"]
    assert not process.is_running()


def test_a_messenger_that_is_stopped_is_killed_when_it_is_late(
    hung: str, make: Make, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messenger, "LIMIT", 0.5)
    notifier = make(hung)
    notifier.observe(SICK, [], ())

    wait_for(messengers)[0].send_signal(signal.SIGSTOP)
    attended(notifier, lambda: idle(notifier))

    assert told == ["notify.urls[0] (json): not done within 0.5s"]
    assert not messengers()


def test_a_messenger_that_cannot_be_started_is_told(
    make: Make, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messenger, "_COMMAND", ["/no/such/python"])
    notifier = make("json://127.0.0.1:9/")

    notifier.observe(SICK, [], ())

    assert told == ["notify.urls[0] (json): no messenger can be started: No such file or directory"]
    assert idle(notifier)


def test_few_are_at_work_at_a_time_and_one_for_each_url(hung: str, make: Make) -> None:
    notifier = make(*(f"{hung}&n={number}" for number in range(7)))

    for words in ("api=healed", "api=healed"):
        observe(notifier, words)

    assert len(notifier.fds()) == messenger.MOST_AT_WORK
    wait_for(lambda: len(messengers()) == messenger.MOST_AT_WORK)


def test_urls_take_turns(
    receiver: Receiver, make: Make, hung: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messenger, "MOST_AT_WORK", 1)
    notifier = make(hung, receiver.url)
    notifier.observe(SICK, [], ())
    wait_for(messengers)[0].kill()
    notifier.observe(WELL, [], ())

    attended(notifier, lambda: len(receiver.got) == 2)

    assert receiver.titles == ["auto-heal: api is sick", "auto-heal: api is healed"]
    assert len(told) == 1


@pytest.mark.usefixtures("unsent")
def test_when_too_many_wait_the_oldest_go_and_it_is_told_once(make: Make, told: list[str]) -> None:
    notifier = make("json://127.0.0.1:9/")

    for _ in range(messenger.MOST_WAITING):
        observe(notifier, "api=healed")
    observe(notifier, "db=sick")

    assert told == [f"notify.urls[0] (json): more than {messenger.MOST_WAITING} messages wait, the oldest are dropped"]
    assert len(waiting(notifier)) == messenger.MOST_WAITING
    assert waiting(notifier)[-1].title.startswith("auto-heal: db is sick")


def test_a_messenger_is_alone_in_its_session_and_inherits_nothing(project: Sandbox, hung: str, make: Make) -> None:
    notifier = make(hung)
    with open(project.root / "inherited", "w", encoding="ascii") as file:
        os.set_inheritable(file.fileno(), True)

        notifier.observe(SICK, [], ())

    [process] = wait_for(messengers)
    assert os.getsid(process.pid) == process.pid
    assert not [opened for opened in process.open_files() if opened.path.endswith("inherited")]


# The end.


def test_the_end_waits_for_what_is_under_way(receiver: Receiver, make: Make, told: list[str]) -> None:
    notifier = make(receiver.url)
    observe(notifier, "api=healed")
    observe(notifier, "db=sick")

    notifier.close(DEADLINE)

    assert len(receiver.got) == 3
    assert told == []
    assert idle(notifier)


def test_the_end_waits_no_longer_than_it_may(
    receiver: Receiver, hung: str, make: Make, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messenger, "MOST_AT_WORK", 1)
    notifier = make(hung, receiver.url)
    notifier.observe(SICK, [], ())

    notifier.close(0.1)
    notifier.close(0.1)

    assert told == [f"notify.urls[{number}] (json): not done when the monitor ended" for number in (0, 1)]
    assert idle(notifier)
    assert not messengers()


# Secrets.


def test_no_secret_of_a_url_stands_where_others_read_it(hung: str, make: Make) -> None:
    notifier = make(hung)

    notifier.observe(SICK, [], ())

    [process] = wait_for(messengers)
    assert SECRET not in str(process.cmdline())
    assert SECRET not in str(process.environ())


def test_no_secret_of_a_url_is_told(receiver: Receiver, make: Make, told: list[str]) -> None:
    receiver.status = 403
    missing = f"json://{SECRET}@127.0.0.1:{free_port()}/{SECRET}"
    notifier = make(receiver.url.replace("json", "xml"), missing, f"unknown://{SECRET}", SECRET)

    notifier.observe(SICK, [], ())
    attended(notifier, lambda: idle(notifier))

    assert SECRET not in str(told)
    assert sorted(line.partition(": ")[0] for line in told) == [
        "notify.urls[0] (xml)", "notify.urls[1] (json)", "notify.urls[2] (unknown)", "notify.urls[3]",
    ]  # fmt: skip


def test_each_url_of_an_errand_is_told_with_what_befell_it(receiver: Receiver) -> None:
    receiver.status = 403
    urls = {"first": receiver.url, "second": f"json://127.0.0.1:{free_port()}/", "third": f"{SECRET}://"}
    errand = messenger.Errand(urls, [messenger.Message("title", "body", "failure")])

    done = subprocess.run(
        messenger._COMMAND, cwd=messenger._HOME, input=msgspec.json.encode(errand), capture_output=True
    )

    assert done.returncode == 1
    assert done.stderr.decode() == (
        "first: the answer was status 403; second: it could not be reached; "
        "third: apprise does not take this URL; `apprise --details` lists those that it does\n"
    )


def test_a_messenger_says_one_line_of_its_own_whatever_else_is_printed(tmp_path: Any) -> None:
    (tmp_path / "apprise.py").write_text(
        "import os, sys\n"
        f"print({SECRET!r}, flush=True)\n"
        f"print({SECRET!r}, file=sys.stderr, flush=True)\n"
        f"os.system('echo {SECRET} >&2')\n"
        f"def AppriseAsset(**_): raise ValueError({SECRET!r})\n"
    )

    done = subprocess.run(
        [sys.executable, "-m", "remediation.monitor.messenger"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, cwd=messenger._HOME,
        input='{"urls": {"here": "json://x"}, "messages": []}', capture_output=True, text=True,
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (1, "", "the messenger failed: ValueError\n")


# What must be there before the monitor starts.


def test_nothing_is_required_without_urls(project: Sandbox) -> None:
    require(configured(project))


def test_urls_that_apprise_takes_are_accepted_and_nothing_is_sent(project: Sandbox, receiver: Receiver) -> None:
    require(configured(project, receiver.url, f"mailto://user:{SECRET}@example.com"))

    assert receiver.got == []


@pytest.mark.parametrize("url", [f"unknown://{SECRET}", f"tgram://{SECRET}", SECRET, f"json:{SECRET}", "json://"])
def test_a_url_that_apprise_does_not_take_is_named_by_its_place(project: Sandbox, url: str) -> None:
    broken = configured(project, "json://127.0.0.1:9/", url)

    with pytest.raises(ConfigError) as caught:
        require(broken)

    assert re.fullmatch(
        r"auto-heal\.toml: notify\.urls\[1\](?: \(\w+\))?: apprise does not take this URL; "
        "`apprise --details` lists those that it does",
        str(caught.value),
    )
    assert SECRET not in str(caught.value)


def test_an_apprise_that_does_not_load_is_told(project: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("broken/apprise.py", "import no_such_module\n")
    wanted = configured(project, "json://127.0.0.1:9/")
    monkeypatch.setenv("PYTHONPATH", str(project.root / "broken"))

    with pytest.raises(ConfigError, match=r"^auto-heal\.toml: apprise cannot be imported: No module named 'no_such"):
        require(wanted)


def test_an_apprise_that_hangs_is_told(project: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("broken/apprise.py", "import time\ntime.sleep(600)\n")
    wanted = configured(project, "json://127.0.0.1:9/")
    monkeypatch.setenv("PYTHONPATH", str(project.root / "broken"))
    monkeypatch.setattr(messenger, "LIMIT", 0.5)

    with pytest.raises(ConfigError, match=r"^auto-heal\.toml: apprise did not load within 0\.5s$"):
        require(wanted)

    assert not messengers()


def test_without_the_extra_one_sentence_names_it(project: Sandbox) -> None:
    configured(project, "json://127.0.0.1:9/")
    script = (
        "import sys, pathlib\n"
        "sys.modules['apprise'] = None\n"
        "from remediation.monitor.notify import require\n"
        "from remediation.project.config import load_project\n"
        "from remediation.project.schema import ConfigError\n"
        "try: require(load_project(pathlib.Path()))\n"
        "except ConfigError as error: print(error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project.root, env=project.environment(), capture_output=True, text=True
    )

    assert done.stdout == "auto-heal.toml: notify needs an extra: pip install 'pytest-auto-heal[notify]'\n", done
