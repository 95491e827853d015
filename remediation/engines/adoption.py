"""Adoption: recognize a server that a person started by hand as the one that the service's command would start.

A wrong adoption would let a later restart end a stranger, so everything about the process has to agree, and exactly
one process may qualify.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from remediation.config.model import Service
from remediation.engines import ownership
from remediation.engines.errors import HealError
from remediation.engines.spawn import child_environment, find_program
from remediation.messages.message import Message
from remediation.system.capabilities import has_proc
from remediation.system.environment import SERVICE_MARK
from remediation.system.process import Identity, introduce, protected, session_of, user_of, value_of

# Version managers put a shim into PATH, a script that starts the chosen version: pyenv and its like, asdf and mise.
_SHIMMED = ("versions/*/bin", "installs/*/*/bin")
# The longest first line of a script that we read, in bytes; Linux itself reads 256, execve(2).
_SHEBANG = 256
# A container's id in a path of /proc/PID/cgroup, as docker, podman, containerd and CRI-O write it.
_CONTAINER = re.compile(r"[0-9a-f]{64}")
# systemd runs the programs of a user's own session below this unit, systemd(1).
_USER_MANAGER = re.compile(r"user@\d+\.service")
# Programs that start what they run again when it ends, by the name of their process.
_SUPERVISORS = re.compile(r"supervisord|PM2 v[\d.]+: God|pm2|runsv|s6-supervise|circusd")
# Variables of a shell or a terminal, which no service needs.
_OF_THE_SHELL = {
    "_", "OLDPWD", "PWD", "SHLVL", "TERM", "LS_COLORS", "COLORTERM", "PS1", "HISTFILE", "WINDOWID", "SSH_TTY",
    "SSH_CLIENT", "SSH_CONNECTION", "TMUX", "TMUX_PANE", "STY", "LINES", "COLUMNS",
}  # fmt: skip


class Candidate(msgspec.Struct, frozen=True):
    """A process that may be adopted."""

    identity: Identity
    by_title: bool = False
    """Whether the program has overwritten its arguments with a title, so that only the title could be compared."""


class Search(msgspec.Struct, frozen=True):
    """The processes that listen in a service's place: those that may be adopted, and why each other may not be."""

    candidates: list[Candidate]
    others: dict[int | None, Message]

    @property
    def only(self) -> Candidate | None:
        """The process to adopt, if there is no doubt about it."""
        return self.candidates[0] if len(self.candidates) == 1 and not self.others else None


def search(service: Service, own: Iterable[Identity] = ()) -> Search:
    """Search those who listen on the service's address, except its `own` processes, for a server to adopt."""
    address = service.address
    if address is None or not service.command:
        return Search([], {})
    found: dict[Identity, Candidate] = {}
    others: dict[int | None, Message] = {}
    listening = ownership.holders(address.endpoint.listeners()) - {each.pid for each in own}
    for pid in sorted(listening, key=lambda pid: pid or 0):
        match = _match(service, pid) if pid else Message("why_other_user", {})
        if isinstance(match, Candidate):
            found[match.identity] = match
        elif match:
            others[pid] = match
    # A worker that shares its parent's socket is no server of its own.
    inside = {pid for pid in others if pid and _ancestors(pid) & {each.pid for each in found}}
    return Search(list(found.values()), {pid: why for pid, why in others.items() if pid not in inside})


def _match(service: Service, pid: int) -> Candidate | Message | None:
    """Return the candidate among a listener and its ancestors in the same session, or why there is none."""
    if not Identity.of(pid):
        return None
    # Its worker may have dropped the privileges of the process that would be adopted.
    if why := refusal(service, pid, any_user=True):
        return why
    best, first = None, None
    for each in _line(pid):
        result = _compare(service, each)
        if isinstance(result, Candidate) and not refusal(service, each):
            best = result
        elif first is None and isinstance(result, Message):
            first = result
    return best or first


def _line(pid: int) -> Iterator[int]:
    """Yield a process and its ancestors as long as they are of the same session."""
    import psutil

    session = session_of(pid)
    yield pid
    try:
        for parent in psutil.Process(pid).parents():
            if parent.pid == 1 or session_of(parent.pid) != session:
                return
            yield parent.pid
    except psutil.Error:
        return


def _ancestors(pid: int) -> set[int]:
    return set(_line(pid)) - {pid}


