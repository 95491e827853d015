"""Run the commands of a configuration within bounds, and leave nothing of those that do not end in time."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence

from remediation.config.model import Service
from remediation.engines.errors import CommandFailedError, CommandLateError
from remediation.engines.spawn import child_environment, ended, spawn
from remediation.system import environment
from remediation.system.process import Identity, descendants, terminate

# How long a command that took too long has between SIGTERM and SIGKILL.
_COMMAND_GRACE = 2.0


class _Bounded(subprocess.Popen[bytes]):
    """A child that is waited for."""


def run_command(
    service: Service,
    command: Sequence[str],
    *,
    timeout: float,
    begun: Callable[[Identity | None], object] = lambda _: None,
    more: Mapping[str, str] | None = None,
) -> None:
    """Run a command to its end, its output appended to the service's log, with `more` in its environment.

    After `timeout` seconds it is ended with all its children. `begun` is told which process it is, as soon as
    it runs. HealError unless it exits with 0.
    """
    # What a command leaves running, as systemctl or docker do, is not the service's process.
    environ = environment.unmarked(child_environment(service)) | dict(more or {})
    child, _ = spawn(_Bounded, service, command, environ)
    words = " ".join(command)
    try:
        begun(Identity.of(child.pid))
        status = child.wait(timeout)
    except subprocess.TimeoutExpired:
        _end(child, service)
        raise CommandLateError("command_late", name=service.name, command=words, timeout=timeout) from None
    except BaseException:
        _end(child, service)
        raise
    if status:
        log = service.log_file.name
        raise CommandFailedError(name=service.name, command=words, how=ended(status), log=log)


def _end(child: subprocess.Popen[bytes], service: Service) -> None:
    identity = Identity.of(child.pid)
    roots = [identity] if identity else []
    terminate(lambda: descendants(roots), timeout=min(_COMMAND_GRACE, service.stop_timeout))
    child.wait()
