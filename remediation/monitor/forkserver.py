"""The process that the monitor's cycles are forked from: a pytest session that has collected and waits.

A cycle therefore pays neither for the start of Python nor for imports nor for collection. Whatever a check does to its
process, such as `sys.exit`, ends with that process. The arguments of `main` are FD TERMINAL ARGUMENTS: FD is a socket
to the monitor, TERMINAL the descriptor for the log lines of cycles, and the rest is for pytest.
"""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import pytest
from pytest_auto_heal import RUN

from remediation.checks import probe_imports
from remediation.checks.client import prepare, project_of
from remediation.checks.heartbeat_plugin import HeartbeatPlugin
from remediation.checks.pytest_internals import bin_xml_escape, mangle_test_address
from remediation.checks.retries import heals
from remediation.config.model import Project
from remediation.healing import liveness
from remediation.healing.hooks import HealEvent
from remediation.monitor.file_watch import imported_from
from remediation.monitor.protocol import Ready
from remediation.monitor.scheduler import ScheduledRound, Server
from remediation.monitor.worker import CycleWorker
from remediation.run import junit
from remediation.run.health_run import Fork
from remediation.run.junit import RoundReport
from remediation.run.session_plugin import SessionPlugin
from remediation.state.service_state import ServiceState, Store
from remediation.supervision import protocol
from remediation.supervision.attempt_log import Claimed
from remediation.supervision.channel import Channel
from remediation.supervision.child import Child
from remediation.supervision.death import write_stacks_to
from remediation.supervision.frames import with_room
from remediation.supervision.heartbeat import Heartbeats
from remediation.system import files
from remediation.system.exit_codes import INTERNAL_ERROR
from remediation.system.process import Identity
from remediation.system.process_exit import clear_exit_functions, exit_at_once

_USED = (
    "filelock",
    "psutil",
    "remediation.healing.diagnostics",
    "remediation.healing.remediator",
    "remediation.healing.dependencies",
    "remediation.state.history",
    "remediation.checks.transport",
    "sqlite3",
    "xml.etree.ElementTree",
)
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
_TIMEOUT = 2.0


def preload(project: Project) -> None:
    """Import what a cycle needs, and rehearse its work so that regular expressions, codecs and tables are loaded."""
    for name in _USED:
        import_module(name)
    with suppress(OSError):
        _rehearse_request()
    _rehearse_report()
    store = Store(project)
    for service in project.services.values():
        liveness.condition(service, store)
    Identity.of(os.getpid())


def _rehearse_report() -> None:
    import msgspec

    mangle_test_address("a.py::b")
    msgspec.json.decode(b"{}", type=ServiceState)
    case = f'<testcase classname="a" name="{bin_xml_escape("b")}" time="0.1"/>'
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / "round.xml"
        xml.write_text(f'<testsuites><testsuite time="0.1">{case}</testsuite></testsuites>', encoding="utf-8")
        merged = junit.merge([RoundReport(xml, [])], properties={"a": "b"}, system_out=["a"])
        files.write(xml, merged)
        junit.failed(xml)


def _rehearse_request() -> None:
    import requests

    with socket.create_server(("127.0.0.1", 0)) as listener, requests.Session() as session:
        listener.settimeout(_TIMEOUT)
        session.trust_env = False
        server = threading.Thread(target=_answer_request, args=(listener,))
        server.start()
        try:
            session.get(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=_TIMEOUT).json()
        finally:
            server.join()


def _answer_request(listener: socket.socket) -> None:
    with suppress(OSError), listener.accept()[0] as connection:
        connection.settimeout(_TIMEOUT)
        connection.recv(65_536)
        connection.sendall(_ANSWER)


# In a fork: allocations between two collections of young garbage, and how many of these precede one of older garbage.
_GARBAGE = (20_000, 10, 10)


def _tell_nobody(_event: HealEvent) -> None:
    """Stand for the hooks of a project without any."""


