"""Start processes for a service: its own command, which outlives us, and the commands of its configuration.

If a start fails, the error names the part of the configuration at fault.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from pwd import getpwuid
from typing import Any, TypeVar

from remediation.config.model import Service
from remediation.engines.errors import HealError
from remediation.messages.message import Message
from remediation.system import disk, environment, files, logrotate
from remediation.system.process import Identity, await_death, signal_name
from remediation.system.telling import Excerpt, read_excerpt

# With less space than this for its log, in bytes, a command would soon have none.
_LOG_ROOM = 65_536

# Variables that a child that outlives us must not inherit: GitHub's runner and Jenkins end all processes with theirs.
_NOT_INHERITED = (
    "RUNNER_TRACKING_ID", "JENKINS_NODE_COOKIE", "JENKINS_SERVER_COOKIE", "PYTEST_CURRENT_TEST", "PYTEST_VERSION"
)  # fmt: skip


class Outliving(subprocess.Popen[bytes]):
    """A child that is meant to outlive us, so its destructor warns of no leak."""

    def __del__(self, _maxsize: int = 0, _warn: object = None) -> None:
        pass


Child = TypeVar("Child", bound="subprocess.Popen[bytes]")

# A long-lived healer reaps from this list the children that died.
_children: list[Outliving] = []


def reap() -> None:
    """Collect the exit status of children that have ended, so that they do not stay as zombies."""
    _children[:] = [child for child in _children if child.poll() is None]


class Started:
    """A command that was just started, and the offset in its log at which its own output begins."""

    def __init__(self, child: Outliving, command: Sequence[str], log_file: Path, log_start: int | None) -> None:
        """Watch the child; without `log_start`, its output is not kept."""
        self.command = " ".join(command)
        self._child = child
        self._log_file = log_file
        self.log_start = log_start
        self.identity = Identity.of(child.pid)
        """None if the child was gone before we could read its birth."""

    def death(self) -> Message | None:
        """Return how the process ended, or None while it lives."""
        status = self._child.poll()
        if status is None:
            return None
        return ended(status)

    def sleep(self, seconds: float) -> None:
        """Sleep, but no longer than the process lives."""
        if self.identity:
            await_death(self.identity, seconds)

    def excerpt(self) -> Excerpt:
        """Return what to show of what the command wrote to its log."""
        return read_excerpt(self._log_file, start=self.log_start)


def ended(status: int) -> Message:
    """Return in words what an exit status of subprocess means."""
    if status >= 0:
        return Message("exited" if status else "exited_0", {"status": status})
    return Message("killed", {"signal": signal_name(-status)})


def child_environment(service: Service) -> dict[str, str]:
    """Return the environment of a service: our own, PORT and HOST from its url, its env_file, `env` and its mark.

    With `user`, HOME, USER and LOGNAME are that user's, as after su(1).
    """
    environ = {
        name: value
        for name, value in os.environ.items()
        if name not in _NOT_INHERITED and not name.startswith((environment.PREFIX, "PYTEST_XDIST_"))
    }
    if service.address and not service.address.socket:
        environ |= {"PORT": str(service.address.port), "HOST": service.address.host}
    if account := service.account:
        environ |= {"HOME": account.pw_dir, "USER": account.pw_name, "LOGNAME": account.pw_name}
    return environ | dict(service.file_env) | dict(service.env) | {environment.SERVICE_MARK: service.mark}


def launch(service: Service, start: str = "") -> Started:
    """Start the service's command so that it outlives us, and mark it and its children by `start` in the environment.

    HealError if it cannot be started.
    """
    environ = child_environment(service) | ({environment.START_MARK: start} if start else {})
    child, log_start = spawn(Outliving, service, service.command, environ, as_service=True)
    _children.append(child)
    return Started(child, service.command, service.log_file, log_start)


def spawn(
    kind: Callable[..., Child],
    service: Service,
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    as_service: bool,
) -> tuple[Child, int | None]:
    """Start a command in a session of its own, without stdin, and append its output to the service's log.

    With `as_service`, it runs as the service's user. It inherits no other descriptor. Return it with the offset in
    the log at which its output begins; None if the output is not kept.
    """
    log, is_kept = _open_log(service)
    try:
        start = os.fstat(log).st_size
        child = kind(
            list(command),
            cwd=service.cwd,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **(credentials(service) if as_service else {}),
        )
    except OSError as error:
        raise _explained(error, service, command) from None
    finally:
        os.close(log)
    return child, start if is_kept else None


def credentials(service: Service) -> dict[str, Any]:
    """Return the arguments of Popen for the user of a service, with all the user's groups."""
    account = service.account
    if account is None or account.pw_uid == os.geteuid():
        return {}
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}


