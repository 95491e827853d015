"""Where a run's reports lie: pytest's own XML of each round out of sight, the merged one where the user wants it."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest

from remediation.config.model import Project
from remediation.supervision import protocol
from remediation.supervision.round_files import XML_NAME, make_run_folder, remove_folders_of_dead_runs
from remediation.system import environment
from remediation.system.disk import Reserve
from remediation.system.exit_codes import INTERNAL_ERROR


def only_lists(config: pytest.Config) -> bool:
    """Return whether the session runs no check at all, but only says which it would run, or with which fixtures."""
    names = ("collectonly", "setuponly", "setupplan", "showfixtures", "show_fixtures_per_test")
    return any(getattr(config.option, name, False) for name in names)


class Files:
    """The plugin that lets pytest write its XML where only we read it; the user's path gets the merged one."""

    def __init__(self, config: pytest.Config, project: Project, reserve: Reserve) -> None:
        """Make room for a run, on a full disk by the `reserve`; ends pytest if that cannot be done."""
        option = config.option
        if not hasattr(option, "xmlpath"):
            raise pytest.UsageError("auto-heal reads its verdict from junitxml; do not disable that plugin")
        self._config = config
        self._root, self._state_folder = project.root, project.state_folder
        self._reserve = reserve
        self.problem = ""
        """Why pytest may not have written its XML to the end."""
        later_round = environment.value(environment.ROUND_FOLDER)
        self._is_first = later_round is None
        if not option.xmlpath:
            # pytest warns of what its XML cannot hold, which would be news to a project that asked for none.
            config.addinivalue_line("filterwarnings", r"ignore:record_\w+ is incompatible with junit_family")
        # As pytest itself expands the path.
        wanted = os.path.expanduser(os.path.expandvars(option.xmlpath)) if option.xmlpath else project.report  # noqa: PTH111
        self.report: Path = config.invocation_params.dir / wanted
        """Where the user finds the report."""
        self.folder = Path(later_round) if later_round else self._own_folder()
        """Where this round leaves what it found."""
        option.xmlpath = str(self.report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Remove the report of an earlier run, unless this one is only to list what there is."""
        if self._is_first and not only_lists(self._config):
            self._remove_stale_report()

    def begin_anew(self, folder: Path, *, later: bool) -> None:
        """In a fork: leave what is found in `folder`, and be a run of its own unless it is a later round."""
        self.problem = ""
        self._is_first = not later
        self.folder = folder
        if self._is_first:
            self._remove_stale_report()
        for plugin in self._xml_plugins():
            # Its time begins here.
            plugin.pytest_sessionstart()
        self._writes_to(self.xml)

    @property
    def xml(self) -> Path:
        """What pytest itself writes of this round."""
        return self.folder / XML_NAME

    def _own_folder(self) -> Path:
        """Make a folder for the reports of the rounds, and remove those of runs that were killed."""
        folder = self._state_folder
        remove_folders_of_dead_runs(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._reserve.attend()
            return make_run_folder(folder, protocol.waiting_pid())
        except OSError as error:
            _give_up(f"the folder {folder} cannot be written: {error.strerror}")

    def _writes_to(self, path: Path) -> None:
        for plugin in self._xml_plugins():
            plugin.logfile = str(path)

    def _xml_plugins(self) -> list[Any]:
        # pytest has no public way to say where its XML goes once it has begun.
        return [one for one in self._config.pluginmanager.get_plugins() if type(one).__name__ == "LogXML"]

    def pytest_sessionstart(self) -> None:
        """Redirect pytest's XML before it is written."""
        self._writes_to(self.xml)

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self) -> Generator[None, None, None]:
        """See that there is space for pytest's XML; if it breaks all the same, keep in mind why."""
        self._reserve.attend()
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, the XML may not be what it should be
            self.problem = f"the round's own report was not written: {getattr(error, 'strerror', None) or error}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self) -> None:
        """Let pytest name the path at which the user finds the report."""
        self._writes_to(self.report)

    def pytest_unconfigure(self) -> None:
        """Remove the rounds' own reports."""
        if self._is_first:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _remove_stale_report(self) -> None:
        self._refuse_links()
        try:
            with suppress(FileNotFoundError):
                mode = self.report.lstat().st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
                    raise pytest.UsageError(f"the report {self.report} is no regular file; it is not replaced")
                self.report.unlink()
        except OSError as error:
            _give_up(f"the report {self.report} cannot be replaced: {error.strerror}")

    def _refuse_links(self) -> None:
        """Raise UsageError if a folder of the project that leads to the report is a link, and may lead anywhere."""
        folders = self.report.parents if self.report.is_relative_to(self._root) else []
        for folder in folders:
            if folder == self._root:
                return
            if folder.is_symlink():
                raise pytest.UsageError(
                    f"the report's folder {folder} is a symbolic link, which is not followed; name the place itself"
                )


def _give_up(problem: str) -> NoReturn:
    """End pytest where the surroundings leave no way to a verdict."""
    pytest.exit(problem, returncode=INTERNAL_ERROR)
