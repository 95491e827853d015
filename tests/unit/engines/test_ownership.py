"""Which processes belong to a service, and which may be ended: decided on real processes with marks."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Literal

import pytest
from msgspec.structs import replace
from sandbox import Sandbox, free_port, wait_for

from remediation.config.model import Address, Service
from remediation.engines import ownership
from remediation.engines.errors import ForeignPortError, HealError
from remediation.messages.message import Message
from remediation.state.service_state import ServiceState
from remediation.system.endpoints import TcpEndpoint
from remediation.system.environment import SERVICE_MARK, START_MARK
from remediation.system.ports import Listener
from remediation.system.process import Identity, Life, describe, value_of

# Starts a child with changes to the environment, prints its PID, and ends it when its own input ends.
PARENT = """
import json, os, subprocess, sys
changes = json.loads(sys.argv[1])
environ = {name: value for name, value in {**os.environ, **changes}.items() if value is not None}
child = subprocess.Popen(["sleep", "600"], env=environ)
print(child.pid, flush=True)
sys.stdin.read()
child.kill()
child.wait()
"""
GONE = 2**22 + 1

Start = Callable[..., Identity]
StartFamily = Callable[..., tuple[Identity, Identity]]


@pytest.fixture
def start(project: Sandbox) -> Start:
    """Start a process with these variables in its environment."""

    def start(**variables: str) -> Identity:
        return known(project.stranger("sleep", "600", **variables).pid, variables)

    return start


@pytest.fixture
def start_family() -> Iterator[StartFamily]:
    """Start a process with these variables in its environment, and a child of it with some of them changed."""
    started: list[subprocess.Popen[bytes]] = []

    def start_family(variables: dict[str, str], **changes: str | None) -> tuple[Identity, Identity]:
        words, pipe = [sys.executable, "-c", PARENT, json.dumps(changes)], subprocess.PIPE
        process = subprocess.Popen(words, env=Sandbox.environment(**variables), stdin=pipe, stdout=pipe)
        started.append(process)
        assert process.stdout is not None
        child = int(process.stdout.readline())
        inherited = {name: value for name, value in {**variables, **changes}.items() if value is not None}
        return known(process.pid, variables), known(child, inherited)

    yield start_family
    for process in started:
        process.communicate()


@pytest.fixture
def listening() -> Iterator[int]:
    """Return a port on which this process listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def known(pid: int, variables: dict[str, str]) -> Identity:
    """Return the identity of a process as soon as its environment has these variables."""
    # While it executes a program, it has no environment to be found by.
    wait_for(lambda: all(value_of(name, pid) == value for name, value in variables.items()))
    identity = Identity.of(pid)
    assert identity is not None
    return identity


def stored(identity: Identity) -> ServiceState:
    """Return the state of a service whose last start is this process."""
    return ServiceState(pid=identity.pid, born=identity.born)


def ourselves() -> Identity:
    """Return the identity of this process, which is protected."""
    identity = Identity.of(os.getpid())
    assert identity is not None
    return identity


def marked(service: Service) -> dict[str, str]:
    """Return the mark of a service, as a variable of the environment."""
    return {SERVICE_MARK: service.mark}


# The root.


def test_the_only_marked_process_is_the_root(service: Service, start: Start) -> None:
    identity = start(**marked(service))

    assert ownership.marked_root(service, ServiceState()) == identity


def test_a_marked_process_with_a_marked_child_is_the_root(service: Service, start_family: StartFamily) -> None:
    parent, _ = start_family(marked(service))

    assert ownership.marked_root(service, ServiceState()) == parent


def test_of_several_marked_processes_none_is_the_root(service: Service, start: Start) -> None:
    start(**marked(service))
    start(**marked(service))

    assert ownership.marked_root(service, ServiceState()) is None


def test_a_service_without_processes_has_no_root(service: Service) -> None:
    assert ownership.marked_root(service, ServiceState()) is None


def test_a_process_that_ended_while_its_ancestors_were_looked_up_has_none() -> None:
    assert ownership._ancestors(Identity(GONE, "any")) == set()


# The processes that are proven to be the service's.


def test_a_process_in_the_state_is_the_services_with_a_mark_or_without(service: Service, start: Start) -> None:
    without, with_mark = start(), start(**marked(service))

    assert ownership.roots(service, stored(with_mark)).own == [with_mark]
    assert ownership.roots(service, stored(without)).own == [without, with_mark]
    assert ownership.roots(service, ServiceState()).own == [with_mark]


