"""The hooks of a project are found whatever plugin has them, and none can break or delay a heal for long."""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from sandbox import REPOSITORY

from remediation.config.schema import ConfigError
from remediation.engines.errors import HealError
from remediation.healing.hooks import HealEvent, HealResult, IncidentInfo, NoHooks, ServiceInfo
from remediation.run import hooks as module
from remediation.run import hookspecs
from remediation.run.hooks import PytestHooks

SERVICE = ServiceInfo("api", "http://localhost:8787", 4711)
INCIDENT = IncidentInfo("3f9a01c7", 1000.0, "no answer")
RESULT = HealResult("restart", True, "", 0.1, "")


class Logged:
    """What a project's hooks have logged."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.lines: list[tuple[str, dict[str, object]]] = []

    def log(self, key: str, **values: object) -> None:
        """Log."""
        self.lines.append((key, values))

    def of(self, *plugins: object) -> PytestHooks:
        """Return the hooks of these plugins."""
        manager: Any = SimpleNamespace(list_name_plugin=lambda: [(f"plugin{n}", one) for n, one in enumerate(plugins)])
        return PytestHooks(manager, self.log)


@pytest.fixture
def logged() -> Logged:
    """What is logged."""
    return Logged()


@pytest.fixture
def hang() -> Iterator[Callable[[], None]]:
    """A hook that hangs until the end of the test."""
    event = threading.Event()

    def hang() -> None:
        event.wait()

    yield hang
    event.set()


def conftest(**functions: object) -> ModuleType:
    """Return a conftest with these functions."""
    made = ModuleType("conftest")
    vars(made).update(functions)
    return made


def test_a_hook_takes_the_arguments_that_it_names(logged: Logged) -> None:
    seen: list[object] = []

    def auto_heal_before(step: str, service: ServiceInfo) -> None:
        seen.extend([service.name, step])

    def auto_heal_after(result: HealResult) -> None:
        seen.append(result)

    hooks = logged.of(None, conftest(auto_heal_before=auto_heal_before, auto_heal_after=auto_heal_after))

    assert hooks.before(SERVICE, "restart", INCIDENT) is None
    hooks.after(SERVICE, RESULT, INCIDENT)
    assert seen == ["api", "restart", RESULT]
    assert logged.lines == []


def test_a_method_of_a_plugin_and_the_marks_of_pytest_count_as_well(logged: Logged) -> None:
    class Plugin:
        @pytest.hookimpl(trylast=True)
        def auto_heal_before(self) -> str:
            return "last"

    hooks = logged.of(conftest(auto_heal_before=lambda: "first"), Plugin())

    assert hooks.before(SERVICE, "restart", INCIDENT) == "first"


def test_the_first_reason_refuses_and_an_empty_one_does_not(logged: Logged) -> None:
    assert (
        logged.of(conftest(auto_heal_before=lambda service: f"not {service.name}")).before(SERVICE, "restart", INCIDENT)
        == "not api"
    )
    assert logged.of(conftest(auto_heal_before=lambda: "")).before(SERVICE, "restart", INCIDENT) is None


def test_what_has_a_name_of_ours_and_is_no_function_is_no_hook(logged: Logged) -> None:
    hooks = logged.of(conftest(auto_heal_before="text"))

    assert not hooks.has("auto_heal_before")
    assert hooks.before(SERVICE, "restart", INCIDENT) is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("bad\nmore"), "ValueError: bad"),
        (SystemExit(3), "SystemExit: 3"),
        (pytest.fail.Exception("no"), "Failed: no"),
        (KeyboardInterrupt(), ": KeyboardInterrupt"),
    ],
)
def test_whatever_a_hook_raises_is_told_with_its_place_and_ignored(
    logged: Logged, error: BaseException, said: str
) -> None:
    def auto_heal_before() -> None:
        raise error

    assert logged.of(conftest(auto_heal_before=auto_heal_before)).before(SERVICE, "restart", INCIDENT) is None

    [(key, values)] = logged.lines
    assert (key, values["hook"]) == ("hook_failed", "auto_heal_before")
    assert str(values["problem"]).startswith("test_hooks.py:")
    assert str(values["problem"]).endswith(said)


def test_an_answer_that_is_no_reason_is_told(logged: Logged) -> None:
    assert logged.of(conftest(auto_heal_before=lambda: True)).before(SERVICE, "restart", INCIDENT) is None

    assert logged.lines[0][1]["problem"] == "it returned bool, neither None nor a reason"


def test_one_that_hangs_is_not_waited_for(
    logged: Logged, hang: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HOOK_SECONDS", 0.05)
    hooks = logged.of(conftest(auto_heal_after=hang, auto_heal_notify=hang))

    hooks.after(SERVICE, RESULT, INCIDENT)
    hooks.notify(HealEvent("sick", "api", "title", "text", ""))

    assert [(key, values["hook"]) for key, values in logged.lines] == [
        ("hook_late", "auto_heal_after"), ("hook_late", "auto_heal_notify"),
    ]  # fmt: skip


def test_all_hooks_of_an_event_are_called(logged: Logged) -> None:
    seen: list[str] = []

    def hook(event: HealEvent) -> None:
        seen.append(event.kind)

    logged.of(conftest(auto_heal_notify=hook), conftest(auto_heal_notify=hook)).notify(
        HealEvent("healed", "api", "title", "text", "")
    )

    assert seen == ["healed", "healed"]


# A step of the ladder.


def step(logged: Logged, function: object, *, timeout: float = 30.0) -> str:
    """Return why the step `flush` fails; empty if it does not."""
    try:
        logged.of(conftest(auto_heal_step=function)).step(SERVICE, "flush", INCIDENT, timeout=timeout)
    except HealError as error:
        return str(error)
    return ""


def test_a_step_is_taken_by_the_hook_that_knows_it(logged: Logged) -> None:
    assert step(logged, lambda name: name == "flush" or None) == ""
    assert step(logged, lambda: None) == "api: no auto_heal_step of the project knows `flush`"
    assert step(logged, lambda: False) == "api: the hook flush failed: it returned False, not True"
    assert step(logged, lambda: iter(())) == "api: the hook flush failed: it returned tuple_iterator, not True"


def test_a_step_that_raises_or_hangs_has_failed(logged: Logged, hang: Callable[[], None]) -> None:
    def auto_heal_step() -> None:
        raise OSError("refused")

    line = auto_heal_step.__code__.co_firstlineno + 1
    assert step(logged, auto_heal_step) == f"api: the hook flush failed: test_hooks.py:{line}: OSError: refused"
    assert step(logged, hang, timeout=0.05) == "api: the hook flush takes longer than 0.05s"


def test_without_hooks_there_is_no_step() -> None:
    with pytest.raises(HealError, match="no auto_heal_step of the project knows `flush`"):
        NoHooks().step(SERVICE, "flush", INCIDENT, timeout=1)


# Mistakes.


def test_an_argument_that_a_hook_does_not_have_is_told(logged: Logged) -> None:
    def auto_heal_before(servce: str, optional: int = 3) -> None:
        del servce, optional

    with pytest.raises(ConfigError) as caught:
        logged.of(conftest(auto_heal_before=auto_heal_before)).require_valid()

    assert str(caught.value) == ("plugin0: auto_heal_before has no argument 'servce'; it has service, step, incident")


@pytest.mark.parametrize(
    "hook", [lambda service, step="": None, lambda service, *, step: None], ids=["default", "keyword only"]
)
def test_an_argument_that_would_never_be_given_is_told(logged: Logged, hook: Callable[..., None]) -> None:
    with pytest.raises(ConfigError) as caught:
        logged.of(conftest(auto_heal_before=hook)).require_valid()

    assert str(caught.value) == (
        "plugin0: auto_heal_before: pluggy gives no argument with a default or after *, as 'step' is"
    )


def test_a_hook_that_nobody_would_await_is_told(logged: Logged) -> None:
    async def auto_heal_after() -> None:
        pass

    with pytest.raises(ConfigError) as caught:
        logged.of(conftest(auto_heal_after=auto_heal_after)).require_valid()

    assert str(caught.value) == "plugin0: auto_heal_after is async, and nobody would await it; define it with def"


# The docs.


def test_the_docs_name_each_hook_with_its_arguments_and_show_hooks_that_can_be_called(logged: Logged) -> None:
    page = (REPOSITORY / "docs" / "how-to" / "hooks.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(auto_heal_\w+)` \| (.+?) \|", page, re.MULTILINE))
    (shown,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    module = conftest()
    exec(shown, vars(module))

    logged.of(module).require_valid()
    assert {name: re.findall(r"\w+", arguments) for name, arguments in rows.items()} == {
        name: list(inspect.signature(getattr(hookspecs, name)).parameters)
        for name in vars(hookspecs)
        if name.startswith("auto_heal_")
    }
