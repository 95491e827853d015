"""The paths of a run's reports: pytest's own XML in a private folder, the merged report at the user's path."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest

from remediation.checks.pytest_internals import xml_plugins
from remediation.config.model import Project
from remediation.supervision import protocol
from remediation.supervision.round_files import XML_NAME, make_run_folder, remove_folders_of_dead_runs
from remediation.system import environment
from remediation.system.disk import Reserve
from remediation.system.exit_codes import INTERNAL_ERROR


def only_lists(config: pytest.Config) -> bool:
    """Return whether the session runs no checks, but only lists them or their fixtures."""
    names = ("collectonly", "setuponly", "setupplan", "showfixtures", "show_fixtures_per_test")
    return any(getattr(config.option, name, False) for name in names)


class Files:
    """The plugin that redirects pytest's XML to a private folder; the user's path gets the merged report."""

    def __init__(self, config: pytest.Config, project: Project, reserve: Reserve) -> None:
        """Prepare the folder of a run, on a full disk with the `reserve`. End pytest if that fails."""
        option = config.option
        if not hasattr(option, "xmlpath"):
            raise pytest.UsageError("auto-heal reads its verdict from junitxml; do not disable that plugin")
        self._config = config
        self._root, self._state_folder = project.root, project.state_folder
        self._reserve = reserve
        self.problem = ""
        """Why pytest's XML may be incomplete."""
        later_round = environment.value(environment.ROUND_FOLDER)
        self._is_first = later_round is None
        if not option.xmlpath:
            # pytest would warn about its XML, which a project that requested none does not expect.
            config.addinivalue_line("filterwarnings", r"ignore:record_\w+ is incompatible with junit_family")
        # Expanded in the same way as by pytest itself.
        wanted = os.path.expanduser(os.path.expandvars(option.xmlpath)) if option.xmlpath else project.report  # noqa: PTH111
        self.report: Path = config.invocation_params.dir / wanted
        """The path of the user's report."""
        self.folder = Path(later_round) if later_round else self._own_folder()
        """The folder for the findings of this round."""
        option.xmlpath = str(self.report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Remove the report of an earlier run, unless this session only lists checks."""
        if self._is_first and not only_lists(self._config):
            self._remove_stale_report()

    def begin_anew(self, folder: Path, *, later: bool) -> None:
        """Use `folder` in a fork, which is a run of its own unless it is a later round."""
        self.problem = ""
        self._is_first = not later
        self.folder = folder
        if self._is_first:
            self._remove_stale_report()
        for plugin in xml_plugins(self._config):
            # The plugin measures its time from here.
            plugin.pytest_sessionstart()
        self._redirect_xml(self.xml)

    @property
    def xml(self) -> Path:
        """The path of pytest's own XML of this round."""
        return self.folder / XML_NAME

    def _own_folder(self) -> Path:
        """Make a folder for the reports of the rounds, and remove the folders of runs that were killed."""
        folder = self._state_folder
        remove_folders_of_dead_runs(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._reserve.attend()
            return make_run_folder(folder, protocol.waiting_pid())
        except OSError as error:
            _give_up(f"the folder {folder} cannot be written: {error.strerror}")

    def _redirect_xml(self, path: Path) -> None:
        for plugin in xml_plugins(self._config):
            plugin.logfile = str(path)

    def pytest_sessionstart(self) -> None:
        """Redirect pytest's XML before it is written."""
        self._redirect_xml(self.xml)

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self) -> Generator[None, None, None]:
        """Ensure that there is space for pytest's XML; if writing fails nevertheless, remember why."""
        self._reserve.attend()
        try:
            yield
        except Exception as error:  # noqa: BLE001 - after any error, the XML may be incomplete
            self.problem = f"the round's own report was not written: {getattr(error, 'strerror', None) or error}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self) -> None:
        """Let pytest print the path of the user's report."""
        self._redirect_xml(self.report)

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
        """Raise UsageError if a folder between the project and the report is a link, which may lead anywhere."""
        folders = self.report.parents if self.report.is_relative_to(self._root) else []
        for folder in folders:
            if folder == self._root:
                return
            if folder.is_symlink():
                raise pytest.UsageError(
                    f"the report's folder {folder} is a symbolic link, which is not followed; name the place itself"
                )


def _give_up(problem: str) -> NoReturn:
    """End pytest because the environment makes a verdict impossible."""
    pytest.exit(problem, returncode=INTERNAL_ERROR)
