"""A probe measures, returns it, keeps it, and fails with one sentence."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psutil
import pytest
import trustme
from answering import Server, serving
from certificates import context
from name_server import naming
from sandbox import DEADLINE, Sandbox, free_port, wait_for

from remediation.checks import probe as module
from remediation.checks.errors import ServiceDown
from remediation.checks.probe import Probe
from remediation.config.load import load_project
from remediation.config.schema import ConfigError
from remediation.messages.translation import translated
from remediation.state import heartbeats
from remediation.state.records import Measurement
from remediation.state.service_state import Store
from remediation.system.process import Identity


class Measured:
    """A probe, with what it shows and keeps."""

    def __init__(self, root: Path, seconds: float = 10.0) -> None:
        """Give it so many seconds."""
        project = load_project(root, {})
        self.shown: list[tuple[str, object]] = []
        self.kept: list[Measurement] = []
        self.probe = Probe(
            project, Store(project), deadline=time.monotonic() + seconds, properties=self.shown, measurements=self.kept
        )


@pytest.fixture
def measured(project: Sandbox) -> Measured:
    """A probe of the project, whose service has not been started."""
    return Measured(project.root)


@pytest.fixture
def probe(measured: Measured) -> Probe:
    """The same, for tests that look at nothing else."""
    return measured.probe


@pytest.fixture
def running(project: Sandbox) -> psutil.Process:
    """The process of the service, as if auto-heal had started it."""
    started = project.stranger_on_port()
    loaded = load_project(project.root, {})
    store, service = Store(loaded), loaded.services["api"]
    identity = Identity.of(started.pid)
    assert identity is not None
    with store.lock(service, timeout=5):
        store.remember_process(service, store.recall(service), identity)
    return psutil.Process(started.pid)


def problem(measure: Callable[[], object]) -> ServiceDown:
    """Return the failure of a measurement."""
    with pytest.raises(ServiceDown) as caught:
        measure()
    return caught.value


# What is kept.


def test_what_is_measured_is_returned_shown_and_kept(measured: Measured) -> None:
    with serving() as serve:
        place = f"127.0.0.1:{serve(b'').port}"
        took = measured.probe.tcp(place)

    assert 0 < took < 5
    assert [name for name, _ in measured.shown] == ["tcp"]
    assert measured.kept == [Measurement("tcp", took, "s")]


def test_the_second_of_a_kind_is_named(measured: Measured, project: Sandbox) -> None:
    other = project.write("other/file", "").parent
    measured.probe.disk(free="1 B")
    measured.probe.disk(other, free="1 B")
    measured.probe.disk(other, free="1 B")

    assert [name for name, _ in measured.shown] == ["disk", f"disk {other}"]
    assert [each.name for each in measured.kept] == ["disk", f"disk {other}"]


def test_what_is_above_its_limit_is_kept_too(measured: Measured) -> None:
    problem(lambda: measured.probe.disk(free="100%"))

    assert [each.name for each in measured.kept] == ["disk"]


def test_a_value_of_ones_own_is_shown_and_kept(measured: Measured) -> None:
    measured.probe.record("queue", 12, "messages")

    assert measured.shown == [("queue", "12 messages")]
    assert measured.kept == [Measurement("queue", 12.0, "messages")]


def test_a_name_with_control_characters_makes_no_report_unreadable(measured: Measured) -> None:
    measured.probe.record("a\x1b\n", 1, "x\ud800")

    assert measured.shown == [(r"a\x1b\n", r"1 x\ud800")]
    assert measured.kept == [Measurement(r"a\x1b\n", 1.0, r"x\ud800")]


def test_no_secret_is_kept_in_a_name(measured: Measured) -> None:
    measured.probe.command("true")
    measured.probe.command(["echo", "--password", "hunter2", "-u", "ann:hunter2 x"])
    measured.probe.record("http://ann:hunter2@h/", 1)

    assert [each.name for each in measured.kept][1:] == ["command echo --password *** -u ***", "http://***@h/"]
    assert "hunter2" not in str(measured.shown)


@pytest.mark.parametrize(
    ("name", "sentence"), [("", "name: is empty"), (None, "name: needs a text, not None"), ("a\0", "has a NUL")]
)
def test_what_has_no_name_is_not_kept(probe: Probe, name: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        probe.record(name, 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "12", None, 10**400])
def test_what_is_no_number_is_not_kept(probe: Probe, value: Any) -> None:
    with pytest.raises(ConfigError, match=r"probe\.record: .* is no finite number"):
        probe.record("queue", value)


# Mistakes in a check.

NO_APY = "no service is called 'apy' in auto-heal.toml; did you mean 'api'?"


@pytest.mark.parametrize(
    ("measure", "sentence"),
    [
        (lambda probe: probe.memory("apy", below="1 GiB"), NO_APY),
        (lambda probe: probe.cpu("database", below="80%"), "no service is called 'database' in auto-heal.toml; "),
        (lambda probe: probe.log("apy", without="x"), NO_APY),
        (lambda probe: probe.tcp("apy"), NO_APY),
        (lambda probe: probe.memory("api", below="500M"), "probe.memory: below: '500M' is no size such as "),
        (lambda probe: probe.memory("api", below=None), "probe.memory: below: None is neither a number nor a text"),
        (lambda probe: probe.memory("api", below=True), "probe.memory: below: True is neither a number nor a text"),
        (lambda probe: probe.cpu("api", below="much"), "probe.cpu: below: 'much' is no share such as 80%"),
        (lambda probe: probe.open_files("api", below="1 GiB"), "probe.open_files: below: '1 GiB' is no share"),
        (lambda probe: probe.disk(free="lots"), "probe.disk: free: 'lots' is no size such as"),
        (lambda probe: probe.memory("api", below=float("nan")), "probe.memory: below: nan is no limit; give 1 or more"),
        (lambda probe: probe.memory("api", below=-1), "probe.memory: below: -1 is no limit; give 1 or more"),
        (lambda probe: probe.cpu("api", below=0), "probe.cpu: below: 0 is no limit; give 0.001 or more"),
        (lambda probe: probe.open_files("api", below="120%"), "probe.open_files: below: '120%' is no limit; give from"),
        (lambda probe: probe.disk(free=0.1), "probe.disk: free: 0.1 is no limit; give 1 or more"),
        (lambda probe: probe.disk(free="200%"), "probe.disk: free: '200%' is no limit; give from 0.001 to 100"),
        (lambda probe: probe.tls("localhost", expires_in=-5), "probe.tls: expires_in: -5 is no limit; give 0 or more"),
        (lambda probe: probe.heartbeat("x", within=0), "probe.heartbeat: within: 0 is no limit; give 1 or more"),
        (lambda probe: probe.tls("localhost", expires_in="soon"), "probe.tls: expires_in: 'soon' is no duration"),
        (lambda probe: probe.tcp("localhost:99999"), "probe.tcp: 'localhost:99999' is no address such as"),
        (lambda probe: probe.tcp("::1"), "probe.tcp: '::1' is no address such as localhost:8787, [::1]:8787 or "),
        (lambda probe: probe.tls("localhost:http"), "probe.tls: 'localhost:http' is no address such as"),
        (lambda probe: probe.tcp("http://h:x"), "probe.tcp: 'http://h:x' is no URL"),
        (lambda probe: probe.tcp("ann:hunter2#x@h:1"), "probe.tcp: is no URL; in user and password, percent-encode"),
        (lambda probe: probe.dns("x", server="ns.example"), "probe.dns: 'ns.example' is no name server such as"),
        (lambda probe: probe.dns("x", "NOPE"), "probe.dns: 'NOPE' is no kind of record such as"),
        (lambda probe: probe.log("api", without="("), "probe.log: without: '(' is no regular expression: "),
        (lambda probe: probe.log("api", without=3), "probe.log: without: needs a text, not int"),
        (lambda probe: probe.log("api", without=b"x"), "probe.log: without: needs a text, not bytes"),
        (lambda probe: probe.log(None, without="x"), "probe.log: service: needs a text, not None"),
        (lambda probe: probe.log("a\0.log", without="x"), "probe.log: service: has a NUL character"),
        (lambda probe: probe.tcp(8787), "probe.tcp: address: needs a text, not int"),
        (lambda probe: probe.tls(None), "probe.tls: address: needs a text, not None"),
        (lambda probe: probe.tls("localhost", ca_file=1), "probe.tls: ca_file: needs a text, not int"),
        (lambda probe: probe.dns(None), "probe.dns: name: needs a text, not None"),
        (lambda probe: probe.dns("x", kind=1), "probe.dns: kind: needs a text, not int"),
        (lambda probe: probe.redis(None), "probe.redis: url: needs a text, not None"),
        (lambda probe: probe.postgres(None), "probe.postgres: dsn: needs a text, not None"),
        (lambda probe: probe.postgres("", None), "probe.postgres: query: needs a text, not None"),
        (lambda probe: probe.heartbeat(None, within="1h"), "probe.heartbeat: name: needs a text, not None"),
        (lambda probe: probe.disk(None), "probe.disk: path: needs a text, not None"),
        (lambda probe: probe.memory(["api"], below="1 GB"), "no service is called ['api'] in auto-heal.toml"),
        (lambda probe: probe.command(None), "probe.command: needs a list or a text, not None"),
        (lambda probe: probe.command("true \0"), "probe.command: words: has a NUL character"),
        (lambda probe: probe.command("true", env={"A": 5}), "probe.command: env.A: needs a text, not int"),
        (lambda probe: probe.command(""), "probe.command: is empty; give a program and its arguments"),
        (lambda probe: probe.command([]), "probe.command: is empty; give a program and its arguments"),
        (lambda probe: probe.command("echo 'x"), "probe.command: cannot be split as a shell would: "),
        (lambda probe: probe.command("true", cwd="/none/x"), "probe.command: cwd: /none/x is no folder"),
        (lambda probe: probe.tls("localhost", ca_file="/none"), "probe.tls: ca_file: /none does not exist"),
        (lambda probe: probe.redis("rediss://h", ca_file="/none"), "probe.redis: ca_file: /none does not exist"),
        (lambda probe: probe.redis("localhost"), "probe.redis: is no URL such as"),
        (lambda probe: probe.postgres("hunter2 x"), "probe.postgres: is no DSN such as"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_check_is_told_in_one_sentence(
    probe: Probe, measure: Callable[[Probe], object], sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        measure(probe)

    assert str(caught.value).startswith(sentence)
    assert "hunter2" not in str(caught.value)
    russian = translated(str(caught.value), "ru")
    assert re.search("[а-я]", russian), russian


def test_a_mistake_in_a_check_is_told_without_the_name_of_a_module(probe: Probe) -> None:
    with pytest.raises(ConfigError) as caught:
        probe.command("")

    assert caught.exconly() == "ConfigError: probe.command: is empty; give a program and its arguments"


@pytest.mark.parametrize(
    ("lacking", "measure", "sentence"),
    [
        (
            "dns.resolver",
            lambda probe: probe.dns("x"),
            "probe.dns needs dnspython; pip install 'pytest-auto-heal[dns]'",
        ),
        (
            "psycopg",
            lambda probe: probe.postgres(""),
            "probe.postgres needs psycopg; pip install 'pytest-auto-heal[postgres]'",
        ),
    ],
)
def test_a_package_that_is_missing_is_told_with_the_command_that_installs_it(
    probe: Probe, monkeypatch: pytest.MonkeyPatch, lacking: str, measure: Callable[[Probe], object], sentence: str
) -> None:
    monkeypatch.setitem(sys.modules, lacking, None)

    with pytest.raises(ConfigError) as caught:
        measure(probe)

    assert str(caught.value) == sentence


# The network.


def test_a_port_that_nobody_listens_on_is_told(probe: Probe) -> None:
    number = free_port()

    assert str(problem(lambda: probe.tcp(f"127.0.0.1:{number}"))) == f"TCP 127.0.0.1:{number}: Connection refused"


def test_a_service_is_an_address(project: Sandbox, probe: Probe, running: psutil.Process) -> None:
    assert running.is_running()
    assert probe.tcp("api") < 5
    late = Measured(project.root, 0.3).probe
    assert str(problem(lambda: late.tls("api", expires_in="1d"))) == f"TLS 127.0.0.1:{project.port}: timed out"


def test_records_that_are_missing_are_told(probe: Probe) -> None:
    with naming({("shop.example", "A"): ["192.0.2.7", "192.0.2.5"]}) as server:
        found = probe.dns("shop.example", server=server.place, contains="192.0.2.7")
        failure = problem(
            lambda: probe.dns("shop.example", "a", server=server.place, contains=["192.0.2.7", "192.0.2.9"])
        )

    assert found == ["192.0.2.5", "192.0.2.7"]
    assert str(failure) == "DNS shop.example: resolves to 192.0.2.5, 192.0.2.7, not to 192.0.2.9"


def secure(serve: Callable[..., Server], folder: Path, **times: Any) -> Server:
    """Start a server with a certificate whose authority is in ca.pem."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return serve(b"", context=context(authority.issue_cert("localhost", **times)))