def test_a_process_that_got_the_pid_in_the_state_is_not_the_services(service: Service, start: Start) -> None:
    stranger = start()

    assert ownership.roots(service, stored(replace(stranger, born="before"))).own == []


def test_the_mark_of_its_start_finds_a_process_whose_folder_has_moved(service: Service, start: Start) -> None:
    moved = start(**{SERVICE_MARK: "/old/place:api", START_MARK: "start"})

    assert ownership.roots(service, ServiceState(start="start")).own == [moved]
    assert ownership.roots(service, ServiceState(start="another")).own == []


@pytest.mark.parametrize("variables", [{}, {SERVICE_MARK: "/old/place:db"}], ids=["no mark", "of another service"])
def test_a_process_that_has_another_mark_or_none_has_left_the_service(
    service: Service, start: Start, variables: dict[str, str]
) -> None:
    start(**{START_MARK: "start", **variables})

    assert ownership.roots(service, ServiceState(start="start")).own == []


def test_a_state_without_a_start_claims_no_process_without_one(service: Service, start: Start) -> None:
    start(**{SERVICE_MARK: "/old/place:api", START_MARK: ""})

    assert ownership.roots(service, ServiceState()).own == []


# Its family.


@pytest.mark.parametrize("child_mark", ["inherited", "removed"])
def test_the_descendants_of_its_processes_are_the_services(
    service: Service, start_family: StartFamily, child_mark: str
) -> None:
    parent, child = start_family(marked(service), **({} if child_mark == "inherited" else {SERVICE_MARK: None}))

    assert ownership.family(service, ServiceState()) == [parent, child]


def test_a_descendant_with_the_mark_of_another_service_is_not_the_services(
    service: Service, start_family: StartFamily
) -> None:
    parent, _ = start_family(marked(service), **{SERVICE_MARK: "/another/place:db"})

    assert ownership.family(service, ServiceState()) == [parent]


def test_a_descendant_whose_parent_began_before_the_folder_moved_is_the_services(
    service: Service, start_family: StartFamily
) -> None:
    parent, child = start_family({SERVICE_MARK: "/old/place:api", START_MARK: "start"})

    assert ownership.family(service, ServiceState(start="start")) == [parent, child]


def test_a_marked_descendant_of_an_unmarked_process_in_the_state_is_the_services(
    service: Service, start_family: StartFamily
) -> None:
    parent, child = start_family({}, **marked(service))

    assert ownership.family(service, stored(parent)) == [parent, child]


def test_a_protected_process_is_in_no_family(service: Service) -> None:
    assert ourselves() not in ownership.family(service, stored(ourselves()))


# What must not be ended.


def test_a_service_with_a_protected_process_cannot_be_ended(service: Service) -> None:
    error = ownership.untouchable(service, stored(ourselves()))

    assert isinstance(error, HealError)
    assert error.message.key == "out_of_bounds"
    assert error.message.values["name"] == "api"
    assert error.message.values["holder"] == describe(os.getpid())
    assert str(error.message.values["why"]) == "is auto-heal itself"


def test_a_service_whose_processes_may_all_be_ended_can_be(service: Service, start: Start) -> None:
    start(**marked(service))

    assert ownership.untouchable(service, ServiceState()) is None


# The port.


def test_a_process_owns_a_port_on_which_it_or_a_descendant_listens(listening: int, start: Start) -> None:
    assert ownership.owns(TcpEndpoint("127.0.0.1", listening), os.getpid())
    assert ownership.owns(TcpEndpoint("127.0.0.1", listening), os.getppid())
    assert not ownership.owns(TcpEndpoint("127.0.0.1", listening), start().pid)
    assert not ownership.owns(TcpEndpoint("127.0.0.1", listening), GONE)


def test_the_holders_of_a_port_are_its_processes_and_none_if_one_is_hidden(listening: int) -> None:
    own, hidden = Listener(os.getpid(), "127.0.0.1", listening), Listener(None, "127.0.0.1", free_port())

    assert ownership.holders([own]) == {os.getpid()}
    assert ownership.holders([own, hidden]) == {os.getpid(), None}


@pytest.mark.parametrize(
    ("holder", "free_port", "why"),
    [
        ("hidden", "user", "belongs to another user"),
        ("ourselves", "user", "is auto-heal itself"),
        ("stranger", "user", None),
        ("stranger", "own", "is not its own"),
        ("gone", "user", None),
        ("gone", "never", "listens there"),
    ],
)
def test_a_holder_of_the_port_may_be_ended_as_free_port_allows(
    service: Service, start: Start, holder: str, free_port: Literal["own", "user", "never"], why: str | None
) -> None:
    pid = {"hidden": None, "ourselves": os.getpid(), "stranger": start().pid, "gone": GONE}[holder]
    configured = replace(service, free_port=free_port)

    error = ownership.obstacle(configured, 8787, [pid])

    assert (error is None) == (why is None)
    if error and why:
        assert isinstance(error, ForeignPortError)
        assert (error.pid, error.message.values["name"], error.message.values["port"]) == (pid, "api", 8787)
        assert why in str(error.message.values["why"])


