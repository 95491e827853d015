"""Call the hooks of a project's conftests and plugins, each within a time limit.

pytest itself only knows hooks whose names begin with `pytest_`. So a manager of ours takes the others from its plugins.
"""

from __future__ import annotations

import inspect
import threading
import traceback
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import pluggy
import pytest

from remediation.config.schema import ConfigError
from remediation.engines.errors import HealError
from remediation.healing.hooks import (
    HOOK_SECONDS,
    HealEvent,
    HealResult,
    IncidentInfo,
    ServiceInfo,
    UnknownStepError,
)
from remediation.messages.message import first_line
from remediation.run import hookspecs

_NAMES = frozenset({"auto_heal_before", "auto_heal_after", "auto_heal_step", "auto_heal_notify"})


class _LateError(Exception):
    """A hook takes longer than it may."""


class _Manager(pluggy.PluginManager):
    """Knows our hooks, with or without `pytest.hookimpl`."""

    def __init__(self) -> None:
        super().__init__("pytest")
        self.add_hookspecs(hookspecs)

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        if name not in _NAMES or not inspect.isroutine(getattr(plugin, name)):
            return None
        return super().parse_hookimpl_opts(plugin, name) or cast("pluggy.HookimplOpts", {})


class PytestHooks:
    """The hooks of the plugins that a pytest session has registered."""

    def __init__(self, plugins: pytest.PytestPluginManager, log: Callable[..., None]) -> None:
        """Log to `log` what goes wrong in a hook. Plugins may be registered until the first call."""
        self._plugins = plugins
        self._log = log

    @cached_property
    def _manager(self) -> _Manager:
        """The manager of the plugins that have our hooks. ConfigError for a wrong argument."""
        manager = _Manager()
        for plugin_name, plugin in self._plugins.list_name_plugin():
            if plugin is not None and (names := [name for name in _NAMES if hasattr(plugin, name)]):
                for name in names:
                    _require_valid(plugin_name, name, getattr(plugin, name))
                manager.register(plugin, plugin_name)
        return manager

    def require_valid(self) -> None:
        """Raise ConfigError for a hook that is async, or has an argument that it does not have."""
        _ = self._manager

    def has(self, name: str) -> bool:
        """Return whether a plugin has this hook."""
        return bool(getattr(self._manager.hook, name).get_hookimpls())

    def before(self, service: ServiceInfo, step: str, incident: IncidentInfo) -> str | None:
        """Return why the service must not be healed now; None if it may be."""
        answer = self._try_calling("auto_heal_before", service=service, step=step, incident=incident)
        if answer is None or isinstance(answer, str):
            return answer or None
        problem = f"it returned {type(answer).__name__}, neither None nor a reason"
        self._log("hook_failed", hook="auto_heal_before", problem=problem)
        return None

    def after(self, service: ServiceInfo, result: HealResult, incident: IncidentInfo) -> None:
        """Tell how a step ended."""
        self._try_calling("auto_heal_after", service=service, result=result, incident=incident)

    def step(self, service: ServiceInfo, name: str, incident: IncidentInfo, *, timeout: float) -> None:
        """Take a step of the ladder. HealError if it fails, UnknownStepError if no hook knows it."""
        self._log("running_hook", hook=name)
        values = {"name": service.name, "hook": name}
        try:
            answer = self._call("auto_heal_step", timeout, service=service, name=name, incident=incident)
        except _LateError:
            raise HealError("hook_step_late", **values, timeout=timeout) from None
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise HealError("hook_step_failed", **values, problem=_problem(error)) from None
        if answer is None:
            raise UnknownStepError(service.name, name)
        # A coroutine, or a generator, is a step that nobody has taken.
        if answer is not True:
            problem = f"it returned {answer if answer is False else type(answer).__name__}, not True"
            raise HealError("hook_step_failed", **values, problem=problem)

    def notify(self, event: HealEvent) -> None:
        """Tell what the monitor notifies people of."""
        self._try_calling("auto_heal_notify", event=event)

    def _try_calling(self, name: str, /, **arguments: object) -> object:
        """Call a hook, and return its answer; log it if it fails, and return None."""
        try:
            return self._call(name, HOOK_SECONDS, **arguments)
        except KeyboardInterrupt:
            raise
        except _LateError:
            self._log("hook_late", hook=name, timeout=HOOK_SECONDS)
        except BaseException as error:  # noqa: BLE001 - SystemExit and pytest's own outcomes are no Exception
            self._log("hook_failed", hook=name, problem=_problem(error))
        return None

    def _call(self, name: str, timeout: float, /, **arguments: object) -> object:
        """Call a hook in a thread, since nothing else lets us go on without it. _LateError if it takes too long."""
        if not self.has(name):
            return None
        hook = getattr(self._manager.hook, name)
        answers: list[object] = []
        errors: list[BaseException] = []

        def call() -> None:
            try:
                answers.append(hook(**arguments))
            except BaseException as error:  # noqa: BLE001 - the waiting thread raises it again
                errors.append(error)

        thread = threading.Thread(target=call, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The system allows no more threads.
            call()
        else:
            thread.join(timeout)
        if errors:
            raise _RaisedError(errors[0]) if isinstance(errors[0], KeyboardInterrupt) else errors[0]
        if not answers:
            raise _LateError
        return answers[0]


class _RaisedError(Exception):
    """A hook raised KeyboardInterrupt itself: nobody has pressed Ctrl+C."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def _require_valid(plugin: str, name: str, hook: object) -> None:
    """Raise ConfigError for an argument that a hook does not have, and for one that nobody would await."""
    if not inspect.isroutine(hook):
        return
    if inspect.iscoroutinefunction(hook) or inspect.isasyncgenfunction(hook):
        raise ConfigError(f"{plugin}: {name} is async, and nobody would await it; define it with def")
    known = inspect.signature(getattr(hookspecs, name)).parameters
    for one in inspect.signature(hook).parameters.values():
        if one.name in known and (one.kind is one.KEYWORD_ONLY or one.default is not one.empty):
            raise ConfigError(
                f"{plugin}: {name}: pluggy gives no argument with a default or after *, as {one.name!r} is"
            )
        if one.name not in known and one.default is one.empty:
            raise ConfigError(f"{plugin}: {name} has no argument {one.name!r}; it has {', '.join(known)}")


def _problem(error: BaseException) -> str:
    """Return what went wrong in a hook, and where."""
    if isinstance(error, _RaisedError):
        error = error.error
    frames: list[Any] = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: " if frames else ""
    text = first_line(str(error))
    return f"{place}{type(error).__name__}{f': {text}' if text else ''}"