@pytest.mark.parametrize(("days", "is_enough"), [(13, False), (15, True)])
def test_a_certificate_that_expires_too_soon_is_told(project: Sandbox, *, days: int, is_enough: bool) -> None:
    # Half an hour less than whole days, so that what is told does not depend on how long the test takes.
    left = timedelta(days=days, minutes=-30)
    measured, until = Measured(project.root), datetime.now(timezone.utc) + left
    with serving() as serve:
        place = f"localhost:{secure(serve, project.root, not_after=until).port}"

        def measure() -> object:
            return measured.probe.tls(place, expires_in="14d", ca_file="ca.pem")

        if is_enough:
            measure()
            assert str(measured.shown[0][1]).startswith("expires in 14d 23h")
        else:
            said = f"its certificate expires in 12d 23h, on {until:%Y-%m-%d}, which is sooner than 14d"
            assert str(problem(measure)) == f"TLS {place}: {said}"
    assert measured.kept[0].value == pytest.approx(left.total_seconds(), abs=600)


def test_a_certificate_that_nobody_signed_is_told(project: Sandbox, probe: Probe) -> None:
    with serving() as serve:
        number = secure(serve, project.root).port

        failure = problem(lambda: probe.tls(f"localhost:{number}"))

    assert "is signed by nobody whom this machine trusts" in str(failure)