def test_one_holder_that_may_not_be_ended_is_an_obstacle_whatever_the_others(service: Service, start: Start) -> None:
    free = replace(service, free_port="user")

    assert ownership.obstacle(free, 8787, []) is None
    error = ownership.obstacle(free, 8787, [start().pid, os.getpid()])
    assert isinstance(error, ForeignPortError)
    assert error.pid == os.getpid()


@pytest.mark.parametrize(
    ("address", "key", "place"),
    [
        (Address("unix:/run/x", "unix", "/run/x", 0), "foreign_socket", {"socket": "/run/x"}),
        (None, "foreign_port", {"port": 8787}),
    ],
)
def test_an_obstacle_names_the_socket_of_a_service_that_has_one(
    service: Service, address: Address | None, key: str, place: dict[str, object]
) -> None:
    error = ownership.foreign(replace(service, address=address, ready="none"), 8787, None, Message("why_never", {}))

    assert error.message.key == key
    assert place.items() <= error.message.values.items()


# A session that we made.


def test_what_is_left_of_its_session_is_the_services_once_its_leader_is_dead(service: Service) -> None:
    script = "import subprocess; print(subprocess.Popen(['sleep', '600'], env={}).pid, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as leader:
        assert leader.stdout
        state = stored(known(leader.pid, {}))
        member = known(int(leader.stdout.readline()), {})
        leader.kill()
        leader.wait()

        left = ownership.roots(service, state).own
        of_another = ownership.roots(service, ServiceState()).own
        of_an_adopted = ownership.roots(service, replace(state, adopted=True)).own
        os.kill(member.pid, signal.SIGKILL)

    assert left == [member]
    assert of_another == of_an_adopted == []


# What has taken the place of a main process.


def with_child(*, listens: bool) -> str:
    """Return a program that starts a child, and lets it keep the socket that it may listen on."""
    return (
        "import os, socket, subprocess, sys\n"
        f"server = socket.create_server(('127.0.0.1', int(sys.argv[1]))) if {listens} else None\n"
        "child = subprocess.Popen(['sleep', '600']) if len(sys.argv) > 2 else None\n"
        "print(child.pid if child else 0, flush=True)\nsys.stdin.read()\nchild and child.kill()\n"
    )


@pytest.fixture
def place(project: Sandbox, service: Service) -> Iterator[Callable[..., Identity]]:
    """Start a marked process that may listen on the service's port and may have a child."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*, listens: bool = True, worker: bool = True) -> Identity:
        words = [sys.executable, "-c", with_child(listens=listens), str(project.port), *(["child"] if worker else [])]
        environ = project.environment(**marked(service))
        process = subprocess.Popen(words, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout
        assert process.stdout.readline()
        return known(process.pid, marked(service))

    yield start
    for process in started:
        process.send_signal(signal.SIGCONT)
        process.communicate()


Place = Callable[..., Identity]


def test_the_only_one_that_listens_and_has_workers_is_the_successor(service: Service, place: Place) -> None:
    successor = place()

    assert ownership.successor(service, ServiceState()) == successor


@pytest.mark.parametrize("lack", ["listens", "worker"])
def test_one_that_does_not_listen_or_has_no_worker_is_none(service: Service, place: Place, lack: str) -> None:
    place(**{lack: False})

    assert ownership.successor(service, ServiceState()) is None


def test_of_two_that_descend_from_no_other_neither_is_the_successor(service: Service, place: Place) -> None:
    place()
    place(listens=False)

    assert ownership.successor(service, ServiceState()) is None


def test_one_that_is_suspended_is_none_and_a_service_without_address_has_none(service: Service, place: Place) -> None:
    assert ownership.successor(service, ServiceState()) is None
    successor = place()

    assert ownership.successor(replace(service, address=None, ready="none"), ServiceState()) is None
    os.kill(successor.pid, signal.SIGSTOP)
    wait_for(lambda: successor.life is Life.SUSPENDED)
    assert ownership.successor(service, ServiceState()) is None


# A person's terminal.

IN_TERMINAL = """
import fcntl, os, socket, subprocess, sys, termios
if "alone" not in sys.argv:
    if os.fork():
        os.wait()
        sys.exit()
    os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
