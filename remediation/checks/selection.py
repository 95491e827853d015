"""The selection of checks in a session. A later round runs the checks of the first one, whatever pytest selects."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from remediation.checks import results
from remediation.checks.retries import heals
from remediation.config.model import Project
from remediation.deployment.context import Deployment
from remediation.supervision.round_files import SELECTED_NAME


class Selection:
    """The plugin that records the selected checks, and limits a later round to them."""

    def __init__(
        self, config: pytest.Config, project: Project, deployment: Deployment | None, later_round: str | None
    ) -> None:
        """Select what the folder of a later round lists, if this is one."""
        self._config = config
        self._project = project
        self._deployment = deployment
        self._later_round = later_round
        self.selected: list[str] = []
        """The node IDs of the selected checks, in order."""
        self.labels: dict[str, str] = {}
        """The readable name of each check."""
        if self._later_round:
            self._disable_other_selection()

    def _disable_other_selection(self) -> None:
        """Disable options that select by the results of the previous round, which would make this one partial."""
        for option in ("lf", "failedfirst", "newfirst", "stepwise", "stepwise_skip"):
            if hasattr(self._config.option, option):
                setattr(self._config.option, option, False)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Ensure that each check heals known services; in a later round, keep the checks of the first one."""
        if self._later_round:
            wanted = self._selected_by_first_round(Path(self._later_round))
            unwanted = [item for item in items if item.nodeid not in wanted]
            items[:] = [item for item in items if item.nodeid in wanted]
            self._config.hook.pytest_deselected(items=unwanted)
        for item in items:
            for name in heals(item):
                if name not in self._project.services:
                    known = ", ".join(sorted(self._project.services))
                    raise pytest.UsageError(f"{item.nodeid}: heals({name!r}): no such service; known services: {known}")
            self.labels[item.nodeid] = results.label(item)

    @pytest.hookimpl(trylast=True, specname="pytest_collection_modifyitems")
    def pytest_add_version_checks(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Add checks of the expected versions, which options such as -k do not deselect."""
        if self._deployment is None or not items:
            # The right version alone does not prove that a service is healthy.
            return
        from remediation.checks.version_check import VersionCheck

        for name in self._deployment.versions:
            # A rollback may have reverted the configuration as well.
            service = self._project.services.get(name)
            if service and service.version:
                item = VersionCheck.of(session, service, self._deployment, self._project)
                self.labels[item.nodeid] = results.label(item)
                items.append(item)

    @staticmethod
    def _selected_by_first_round(folder: Path) -> set[str]:
        return set(msgspec.json.decode((folder / SELECTED_NAME).read_bytes(), type=list[str]))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Remember the selected checks for later rounds."""
        self.selected = [item.nodeid for item in session.items] or self.selected

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Remember the checks that a worker of xdist selected, because the controller collects nothing."""
        self.selected = list(ids)
