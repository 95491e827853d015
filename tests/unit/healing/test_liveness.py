"""The liveness probe of a service: true in every state of its process, and always in time."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest
from sandbox import DEADLINE, SERVE, Sandbox, wait_for

from remediation.config.load import load_project
from remediation.config.model import Service
from remediation.engines import ownership
from remediation.engines.engine import Condition
from remediation.healing import liveness
from remediation.probes import readiness
from remediation.state.history import History
from remediation.state.records import CheckOutcome, Result, Run
from remediation.state.service_state import ServiceState, Store
from remediation.system.endpoints import TcpEndpoint
from remediation.system.process import Identity, descendants, terminate

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def configured(project: Sandbox, service: str = "", command: str = 'command = "true"') -> tuple[Service, Store]:
    """Return the service of the project and its store."""
    project.configure(service, command=command)
    found = load_project(project.root, {})
    return found.services["api"], Store(found)


Serve = Callable[..., list[bytes]]


@pytest.fixture
def serve(project: Sandbox) -> Iterator[Serve]:
    """Answer on the project's port with these bytes, or with several in turn; return the requests."""
    over = threading.Event()
    with ExitStack() as stack:

        def serve(answer: bytes, *, drip: bytes = b"", host: str = "127.0.0.1") -> list[bytes]:
            requests: list[bytes] = []
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            server = stack.enter_context(socket.create_server((host, project.port), family=family))
            server.settimeout(0.05)

            def converse(client: socket.socket) -> None:
                requests.append(client.recv(65_536))
                client.sendall(answer)
                while drip and not over.wait(0.05):
                    client.sendall(drip)

            def work() -> None:
                while not over.is_set():
                    with suppress(OSError):
                        client, _ = server.accept()
                        with client:
                            client.settimeout(DEADLINE)
                            converse(client)

            thread = threading.Thread(target=work)
            thread.start()
            stack.callback(thread.join)
            stack.callback(over.set)
            return requests

        yield serve


def running(project: Sandbox, service: Service, store: Store) -> Identity:
    """Start a process, and store it as the service's."""
    identity = Identity.of(project.stranger("sleep", "600").pid)
    assert identity is not None
    store.remember_process(service, ServiceState(), identity)
    return identity


# Its process.


def test_a_service_that_was_never_started_is_dead(project: Sandbox) -> None:
    service, store = configured(project)

    assert liveness.condition(service, store) is Condition.DEAD
    assert liveness.hopeless(service, store) == "api: its process is not running"
    assert not liveness.retry_can_help(service, store)


def test_a_service_whose_process_lives_is_running_whether_it_answers_or_not(project: Sandbox) -> None:
    service, store = configured(project)
    running(project, service, store)

    assert liveness.condition(service, store) is Condition.RUNNING
    assert liveness.hopeless(service, store) is None
    assert liveness.retry_can_help(service, store)


def test_a_suspended_process_is_told(project: Sandbox) -> None:
    service, store = configured(project)
    identity = running(project, service, store)

    os.kill(identity.pid, signal.SIGSTOP)

    wait_for(lambda: liveness.condition(service, store) is Condition.SUSPENDED)
    assert liveness.hopeless(service, store) == f"api: its process {identity.pid} is stopped (SIGSTOP)"
    assert not liveness.retry_can_help(service, store)


@pytest.mark.parametrize(("taken", "expected"), [(False, Condition.DEAD), (True, Condition.REPLACED)])
def test_a_process_that_died_is_dead_or_replaced(
    project: Sandbox, serve: Serve, *, taken: bool, expected: Condition
) -> None:
    service, store = configured(project)
    identity = running(project, service, store)
    terminate(lambda: [identity], timeout=DEADLINE)
    if taken:
        serve(OK)

    assert liveness.condition(service, store) is expected
    assert not liveness.retry_can_help(service, store)


@pytest.mark.parametrize(("answer", "hopeless"), [(OK, False), (b"", True)], ids=["by hand", "silent"])
def test_only_whoever_answers_in_place_of_a_dead_process_is_asked_further(
    project: Sandbox, serve: Serve, *, answer: bytes, hopeless: bool
) -> None:
    service, store = configured(project, 'ready = "/api/health"')
    store.keep(service, ServiceState(pid=os.getpid(), born="long ago"))
    serve(answer)

    reason = liveness.hopeless(service, store)

    assert (reason is not None) == hopeless
    assert liveness.condition(service, store) is Condition.REPLACED