def named(service: Service, pid: int | None) -> tuple[Candidate, Message | None]:
    """Return the process that a person wants to adopt, and how it differs from what the command would start.

    It is the one with the number `pid`, or the only one that listens on the service's address. HealError if there is
    none, or it must not be adopted.
    """
    if not service.command:
        raise HealError("no_command", name=service.name)
    chosen = _listener(service) if pid is None else pid
    identity = Identity.of(chosen)
    holder = introduce(chosen)
    why = refusal(service, chosen, any_user=True) if identity else Message("why_no_process", {})
    address = service.address
    if why is None and address and not ownership.owns(address.endpoint, chosen):
        why = Message("why_not_listening", {"url": address})
    if why or identity is None:
        raise HealError("not_adopted", name=service.name, holder=holder, why=why)
    match = _compare(service, chosen)
    if isinstance(match, Candidate):
        return match, None
    values = {"name": service.name, "holder": holder, "command": " ".join(service.command), "why": match}
    return Candidate(identity), Message("differs", values)


def _listener(service: Service) -> int:
    """Return the only process that listens on the service's address and has no ancestor that does."""
    address = service.address
    if address is None:
        raise HealError("adopt_needs_pid", name=service.name)
    topmost = main_listeners(ownership.holders(address.endpoint.listeners()))
    if not topmost:
        raise HealError("nobody_listens", name=service.name, url=address)
    if len(topmost) > 1:
        names = ", ".join(introduce(pid) for pid in topmost)
        raise HealError("several_listen", name=service.name, url=address, holder=names)
    return topmost[0]


def main_listeners(holders: Iterable[int | None]) -> list[int]:
    """Return those of the PIDs that hold a socket whose ancestors do not, in the same session."""
    pids = {pid for pid in holders if pid}
    return sorted(pid for pid in pids if not _ancestors(pid) & pids)


def refusal(service: Service, pid: int, *, any_user: bool = False) -> Message | None:
    """Return why a process must not be adopted at all, whatever it runs; None if it may be.

    With `any_user`, root may adopt another user's process, as a person may wish who has named it.
    """
    if protection := protected(pid):
        return Message(f"why_{protection.name.lower()}", {})
    if user_of(pid) != service.user_id and not any_user:
        return Message("why_other_user", {})
    mark = value_of(SERVICE_MARK, pid)
    if mark not in (None, service.mark):
        return Message("why_other_service", {"mark": mark})
    if _namespace(pid) != _namespace(os.getpid()):
        return Message("why_namespace", {})
    return _why_managed(pid)


def _namespace(pid: int) -> str:
    """Return the PID namespace of a process; empty where the system has none, or hides it."""
    if not has_proc():
        return ""
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def _why_managed(pid: int) -> Message | None:
    """Return which other program starts the process again when it ends: a unit, a container, a supervisor."""
    groups, ours = _groups(pid), _groups(os.getpid())
    # In a step of a pipeline, the runner's unit has all that the step starts, and us. A unit's own process bears its
    # PID in this variable, systemd.exec(5).
    is_own_unit = value_of("SYSTEMD_EXEC_PID", pid) != str(pid)
    if units := _units(groups) - (_units(ours) if is_own_unit else set()):
        return Message("why_unit", {"unit": min(units)})
    if containers := _containers(groups) - _containers(ours):
        return Message("why_container", {"container": min(containers)[:12]})
    import psutil

    try:
        parents = psutil.Process(pid).parents()
        for parent in parents:
            words = parent.cmdline() or [parent.name()]
            names = {parent.name(), words[0], *(Path(word).name for word in words[:2])}
            if any(_SUPERVISORS.match(name) for name in names):
                return Message("why_supervised", {"holder": introduce(parent.pid)})
    except psutil.Error:
        return None
    return None


def _groups(pid: int) -> list[str]:
    """Return the control groups of a process, cgroups(7)."""
    if not has_proc():
        return []
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line.split(":", 2)[-1] for line in lines]


def _units(groups: Iterable[str]) -> set[str]:
    """Return the innermost service of each group; the manager of a user's session is none."""
    services = [[part for part in group.split("/") if part.endswith(".service")] for group in groups]
    return {parts[-1] for parts in services if parts and not _USER_MANAGER.fullmatch(parts[-1])}


def _containers(groups: Iterable[str]) -> set[str]:
    return {match[0] for group in groups for match in _CONTAINER.finditer(group)}


# The program.