server = socket.create_server(("127.0.0.1", int(sys.argv[1]))) if sys.argv[1:] and sys.argv[1].isdigit() else None
child = subprocess.Popen(["sleep", "600"], start_new_session=True, stdin=subprocess.DEVNULL)
print(os.getpid(), child.pid, flush=True)
child.wait()
"""


@pytest.fixture
def in_terminal(project: Sandbox, service: Service) -> Iterator[Callable[..., list[Identity]]]:
    """Start a marked parent without a terminal, a marked process with one, and a marked child without one."""
    started: list[tuple[subprocess.Popen[bytes], list[Identity]]] = []

    def start(*words: str) -> list[Identity]:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-c", IN_TERMINAL, *words], stdin=theirs, stdout=subprocess.PIPE, start_new_session=True,
            env=project.environment(**marked(service)),
        )  # fmt: skip
        os.close(theirs)
        assert process.stdout
        pids = [process.pid, *map(int, process.stdout.readline().split())]
        family = [known(pid, marked(service)) for pid in pids]
        started.append((process, family))
        terminals.append(ours)
        return family

    terminals: list[int] = []
    yield start
    for process, family in started:
        os.kill(family[2].pid, signal.SIGKILL)
        process.communicate()
    for terminal in terminals:
        os.close(terminal)


InTerminal = Callable[..., list[Identity]]


def test_what_is_known_by_its_mark_alone_and_has_a_terminal_is_spared_with_its_family(
    service: Service, in_terminal: InTerminal
) -> None:
    family = in_terminal()

    roots = ownership.roots(service, ServiceState())

    assert roots.own == []
    assert sorted(roots.spared, key=family.index) == family
    assert ownership.family(service, ServiceState()) == []


def test_a_process_with_a_terminal_is_spared_whatever_its_parent_is_and_without_an_address_as_well(
    service: Service, in_terminal: InTerminal
) -> None:
    process, _, child = in_terminal("alone")
    without_address = replace(service, address=None, ready="none")

    assert set(ownership.roots(service, ServiceState()).spared) == {process, child}
    assert set(ownership.roots(without_address, ServiceState()).spared) == {process, child}


def test_what_the_service_itself_has_started_is_its_own_with_a_terminal_or_without(
    service: Service, in_terminal: InTerminal
) -> None:
    family = in_terminal()

    roots = ownership.roots(service, stored(family[0]))

    assert roots.own == [family[0]]
    assert roots.spared == []
    assert ownership.family(service, stored(family[0])) == family


def test_one_with_a_terminal_that_listens_on_the_services_port_is_the_services(
    project: Sandbox, service: Service, in_terminal: InTerminal
) -> None:
    parent, listening, child = in_terminal(str(project.port))

    roots = ownership.roots(service, ServiceState())

    assert roots.own == [listening]
    assert ownership.family(service, ServiceState()) == [listening]
    assert sorted(roots.spared, key=[parent, child].index) == [parent, child]


# Other users, as root.

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")


@pytest.fixture
def of_nobody() -> Iterator[Callable[[dict[str, str]], Identity]]:
    """Start a process of another user with these variables."""
    started: list[subprocess.Popen[bytes]] = []

    def start(variables: dict[str, str]) -> Identity:
        process = subprocess.Popen(["sleep", "600"], user=65_534, env=Sandbox.environment(**variables))
        started.append(process)
        return known(process.pid, variables)

    yield start
    for process in started:
        process.kill()
        process.wait()


OfNobody = Callable[[dict[str, str]], Identity]


@needs_root
def test_another_users_process_is_the_services_only_if_it_bears_what_nobody_else_can_know(
    service: Service, of_nobody: OfNobody
) -> None:
    of_nobody(marked(service))
    worker = of_nobody(marked(service) | {START_MARK: "secret"})

    assert ownership.roots(service, ServiceState()).own == []
    assert ownership.roots(service, ServiceState(start="secret")).own == [worker]


@needs_root
def test_root_frees_a_port_from_its_own_user_and_the_services_alone(
    service: Service, start: Start, of_nobody: OfNobody
) -> None:
    stranger = of_nobody({})
    free = replace(service, free_port="user")

    error = ownership.obstacle(free, 8787, [stranger.pid])

    assert error
    assert str(error.message.values["why"]) == "belongs to another user"
    as_nobody = replace(free, user="nobody")
    assert ownership.obstacle(as_nobody, 8787, [stranger.pid]) is None
    assert ownership.obstacle(as_nobody, 8787, [start().pid]) is None
