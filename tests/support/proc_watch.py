"""Records what our own code opens in /proc, in every process of a sandbox. Other packages open what they like."""

from __future__ import annotations

import os
from pathlib import Path

from sandbox import REPOSITORY

_RECORD = "TEST_OPENED_IN_PROC"
# Python imports this module before any other.
_SITE = """
import functools, os, sys

_record = os.open(os.environ[{record!r}], os.O_WRONLY | os.O_APPEND)
_ours = {ours!r}


def _note(what, path):
    if isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith("/proc"):
        frame = sys._getframe(2)
        while frame:
            file = frame.f_code.co_filename
            if "-packages/" in file:
                return
            if file.startswith(_ours):
                os.write(_record, f"{{what}} {{os.fsdecode(path)}} {{file}}:{{frame.f_lineno}}\\n".encode())
                return
            frame = frame.f_back


def _hook(event, arguments):
    if event in ("open", "os.listdir", "os.scandir"):
        _note(event, arguments[0])


def _noted(function):
    @functools.wraps(function)
    def noted(path, *arguments, **options):
        _note(function.__name__, path)
        return function(path, *arguments, **options)
    # Not a function: before Python 3.11, pathlib keeps it in a class, where a function becomes a method.
    call = functools.partial(noted)
    for names in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
        if function in names:
            names.add(call)
    return call


sys.addaudithook(_hook)
# These have no audit event.
for _name in ("stat", "lstat", "readlink", "access"):
    setattr(os, _name, _noted(getattr(os, _name)))
"""


class ProcWatch:
    """The record of one sandbox."""

    def __init__(self, folder: Path) -> None:
        """Create what its processes need in a folder that all of them may enter."""
        self._folder = folder
        self._file = folder / "opened"
        self._file.touch()
        self._file.chmod(0o666)
        ours = f"{REPOSITORY}/remediation/"
        (folder / "sitecustomize.py").write_text(_SITE.format(record=_RECORD, ours=ours), encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the processes that are to be watched."""
        return {_RECORD: str(self._file), "PYTHONPATH": os.pathsep.join([str(self._folder), str(REPOSITORY)])}

    @property
    def opened(self) -> list[str]:
        """What they opened, each with the line of ours that did."""
        return self._file.read_text(encoding="utf-8").splitlines()

    def forget(self) -> None:
        """Empty the record."""
        self._file.write_text("")