def _compare(service: Service, pid: int) -> Candidate | Message:
    """Return a candidate if a process runs the service's command in the service's folder, or what differs."""
    import psutil

    try:
        process = psutil.Process(pid)
        identity, exe, words, cwd = Identity.of(pid), process.exe(), process.cmdline(), process.cwd()
    except psutil.Error:
        identity = None
    if identity is None:
        return Message("why_unknown", {})
    if not _same_file(cwd, service.cwd):
        return Message("why_cwd", {"cwd": cwd, "wanted": service.cwd})
    command = " ".join(service.command)
    program = _program(service)
    if program is None or not any(_same_file(exe, file) for file in program.executables):
        return Message("why_program", {"exe": exe, "command": command})
    if program.started_with(words, cwd):
        return Candidate(identity)
    if program.titled(" ".join(words).rstrip()):
        return Candidate(identity, by_title=True)
    return Message("why_arguments", {"words": " ".join(words), "command": command})


class _Program(msgspec.Struct, frozen=True):
    """What runs once a command's program is found in PATH, and its shim and `#!` line are resolved."""

    name: str
    executables: list[Path]
    script: Path | None
    """The script that the executable interprets, if the program is one."""
    arguments: tuple[str, ...]

    def started_with(self, words: Sequence[str], cwd: str) -> bool:
        """Return whether a process was started with the command's arguments, by its own command line."""
        wanted = ([str(self.script)] if self.script else []) + list(self.arguments)
        before, given = words[1 : len(words) - len(wanted)], words[len(words) - len(wanted) :]
        if len(words) <= len(wanted) or not all(_same_word(*pair, cwd) for pair in zip(given, wanted, strict=True)):
            return False
        # A `#!` line may give the interpreter options.
        return not before or (self.script is not None and all(word.startswith("-") for word in before))

    def titled(self, title: str) -> bool:
        """Return whether a title is the one that the program is known to write for this command."""
        rest = " ".join(self.arguments)
        match self.name:
            case "nginx":
                own, _, given = title.removeprefix("nginx: master process ").partition(" ")
                return title.startswith("nginx: master process ") and Path(own).name == "nginx" and given == rest
            case "gunicorn":
                app = re.fullmatch(r"gunicorn: master \[(.+)\]", title)
                return app is not None and app[1] in self.arguments
            case "npm" | "yarn" | "pnpm" | "unicorn":
                return title in {f"{self.name} {rest}", f"{self.name} master {rest}"}
            case "php-fpm" | "puma":
                return title.startswith((f"{self.name}: master process", f"{self.name} "))
            case _:
                return False


def _program(service: Service) -> _Program | None:
    word, *arguments = service.command
    file, name = find_program(service, word), Path(word).name
    if file is None:
        return None
    if file.parent.name == "shims":
        versions = [version for form in _SHIMMED for version in file.parent.parent.glob(f"{form}/{file.name}")]
        if versions:
            return _Program(name, versions, None, tuple(arguments))
    if not (interpreter := _interpreter(file)):
        return _Program(name, [file], None, tuple(arguments))
    # env(1) searches PATH for the first word that is neither an option nor an assignment.
    if Path(interpreter[0]).name == "env":
        interpreter = [each for each in interpreter[1:] if not each.startswith("-") and "=" not in each]
    executable = find_program(service, interpreter[0]) if interpreter else None
    return _Program(name, [executable], file, tuple(arguments)) if executable else None


def _interpreter(file: Path) -> list[str]:
    """Return the words of a script's `#!` line; empty for any other program."""
    try:
        with file.open("rb") as script:
            line = script.read(_SHEBANG).partition(b"\n")[0]
    except OSError:
        return []
    return os.fsdecode(line.removeprefix(b"#!")).split() if line.startswith(b"#!") else []


def _same_file(one: str | Path, other: str | Path) -> bool:
    try:
        return Path(one).samefile(other)
    except OSError:
        return False


def _same_word(given: str, wanted: str, cwd: str) -> bool:
    """Return whether two arguments are the same, or name the same file."""
    return given == wanted or ("/" in given + wanted and _same_file(Path(cwd, given), Path(cwd, wanted)))


def lost_variables(service: Service, pid: int) -> list[str]:
    """Return the names of the environment variables that a restart would lose."""
    import psutil

    try:
        names = set(psutil.Process(pid).environ())
    except psutil.Error:
        return []
    return sorted(names - child_environment(service).keys() - _OF_THE_SHELL)