# The processes of a service.


def test_a_limit_that_is_not_reached_is_no_failure(measured: Measured, running: psutil.Process) -> None:
    assert 0 < measured.probe.memory("api", below="1 GiB") < 1 << 30
    assert 0 <= measured.probe.cpu("api", below=1_000) < 1_000
    assert 3 <= measured.probe.open_files("api", below="80%") < 100
    assert running.is_running()
    assert [(each.name, each.unit) for each in measured.kept] == [("memory", "B"), ("cpu", "%"), ("open_files", "")]


def test_a_limit_that_is_reached_is_told_with_what_was_measured(probe: Probe, running: psutil.Process) -> None:
    memory = str(problem(lambda: probe.memory("api", below="1 MiB")))
    files = str(problem(lambda: probe.open_files("api", below=2)))
    share = str(problem(lambda: probe.open_files("api", below="0.001%")))

    assert memory.startswith("api: memory ")
    assert memory.endswith(" MiB, above 1 MiB (1 process)")
    assert files.startswith(f"api: process {running.pid} has ")
    assert files.endswith("; above 2")
    assert share.endswith("; above 0.001%")


def test_a_service_that_never_ran_is_told(probe: Probe) -> None:
    failure = problem(lambda: probe.memory("api", below="1 GiB"))

    assert str(failure) == "api: its process is not running"
    assert failure.retry_is_pointless
    assert not failure.heals_nothing