def _open_log(service: Service) -> tuple[int, bool]:
    """Return a descriptor for a command's output, and whether the output is kept.

    While the disk under the log is full, the output goes to /dev/null: many programs die of a failed write.
    """
    try:
        _rotate(service)
        if disk.has_room(service.log_file.parent, _LOG_ROOM):
            return files.open_append(service.log_file), True
    except OSError as error:
        if not disk.is_full(error):
            problem = error.strerror or error
            raise HealError("no_log", name=service.name, log=service.log_file, problem=problem) from None
    return os.open(os.devnull, os.O_WRONLY), False


def _rotate(service: Service) -> None:
    # If the log cannot be rotated, append to it all the same.
    with suppress(OSError):
        logrotate.part(service.log_file)
        logrotate.running(service.log_file, service.log_size)


def unstartable(service: Service, command: Sequence[str]) -> HealError | None:
    """Return why a command of the service cannot be started, as far as we can know without starting it."""
    program, cwd = command[0], service.cwd
    if cwd.is_dir() and find_program(service, program):
        return None
    file = cwd / program if "/" in program else None
    error = PermissionError() if file and file.is_file() else FileNotFoundError()
    return _explained(error, service, command)


def find_program(service: Service, program: str) -> Path | None:
    """Return the file of a program as the service's child finds it: by its PATH, from its working directory."""
    cwd = service.cwd
    folders = child_environment(service).get("PATH", os.defpath).split(os.pathsep)
    path = os.pathsep.join(str(cwd / folder) for folder in folders)
    found = shutil.which(cwd / program if "/" in program else program, path=path)
    return Path(found) if found else None


def unstoppable(service: Service) -> HealError | None:
    """Return why we could start the service's command, but not stop it again."""
    if os.geteuid() == 0:
        return None
    if service.user_id != os.geteuid():
        return HealError("needs_root", name=service.name, user=service.user)
    program = find_program(service, service.command[0])
    try:
        status = program.stat() if program else None
    except OSError:
        return None
    if status is None:
        return None
    # Such a program, as sudo(8), runs as its owner, and only root may signal it, kill(2).
    if status.st_mode & stat.S_ISUID and status.st_uid != os.geteuid():
        try:
            user = getpwuid(status.st_uid).pw_name
        except KeyError:
            user = str(status.st_uid)
        return HealError("unstoppable", name=service.name, program=repr(service.command[0]), user=user)
    return None


def _explained(error: OSError, service: Service, command: Sequence[str]) -> HealError:
    """Return why a program could not be started, in terms of the configuration."""
    program, name, cwd = command[0], service.name, service.cwd
    if not cwd.is_dir():
        return HealError("not_a_folder" if cwd.exists() else "no_folder", name=name, cwd=cwd)
    if isinstance(error, PermissionError) and service.account and Path(str(error.filename)) == cwd:
        return HealError("no_folder_access", name=name, user=service.user, cwd=cwd)
    match error:
        case FileNotFoundError() if (cwd / program).is_file():
            key = "no_interpreter"
        case FileNotFoundError():
            key = "not_found"
        case PermissionError():
            key = "not_executable"
        case _:
            key = "not_runnable"
    return HealError(key, name=name, program=repr(program), problem=error.strerror or error)
