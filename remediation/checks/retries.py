"""The retries and the deadline of a check, and when a retry is pointless."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import pytest

from remediation.checks import OWN
from remediation.config.model import Project
from remediation.config.schema import ConfigError
from remediation.healing import liveness
from remediation.state.service_state import Store

# Of a check that awaits its next attempt itself: the seconds that an attempt may take beyond the timeout, and those
# between two attempts.
EXTRA_TIME = pytest.StashKey[float]()
_DELAY = pytest.StashKey[float]()


def heals(item: pytest.Item) -> list[str]:
    """Return the services that a failure of a check may heal. UsageError for a marker without names."""
    for marker in item.iter_markers("heals"):
        if marker.kwargs or not marker.args or not all(isinstance(name, str) for name in marker.args):
            raise pytest.UsageError(f'{item.nodeid}: heals takes names of services, as in heals("api")')
    return list(dict.fromkeys(name for marker in item.iter_markers("heals") for name in marker.args))


def is_debugged() -> bool:
    """Return whether this process runs under a debugger, as pytest-timeout detects it."""
    try:
        from pytest_timeout import is_debugging  # type: ignore[import-untyped]
    except ImportError:
        return False
    return bool(is_debugging())


class Retries:
    """The plugin that gives checks their retries and deadlines, unless they or the command line have their own."""

    def __init__(self, config: pytest.Config, project: Project, store: Store) -> None:
        """Take the numbers from `project`."""
        self._config = config
        self._project = project
        self._store = store

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Mark each check for rerunfailures and timeout."""
        for item in items:
            if item.nodeid.startswith(OWN):
                # Version checks have a deadline of their own, and the run has already waited for the version.
                continue
            self._add_retries(item)
            self._add_deadline(item)

    def retries(self, item: pytest.Item) -> tuple[int, float]:
        """Return the maximum number of retries of a check, and the delay between them in seconds."""
        marker = item.get_closest_marker("flaky") if self._config.pluginmanager.hasplugin("rerunfailures") else None
        if marker is None:
            return 0, 0.0
        return marker.kwargs["reruns"], item.stash.get(_DELAY, float(marker.kwargs["reruns_delay"]))

    def retry_can_help(self, item: pytest.Item, error: BaseException | None = None) -> bool:
        """Return whether another attempt could pass after an error.

        It cannot if the error says so, if the configuration is wrong, or if a required process is known to be dead.
        """
        if isinstance(error, ConfigError) or getattr(error, "retry_is_pointless", False):
            return False
        services = [self._project.services[name] for name in heals(item)]
        return all(liveness.retry_can_help(service, self._store) for service in services)

    def give_up(self, item: pytest.Item) -> None:
        """Cancel the remaining retries of a check.

        The condition is not set from the start, because with one, rerunfailures drops the error of a teardown after
        a failed check.
        """
        marker = item.get_closest_marker("flaky")
        if marker:
            item.add_marker(pytest.mark.flaky(**{**marker.kwargs, "condition": False}), append=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """Apply the deadline to set-up."""
        with self._deadline(item):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """Apply the deadline to teardown."""
        with self._deadline(item):
            return (yield)

    def _add_retries(self, item: pytest.Item) -> None:
        option, own = self._config.option, item.get_closest_marker("flaky")
        if not self._config.pluginmanager.hasplugin("rerunfailures"):
            return
        if own is None and option.reruns is not None:
            arguments = {"reruns": option.reruns, "reruns_delay": option.reruns_delay or 0}
        elif own is None:
            arguments = {"reruns": self._project.retries - 1, "reruns_delay": self._project.retry_delay}
        else:
            names = ("reruns", "reruns_delay")
            arguments = {"reruns": 1, "reruns_delay": 0} | dict(zip(names, own.args, strict=False)) | dict(own.kwargs)
        if EXTRA_TIME in item.stash:
            item.stash[_DELAY], arguments["reruns_delay"] = float(arguments["reruns_delay"]), 0
        if option.usepdb:
            # A person who debugs a failure wants it once, and rerunfailures refuses to combine both.
            arguments["reruns"] = 0
        item.add_marker(pytest.mark.flaky(**arguments), append=False)

    def _add_deadline(self, item: pytest.Item) -> None:
        if not self._config.pluginmanager.hasplugin("timeout"):
            return
        seconds = self._config.option.timeout
        if EXTRA_TIME in item.stash:
            seconds = (seconds or self._project.timeout) + item.stash.get(_DELAY, 0.0) + item.stash[EXTRA_TIME]
            item.add_marker(pytest.mark.timeout(seconds, method="signal", func_only=True), append=False)
        elif item.get_closest_marker("timeout") is None and seconds is None:
            # Only with the signal method, the session continues to its end, and so to the heal. Each phase has its
            # own deadline, because rerunfailures runs all attempts, with the delays, inside one protocol.
            marker = pytest.mark.timeout(self._project.timeout, method="signal", func_only=True)
            item.add_marker(marker)

    @contextmanager
    def _deadline(self, item: pytest.Item) -> Generator[None]:
        """Apply pytest-timeout to set-up and teardown of a check, which func_only excludes."""
        marker = item.get_closest_marker("timeout")
        if marker is None or not marker.kwargs.get("func_only"):
            yield
            return
        from pytest_timeout import Settings

        hook = self._config.hook
        settings = Settings(timeout=marker.args[0], method="signal", func_only=True, disable_debugger_detection=False)
        hook.pytest_timeout_set_timer(item=item, settings=settings)
        try:
            yield
        finally:
            hook.pytest_timeout_cancel_timer(item=item)