def test_a_service_that_was_stopped_by_hand_is_told(project: Sandbox, probe: Probe) -> None:
    project.auto_heal("stop")

    assert "stopped by hand" in str(problem(lambda: probe.cpu("api", below="80%")))


def test_a_service_that_something_else_runs_is_told_and_not_healed(project: Sandbox) -> None:
    project.configure(command='restart = ["true"]')

    failure = problem(lambda: Measured(project.root).probe.open_files("api", below="80%"))

    assert str(failure) == "api: something else runs it, so its process is not ours to know"
    assert failure.heals_nothing


# This machine.


def test_a_disk_with_too_little_space_is_told(probe: Probe) -> None:
    assert probe.disk(free=1) > 1
    assert probe.disk(free="0.001%") > 1
    assert " free (" in str(problem(lambda: probe.disk(free="100000 TiB")))
    assert str(problem(lambda: probe.disk(free="100%"))).endswith("%), less than 100%")


def test_a_disk_that_is_not_there_heals_nothing(probe: Probe) -> None:
    failure = problem(lambda: probe.disk("none", free="1%"))

    assert str(failure) == "none: its free space cannot be read: No such file or directory"
    assert failure.heals_nothing


def test_the_output_of_a_command_is_returned(measured: Measured, project: Sandbox) -> None:
    assert measured.probe.command(["pwd"]) == f"{project.root.resolve()}\n"
    assert measured.probe.command("sh -c 'echo $KEY'", env={"KEY": "x"}) == "x\n"
    assert [each.unit for each in measured.kept] == ["s", "s"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("sh -c 'echo full >&2; exit 3'", "`sh -c echo full >&2; exit 3` exited with status 3; it said: full"),
        ("false", "`false` exited with status 1"),
        ("no-such-program", "`no-such-program` cannot be run: No such file or directory"),
        ("sh -c 'kill -9 $$'", "`sh -c kill -9 $$` was killed by SIGKILL"),
        ("yes", "`yes` printed more than is kept; it said: y"),
    ],
)  # fmt: skip
def test_a_command_that_fails_is_told(probe: Probe, words: str, sentence: str) -> None:
    assert str(problem(lambda: probe.command(words))) == sentence