def test_whoever_got_the_pid_of_the_service_does_not_make_it_running(project: Sandbox) -> None:
    service, store = configured(project)
    identity = running(project, service, store)
    store.remember_process(service, ServiceState(), Identity(identity.pid, identity.born + "0"))

    assert liveness.condition(service, store) is Condition.DEAD


def test_somebody_unproven_who_answers_leaves_it_to_the_checks(project: Sandbox, serve: Serve) -> None:
    service, store = configured(project)
    serve(OK)

    assert liveness.condition(service, store) is Condition.UNKNOWN
    assert liveness.retry_can_help(service, store)


def test_a_service_that_something_else_runs_is_left_to_the_checks(project: Sandbox) -> None:
    service, store = configured(project, command='restart = "true"')

    assert liveness.condition(service, store) is Condition.UNKNOWN
    assert liveness.hopeless(service, store) is None


def test_a_service_stopped_by_hand_is_that_even_if_it_runs(project: Sandbox) -> None:
    service, store = configured(project)
    running(project, service, store)
    state = store.recall(service)
    state.stopped_by_hand = True
    store.keep(service, state)

    assert liveness.condition(service, store) is Condition.BY_HAND
    assert liveness.hopeless(service, store) == "api: stopped by hand; run `auto-heal start api` to resume healing"


# Its answer.


@pytest.mark.parametrize(
    ("status", "ready"),
    [(200, True), (204, True), (299, True), (300, False), (302, False), (404, False), (500, False), (503, False)],
)
def test_a_service_is_ready_when_it_answers_2xx(project: Sandbox, serve: Serve, *, status: int, ready: bool) -> None:
    service, _ = configured(project)
    requests = serve(f"HTTP/1.1 {status} Any\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".encode())

    assert readiness.answers(service, timeout=DEADLINE) is ready

    assert [request.splitlines()[0] for request in requests] == [b"GET /api/health HTTP/1.1"]


@pytest.mark.parametrize("answer", [b"", b"\r\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 \xff\r\n\r\n", b"x" * 100_000, b"\0"])
def test_an_answer_that_is_no_http_is_none(project: Sandbox, serve: Serve, answer: bytes) -> None:
    service, _ = configured(project)
    serve(answer)

    assert not readiness.answers(service, timeout=5)


def test_a_port_that_refuses_is_no_answer(project: Sandbox) -> None:
    service, _ = configured(project)

    assert not readiness.answers(service, timeout=DEADLINE)
    assert not readiness.answers(configured(project, 'ready = "tcp"')[0], timeout=DEADLINE)
    assert readiness.answers(configured(project, 'ready = "none"')[0], timeout=DEADLINE)


def test_the_path_of_the_url_comes_before_that_of_readiness(project: Sandbox, serve: Serve) -> None:
    service, _ = configured(project, f'url = "{project.url}/base/"')
    requests = serve(OK)

    assert readiness.answers(service, timeout=DEADLINE)

    assert requests[0].startswith(b"GET /base/api/health HTTP/1.1\r\n")
    assert f"\r\nHost: 127.0.0.1:{project.port}\r\n".encode() in requests[0]


