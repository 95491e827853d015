"""Add to the files of a project, so that what stands there stays as it is, byte for byte."""

from __future__ import annotations

import errno
import fnmatch
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from remediation.config.load import OWN_FILE, SHARED_FILE, parse
from remediation.config.model import Project
from remediation.system import files

IGNORE_FILE = ".gitignore"


class Configuration(Struct, frozen=True):
    """The file that has, or gets, the configuration of a project."""

    file: Path
    content: bytes
    services: frozenset[str]
    """The names of the services that it has."""

    @classmethod
    def of(cls, root: Path) -> Configuration:
        """Read the file of the project in a folder. ConfigError if it cannot be read."""
        own, shared = root / OWN_FILE, root / SHARED_FILE
        file = own if os.path.lexists(own) else shared
        if not os.path.lexists(file):
            return cls(file, b"", frozenset())
        table: object = parse(file)
        for name in (*(() if file == own else ("tool", "auto-heal")), "services"):
            table = table.get(name, {}) if isinstance(table, Mapping) else {}
        return cls(file, file.read_bytes(), frozenset(table if isinstance(table, Mapping) else ()))

    def header(self, name: str) -> str:
        """Return the name of a service's table."""
        return f"services.{name}" if self.file.name == OWN_FILE else f"tool.auto-heal.services.{name}"


def appended(content: bytes, text: str, *, apart: bool) -> bytes:
    """Return the content of a file with text after it, in the file's line ends; `apart` leaves a blank line between."""
    end = b"\r\n" if b"\r\n" in content else b"\n"
    added = text.encode().replace(b"\n", end)
    if not content.strip():
        return content + added
    if not content.endswith(b"\n"):
        content += end
    return content + (end if apart and not content.endswith(end + end) else b"") + added


def replace(path: Path, content: bytes) -> None:
    """Replace the content of a file atomically; mode, owner and a symbolic link to it stay. OSError if that fails."""
    target = path.resolve()
    try:
        status = target.stat()
    except FileNotFoundError:
        files.write(target, content, mode=files.PUBLIC)
        return
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    with files.replacement(target, mode=stat.S_IMODE(status.st_mode)) as draft:
        draft.write_bytes(content)
        with suppress(PermissionError):
            os.chown(draft, status.st_uid, status.st_gid)


# .gitignore.


def not_ignored(project: Project) -> list[str]:
    """Return the lines that the project's .gitignore lacks, for all that auto-heal writes beside the configuration."""
    paths = [path for service in project.services.values() if service.command for path in _of(project, service.name)]
    logs = [f"{name}*" for name in _inside(project, project.log_file)]
    report = [f"{name.split('/')[0]}/" if "/" in name else name for name in _inside(project, project.report)]
    state = [f"{name}/" for name in _inside(project, project.state_folder)]
    try:
        text = (project.root / IGNORE_FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    known = [line.strip().strip("/") for line in text.splitlines()]
    lines = dict.fromkeys([*paths, *logs, ".*.log.lock", *report, *state])
    return [f"/{line}" for line in lines if not any(fnmatch.fnmatchcase(line.strip("/"), each) for each in known)]


def _of(project: Project, name: str) -> list[str]:
    service = project.services[name]
    return [*_inside(project, service.pid_file), *(f"{log}*" for log in _inside(project, service.log_file))]


def _inside(project: Project, path: Path) -> list[str]:
    """Return a path relative to the project; none if it is outside."""
    relative = os.path.relpath(path, project.root)
    return [] if relative.startswith("..") else [relative]


def ignore(root: Path, lines: Sequence[str]) -> None:
    """Add lines to the .gitignore of a folder."""
    path = root / IGNORE_FILE
    before = path.read_bytes() if path.exists() else b""
    replace(path, appended(before, "".join(f"{line}\n" for line in lines), apart=False))
