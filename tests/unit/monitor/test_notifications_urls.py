"""The URLs of notifications: they are checked before the monitor starts, and their secrets appear nowhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from incidents import SICK, Make, attended, configured, idle, notifying
from receiving import SECRET, Receiver, answering, hanging, messengers
from sandbox import Sandbox, free_port, wait_for

from remediation.config.schema import ConfigError
from remediation.monitor import notification_worker
from remediation.monitor.notifications import require


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that answers."""
    with answering() as receiver:
        yield receiver


@pytest.fixture
def hung() -> Iterator[str]:
    """The URL of a receiver that accepts connections and never answers."""
    with hanging() as url:
        yield url


@pytest.fixture
def told() -> list[str]:
    """The messages to the user."""
    return []


@pytest.fixture
def make(project: Sandbox, told: list[str]) -> Iterator[Make]:
    """Make a notifier for these URLs."""
    with notifying(project, told) as make:
        yield make


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
    errand = notification_worker.Delivery(urls, [notification_worker.Notification("title", "body", "failure")])

    done = subprocess.run(
        notification_worker._COMMAND,
        cwd=notification_worker._HOME,
        input=msgspec.json.encode(errand),
        capture_output=True,
    )

    assert done.returncode == 1
    assert done.stderr.decode() == (
        "first: the answer was status 403; second: it could not be reached; "
        "third: apprise does not take this URL; `apprise --details` lists those that it does\n"
    )


def test_a_slow_receiver_is_told_apart_from_one_that_cannot_be_reached(receiver: Receiver) -> None:
    receiver.answers.clear()
    urls = {"slow": f"{receiver.url}?rto=0.3"}
    errand = notification_worker.Delivery(urls, [notification_worker.Notification("title", "body", "failure")])

    done = subprocess.run(
        notification_worker._COMMAND,
        cwd=notification_worker._HOME,
        input=msgspec.json.encode(errand),
        capture_output=True,
    )

    assert done.stderr.decode() == "slow: no answer within 0.3s; it may have arrived\n"
    assert receiver.titles == ["title"]


def test_a_receiver_has_longer_to_answer_than_apprise_gives_it() -> None:
    code = (
        "from apprise.plugins.custom_json import NotifyJSON\n"
        "from remediation.monitor.notification_worker import Delivery, Notification, send\n"
        "NotifyJSON.send = lambda self, **_: print(self.socket_read_timeout) or True\n"
        "urls = {'plain': 'json://127.0.0.1/', 'own': 'json://127.0.0.1/?rto=3'}\n"
        "print(send(Delivery(urls, [Notification('title', 'body', 'failure')])))\n"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=notification_worker._HOME, capture_output=True, text=True)

    assert done.stdout.split() == ["10.0", "3.0", "[]"], done


def test_a_messenger_says_one_line_of_its_own_whatever_else_is_printed(tmp_path: Any) -> None:
    (tmp_path / "apprise.py").write_text(
        "import os, sys\n"
        f"print({SECRET!r}, flush=True)\n"
        f"print({SECRET!r}, file=sys.stderr, flush=True)\n"
        f"os.system('echo {SECRET} >&2')\n"
        f"def AppriseAsset(**_): raise ValueError({SECRET!r})\n"
    )

    done = subprocess.run(
        [sys.executable, "-m", "remediation.monitor.notification_worker"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, cwd=notification_worker._HOME,
        input='{"urls": {"here": "json://x"}, "messages": []}', capture_output=True, text=True,
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (1, "", "the messenger failed: ValueError\n")


# What must be there before the monitor starts.


def test_nothing_is_required_without_urls(project: Sandbox) -> None:
    require(configured(project))


def test_urls_that_apprise_takes_are_accepted_and_nothing_is_sent(project: Sandbox, receiver: Receiver) -> None:
    require(configured(project, receiver.url, f"mailto://user:{SECRET}@example.com"))

    assert receiver.got == []


@pytest.mark.soak
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
    monkeypatch.setattr(notification_worker, "LIMIT", 0.5)

    with pytest.raises(ConfigError, match=r"^auto-heal\.toml: apprise did not load within 0\.5s$"):
        require(wanted)

    assert not messengers()


def test_without_the_extra_one_sentence_names_it(project: Sandbox) -> None:
    configured(project, "json://127.0.0.1:9/")
    script = (
        "import sys, pathlib\n"
        "sys.modules['apprise'] = None\n"
        "from remediation.monitor.notifications import require\n"
        "from remediation.config.load import load_project\n"
        "from remediation.config.schema import ConfigError\n"
        "try: require(load_project(pathlib.Path()))\n"
        "except ConfigError as error: print(error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project.root, env=project.environment(), capture_output=True, text=True
    )

    assert done.stdout == "auto-heal.toml: notify needs a package: pip install apprise\n", done