class ForkServer:
    """A pytest plugin that replaces pytest's own loop over the checks."""

    def __init__(self, monitor: Channel) -> None:
        """Serve a monitor."""
        self._monitor = monitor
        self._heartbeats = Heartbeats()
        self.is_fork = False
        """Whether this process is a fork of the server."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Disable the workers of xdist, whatever the project's options say. The fork server makes its own forks."""
        if hasattr(config.option, "numprocesses"):
            config.option.numprocesses, config.option.dist, config.option.tx = None, "no", []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Serve until the monitor ends it. In a fork, run the checks of its round."""
        if (session.testsfailed and not session.config.option.continue_on_collection_errors) or not session.items:
            # pytest's own message explains it best.
            return None
        self._prepare(session)
        round_ = self._server.serve()
        if round_ is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            # Not by a normal end of the session, which would report checks that never ran here.
            exit_at_once(0)
        self._run(session, round_)
        return True

    def _prepare(self, session: pytest.Session) -> None:
        """Import what a cycle and its heals need, and send `Ready` to the monitor."""
        config = session.config
        project, self._store, sessions = project_of(config)
        preload(project)
        prepare(project, sessions)
        items = list(session.items)
        probe_imports.preload(items)
        checks: Any = config.pluginmanager.get_plugin(RUN)
        if checks is None:
            raise pytest.UsageError(
                "auto-heal's plugin is switched off; remove -p no:auto-heal and PYTEST_DISABLE_PLUGIN_AUTOLOAD"
            )
        self._checks: SessionPlugin = checks
        self._folder = self._checks.folder
        self._heartbeat = HeartbeatPlugin(self._heartbeats, 0, 0.0)
        config.pluginmanager.register(self._heartbeat)
        # No one reads what these plugins print or save. If pytest itself breaks, it reports that on stderr.
        for name in ("lfplugin", "nfplugin", "stepwiseplugin"):
            config.pluginmanager.set_blocked(name)
        # While SIGCHLD is ignored, wait(2) does not return the status of children.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        gc.collect()
        gc.freeze()
        hooks = self._checks.hooks
        self._server = Server(
            self._monitor, self._heartbeats, project=project, items=items, folder=self._folder,
            become=self._become_fork, notify=hooks.notify if hooks else _tell_nobody,
        )  # fmt: skip
        services = sorted({name for item in items for name in heals(item)})
        has_listener = hooks is not None and hooks.has("auto_heal_notify")
        self._monitor.send(Ready(services, imported_from(config.rootpath), has_listener))

    def _become_fork(self, round_: ScheduledRound, child: Child, folder: Path, later: bool) -> None:  # noqa: FBT001 - called by position
        """Close what belongs to the fork server, and set up this fork."""
        self.is_fork = True
        self._server.close_in_fork()
        channel, slot = child.become(), child.slot
        clear_exit_functions()
        # Otherwise all forks would draw the same random numbers.
        random.seed()
        # Older objects are frozen, and a fork does not live long: rare garbage collections cost less.
        gc.set_threshold(*_GARBAGE)
        self._heartbeat.slot = slot
        self._heartbeat.outside()
        self._log, self._handover = child.log, child.handover
        write_stacks_to(child.stacks)
        cycle = CycleWorker(channel, self._heartbeats, slot, round_.number, self._store)
        fork = Fork(
            round_.selected, folder, later, cycle.others, cycle.again, cycle.may_heal, cycle.ended,
            self._server.interval, child.log, child.handover,
        )  # fmt: skip
        cycle.services = self._checks.begin_anew(fork)
        self._cycle = cycle

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Pass a check's report on to the monitor, in a fork."""
        self._cycle.note(report)

    def _run(self, session: pytest.Session, round_: ScheduledRound) -> None:
        """Run one group after the other in a fork, as pytest's own loop runs its items."""
        for index in chain(self._handover.claimed, self._claims(round_)):
            group = round_.groups[index]
            self._heartbeats.claim(self._heartbeat.slot)
            self._checks.claim(group)
            for item, following in zip_longest(group, group[1:]):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.shouldfail:
                    raise session.Failed(session.shouldfail)
                if session.shouldstop:
                    raise session.Interrupted(session.shouldstop)

    def _claims(self, round_: ScheduledRound) -> Iterator[int]:
        """Claim one group after the other, and log each for a fork that may have to take over."""
        while (index := round_.claims.next()) is not None:
            self._log.note(Claimed(index))
            yield index


def main() -> None:
    """Collect and serve. A fork ends with the exit code of its session."""
    # A process that a check starts must not inherit these, or the monitor would not see the end of the server.
    monitor_fd, terminal_fd = map(int, sys.argv[1:3])
    for fd in (monitor_fd, terminal_fd):
        os.set_inheritable(fd, False)
    protocol.terminal_fd = terminal_fd
    protocol.is_watched = True
    # The server leads a session of its own, so the terminal's Ctrl+C does not reach it. Every SIGINT is intended.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    server = ForkServer(Channel(socket.socket(fileno=monitor_fd)))
    # Capture by descriptor would share one file among all forks. Their output goes to a file of each fork instead.
    try:
        code = with_room(lambda: int(pytest.main([*sys.argv[3:], "--capture=sys"], plugins=[server])))
    except BaseException:
        if not server.is_fork:
            raise
        # The interpreter's own exit code for an exception, 1, would mean failed checks.
        traceback.print_exc()
        code = INTERNAL_ERROR
    if not server.is_fork:
        sys.exit(code)
    exit_at_once(code)