def test_a_body_is_not_waited_for(project: Sandbox, serve: Serve) -> None:
    service, _ = configured(project)
    serve(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", drip=b"x")

    assert readiness.answers(service, timeout=DEADLINE)


@pytest.mark.parametrize(
    ("answer", "drip"),
    [
        (b"HTTP/1.1 2", b"0"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
def test_an_answer_that_trickles_does_not_stretch_the_deadline(
    project: Sandbox, serve: Serve, answer: bytes, drip: bytes
) -> None:
    service, _ = configured(project)
    serve(answer, drip=drip)
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(readiness.answers(service, timeout=0.5)), daemon=True)
    thread.start()

    thread.join(5)

    assert not thread.is_alive()


def test_an_answer_over_ipv6_is_an_answer(project: Sandbox, serve: Serve) -> None:
    service, _ = configured(project, f'url = "http://[::1]:{project.port}"')
    try:
        serve(OK, host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")

    assert readiness.answers(service, timeout=DEADLINE)


def test_a_tcp_service_is_ready_when_it_accepts(project: Sandbox, serve: Serve) -> None:
    service, _ = configured(project, f'url = "tcp://127.0.0.1:{project.port}"\nready = "tcp"')
    serve(b"")

    assert readiness.answers(service, timeout=DEADLINE)


def test_the_longest_timeout_that_may_be_configured_is_no_error(project: Sandbox, serve: Serve) -> None:
    project.configure(top="timeout = 1e6")
    service = load_project(project.root, {}).services["api"]
    serve(OK)

    assert readiness.answers(service, timeout=service.probe_timeout)


# How often, and whose port.


def test_polls_come_quickly_at_first_and_then_less_often_until_the_time_is_over() -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        time.sleep(seconds)

    start = time.monotonic()
    left = list(readiness.polls(0.5, sleep))

    assert time.monotonic() - start >= 0.5
    assert len(left) == len(pauses) + 1
    assert left == sorted(left, reverse=True)
    assert 0 < left[-1] < left[0] <= 0.5
    assert pauses[0] <= 0.05
    assert all(0 < pause <= 0.25 for pause in pauses)


@pytest.mark.parametrize("timeout", [0.0, -1.0, 0.001])
def test_there_is_one_poll_at_least_with_some_time_for_it(timeout: float) -> None:
    assert all(left > 0 for left in [next(readiness.polls(timeout)), *readiness.polls(timeout)])


def test_a_port_is_owned_by_its_listener_and_its_ancestors_but_by_nobody_else(project: Sandbox) -> None:
    server = project.stranger("sh", "-c", f"{SERVE} & wait", HOST="127.0.0.1", PORT=str(project.port))
    bystander = project.stranger("sleep", "600")
    wait_for(project.answers)
    root = Identity.of(server.pid)
    assert root is not None
    family = descendants([root])
    try:
        assert ownership.owns(TcpEndpoint("127.0.0.1", project.port), server.pid)
        assert ownership.owns(TcpEndpoint("127.0.0.1", project.port), family[-1].pid)
        assert not ownership.owns(TcpEndpoint("127.0.0.1", project.port), bystander.pid)
        assert not ownership.owns(TcpEndpoint("127.0.0.1", project.port), 2**22 + 1)
        assert not ownership.owns(TcpEndpoint("127.0.0.1", project.port + 1), server.pid)
    finally:
        terminate(lambda: family, timeout=DEADLINE)


# The first start.


@pytest.mark.parametrize(
    "state",
    [
        ServiceState(pid=4, born="1"), ServiceState(start="mark"), ServiceState(heals=1),
        ServiceState(stopped_by_hand=True), ServiceState(session=(4, "1")),
    ],
    ids=["process", "start", "heal", "stop", "session"],
)  # fmt: skip
def test_a_service_that_anybody_started_or_stopped_has_run(project: Sandbox, state: ServiceState) -> None:
    service, store = configured(project)
    before = liveness.never_ran(service, store)

    store.keep(service, state)

    assert before
    assert not liveness.never_ran(service, store)


@pytest.mark.parametrize(("passed_at", "never"), [(2.0, False), (None, True)])
def test_a_service_that_a_run_found_healthy_has_run(project: Sandbox, passed_at: float | None, *, never: bool) -> None:
    service, store = configured(project)
    failed_at = 1.0 if passed_at is None else None
    outcome = CheckOutcome.FAILED if passed_at is None else CheckOutcome.PASSED
    found = Result("service", "api", "api", ["api"], 1.0, outcome, failed_at, passed_at)

    History(store.project).record_run(Run(1.0, 2.0, "check", "", None, [found]))

    assert liveness.never_ran(service, store) is never


def test_a_service_that_something_else_runs_has_no_first_start(project: Sandbox) -> None:
    service, store = configured(project, command='restart = ["true"]')

    assert not liveness.never_ran(service, store)