def test_a_command_is_killed_at_the_deadline_with_all_that_it_started(project: Sandbox) -> None:
    measured, began = Measured(project.root, 0.6), time.monotonic()

    failure = problem(lambda: measured.probe.command(f"sh -c 'sleep 600 & echo $! > {project.root}/child; wait'"))

    assert str(failure).endswith("did not end in time")
    assert time.monotonic() - began < 2
    child = int((project.root / "child").read_text())
    wait_for(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


# Logs.


@pytest.fixture
def next_round(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what makes this process the one of another round."""
    return lambda: monkeypatch.setattr(module, "_starts", {})


def test_a_line_fails_all_attempts_of_its_round_and_none_of_the_next(
    project: Sandbox, measured: Measured, next_round: Callable[[], None]
) -> None:
    log = project.write("api-server.log", "well\nERROR: disk\n")

    for _ in range(2):
        failure = problem(lambda: measured.probe.log("api", without="ERROR"))
        assert str(failure) == "api-server.log has 'ERROR' in 1 new line, first: ERROR: disk"
    next_round()

    assert Measured(project.root).probe.log("api", without="ERROR") == 0
    with log.open("a") as file:
        file.write("well\n")
    assert Measured(project.root).probe.log("api", without="ERROR") == 1
    assert Measured(project.root).probe.log("api", without="other") == 3


def test_each_check_has_its_own_position(project: Sandbox, probe: Probe, next_round: Callable[[], None]) -> None:
    project.write("api-server.log", "ERROR: disk\n")

    probe.log("api", without="other")
    next_round()

    problem(lambda: probe.log("api", without="ERROR"))


@pytest.mark.parametrize("path", ["logs/app.log", "app.log"])
def test_a_path_is_relative_to_the_project(project: Sandbox, probe: Probe, path: str) -> None:
    project.write(path, "ERROR\n")

    assert str(problem(lambda: probe.log(path, without="ERR"))).startswith(f"{path} has 'ERR' in 1 new line")
    assert str(problem(lambda: probe.log(Path(path), without="ERR"))).startswith(f"{path} has 'ERR' in 1 new line")


@pytest.mark.parametrize(("content", "shown"), [("a\n", "1 line"), ("a\nb\n", "2 lines")])
def test_lines_are_counted_in_english(measured: Measured, project: Sandbox, content: str, shown: str) -> None:
    measured.probe.log(project.write("x.log", content), without="x")

    assert measured.shown == [("log", shown)]


def test_a_log_that_is_not_there_heals_nothing(probe: Probe) -> None:
    failure = problem(lambda: probe.log("api", without="ERROR"))

    assert str(failure) == "api-server.log cannot be read: No such file or directory"
    assert failure.heals_nothing


def test_a_secret_in_a_line_is_not_told(project: Sandbox, probe: Probe) -> None:
    project.write("api-server.log", "ERROR password=hunter2\n")

    assert "hunter2" not in str(problem(lambda: probe.log("api", without="ERROR")))


# Any thread.


def test_probes_can_be_used_in_any_thread(project: Sandbox) -> None:
    project.write("api-server.log", "well\n")
    measured, done = Measured(project.root), list[object]()

    def work(number: int) -> None:
        done.append(measured.probe.disk(free="1 B"))
        done.append(measured.probe.log("api", without=f"ERROR {number}"))
        done.append(measured.probe.command(["echo", str(number)]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(done) == 12


# What nobody can ask.


def test_a_heartbeat_is_measured_by_its_age_and_a_retry_cannot_help_one_that_is_late(
    measured: Measured, project: Sandbox
) -> None:
    with pytest.raises(ServiceDown, match=r"^backup: no heartbeat yet") as caught:
        measured.probe.heartbeat("backup", within="25h")
    heartbeats.send(project.root / ".auto-heal", "backup")

    age = measured.probe.heartbeat("backup", within="25h")

    assert caught.value.retry_is_pointless
    assert 0 <= age < DEADLINE
    assert [(one.name, one.value) for one in measured.kept] == [("heartbeat", age)]


def test_a_name_or_a_limit_that_cannot_be_is_a_mistake_in_the_check(probe: Probe) -> None:
    with pytest.raises(ConfigError, match="no name of a heartbeat"):
        probe.heartbeat("a b", within="25h")
    with pytest.raises(ConfigError, match="is no duration"):
        probe.heartbeat("backup", within="soon")
