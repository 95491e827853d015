"""The pytest plugin `auto-heal`: it turns a session that runs checks into a health run, and leaves all others alone.

pytest loads it in every session. Until a session is a health run, it imports only the standard library, pytest and its
neighbour, because a project may have a package `remediation` of its own. If a conftest has these hooks too, as that of
auto-heal's own repository has, the conftest's run, and the ones here do nothing.

PYTEST_DONT_REWRITE, as for the package.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Generator, Iterable
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from auto_heal_command import conflict, other_package

if TYPE_CHECKING:
    from remediation.checks.client import Services
    from remediation.checks.probe import Probe

# The folder whose tests are checks.
FOLDER = "healthtests"
NAME = "auto-heal"
# The plugins that a health run and any other session register.
RUN, BYSTANDER = "auto-heal-run", "auto-heal-bystander"
MARKER = "heals(*services): the services that a failure of this check may heal."
_FILES = ("auto-heal.toml", "pyproject.toml")
# In an installed package the neighbours of this module are the package; in a clone, it is inside.
_HERE = Path(__file__).resolve().parent
_PACKAGE = _HERE.parent if _HERE.name == "entry_point" else _HERE / "remediation"
_HOOKS = pytest.StashKey["ModuleType | None"]()
_stale_report: ModuleType | None = None


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add --heal and its companions, and remove the report of an earlier run before anything can fail."""
    for name in (NAME, __name__):
        # pytest refuses to register a module under a second name, as `pytest_plugins` or `-p` would.
        if not pluginmanager.has_plugin(name):
            pluginmanager.register(_OtherName(), name)
    # pytest rewrites the assertions in the packages of plugins, and would do so in a package of the project that has
    # the name of ours. Our own package has none to rewrite.
    getattr(pluginmanager.rewrite_hook, "_must_rewrite", set()).discard("remediation")
    add_options(parser)
    config = pluginmanager.get_plugin("pytestconfig")
    if config and may_be_health_run(config) and not _is_watched():
        invocation = config.invocation_params
        _load_stale_report().remove(invocation.args, invocation.dir)


class _OtherName:
    """Occupies the other name of this plugin."""


def add_options(parser: pytest.Parser) -> None:
    """Add the options of the group auto-heal, if they are not there yet."""
    group = parser.getgroup(NAME)
    if group.options:
        return
    group.addoption(
        "--heal",
        choices=("auto", "plan", "off"),
        metavar="auto|plan|off",
        help=f"heal failed services and check again, or only tell how (default: auto for {FOLDER}/, or AUTO_HEAL)",
    )
    group.addoption("--no-heal", action="store_const", dest="heal", const="off", help="the same as --heal=off")
    group.addoption(
        "--heal-rounds",
        type=_rounds,
        metavar="N",
        help="heal at most N times (default: as often as the ladders of the sick services have rungs)",
    )
    group.addoption("--fail-on-heal", action="store_true", help="exit with 10 if all is well only after a heal")
    group.addoption(
        "--allow-unproven",
        action="store_true",
        help="exit with 0 also if no check of a service has proven anything, since all were skipped",
    )
    group.addoption(
        "--rollback",
        action="store_true",
        help="if no heal helps, run the rollback of the service and check again; exit with 11 if all is well then",
    )


def _rounds(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number, 0 or more")
    return int(text)


def may_be_health_run(config: pytest.Config) -> bool:
    """Return whether a session looks like a health run by its command line, before pytest has read that."""
    if config.pluginmanager.is_blocked(NAME):
        return False
    arguments = config.invocation_params.args
    before = (None, *arguments)
    named = [new for old, new in zip(before, arguments, strict=False) if old not in ("-c", "--config-file")]
    paths = [Path(argument.partition("::")[0]) for argument in named if not argument.startswith("-")]
    return "--heal=auto" in arguments or any(FOLDER in path.parts or path.name in _FILES for path in paths)


def _is_watched() -> bool:
    """Return whether a supervisor or the monitor started this session, and removed an old report before."""
    protocol = sys.modules.get("remediation.supervision.protocol")
    return bool(getattr(protocol, "current", None) or getattr(protocol, "is_watched", False))


def _load_stale_report() -> ModuleType:
    """Import a module of ours and forget the import, because `import remediation` may have to find another package."""
    global _stale_report  # noqa: PLW0603 - a module is loaded once
    if _stale_report is None:
        spec = PathFinder.find_spec(_PACKAGE.name, [str(_PACKAGE.parent)])
        if spec is None or spec.loader is None:
            raise ImportError(f"{_PACKAGE} is incomplete")
        imported = _forget_package()
        try:
            sys.modules[_PACKAGE.name] = package = module_from_spec(spec)
            spec.loader.exec_module(package)
            _stale_report = import_module(f"{_PACKAGE.name}.checks.stale_report")
        finally:
            _forget_package()
            sys.modules.update(imported)
    return _stale_report


def _forget_package() -> dict[str, ModuleType]:
    """Remove the modules of the package from those that are imported, and return them."""
    names = [name for name in sys.modules if name.partition(".")[0] == _PACKAGE.name]
    return {name: sys.modules.pop(name) for name in names}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    """Limit the time in which the conftests of a health run are imported."""
    known = early_config.known_args_namespace
    if not may_be_health_run(early_config) or not _runs_checks(early_config, known.heal, known.file_or_dir):
        return (yield)
    loading: ModuleType | None = None
    if not other_package():
        from remediation.checks import conftest_loading as loading
        from remediation.run import plugin

        plugin.load(early_config.pluginmanager)
    try:
        return (yield)
    except Exception as error:
        if path := other_package():
            # A conftest imported from the one package and was given the other.
            raise pytest.UsageError(conflict(path)) from None
        from remediation.checks.import_hint import hint

        if text := hint(error, early_config.rootpath):
            sys.stderr.write(f"{text}\n")
        raise
    finally:
        if loading:
            loading.end()


def is_health_run(config: pytest.Config) -> bool:
    """Return whether this session runs checks, and so may heal.

    It does if an argument names a path in a folder called healthtests, or the configuration, whose checks need no
    Python, or with --heal=auto, but never merely because a test failed.
    """
    if config.pluginmanager.is_blocked(NAME):
        return False
    if hasattr(config, "workerinput"):
        return bool(config.workerinput.get(FOLDER))
    return _runs_checks(config, config.getoption("heal"), config.args)


def _runs_checks(config: pytest.Config, heal: str | None, arguments: Iterable[str]) -> bool:
    # Only below the root, because the project itself may be in a folder of that name.
    paths = [_below_root(config, argument) for argument in arguments]
    return heal == "auto" or any(FOLDER in path.parts or path.name in _FILES for path in paths)


def _below_root(config: pytest.Config, argument: str) -> Path:
    path = Path(os.path.normpath(config.invocation_params.dir / argument.partition("::")[0]))
    return path.relative_to(config.rootpath) if path.is_relative_to(config.rootpath) else Path()


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Fork and supervise a health run, so that it ends even if a check hangs or crashes."""
    hooks = _hooks(config)
    code: int | None = hooks.supervise(config) if hooks else None
    return code


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Turn a session with checks into a health run: retries, deadlines, a report of every attempt."""
    add_marker(config)
    if hooks := _hooks(config):
        hooks.begin(config)
    elif not is_health_run(config) and (config.rootpath / FOLDER).is_dir() and _is_configured(config):
        stand_by(config)


def add_marker(config: pytest.Config) -> None:
    """Register the marker `heals`, if it is not there yet."""
    if MARKER not in config.getini("markers"):
        config.addinivalue_line("markers", MARKER)


def stand_by(config: pytest.Config) -> None:
    """Keep the checks out of a session that only passes their folder, such as a bare `pytest`."""
    if not config.pluginmanager.has_plugin(BYSTANDER):
        config.pluginmanager.register(_Bystander(config), BYSTANDER)


class _Bystander:
    def __init__(self, config: pytest.Config) -> None:
        self._folder = config.rootpath / FOLDER

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Ignore the checks of the project."""
        return True if collection_path == self._folder else None


def _is_configured(config: pytest.Config) -> bool:
    """Return whether auto-heal is configured, without parsing anything. Otherwise the folder may have other tests."""
    for folder in (config.invocation_params.dir, *config.invocation_params.dir.parents):
        for name in _FILES:
            try:
                text = (folder / name).read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            if name == _FILES[0] or NAME in text:
                return True
    return False


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, object, object]:
    """After round one and its report: heal, check again, and set the exit code."""
    result = yield
    if hooks := _hooks(session.config):
        hooks.finish(session)
    return result


@pytest.fixture
def services(request: pytest.FixtureRequest) -> Services:
    """The configured services by name: `services["api"].get("/api/health")`."""
    from remediation.checks.client import services_for

    return services_for(request)


@pytest.fixture
def probe(request: pytest.FixtureRequest) -> Probe:
    """What a check can measure: `probe.memory("api", below="500 MiB")`."""
    from remediation.checks.probe import probe_for

    return probe_for(request)


def _hooks(config: pytest.Config) -> ModuleType | None:
    """Return the module with the hooks of a health run; None in other sessions, and if a conftest has these hooks.

    UsageError if another package hides ours.
    """
    if _HOOKS not in config.stash:
        config.stash[_HOOKS] = _load_hooks(config)
    return config.stash[_HOOKS]


def _load_hooks(config: pytest.Config) -> ModuleType | None:
    if not is_health_run(config):
        return None
    if path := other_package():
        raise pytest.UsageError(conflict(path))
    from remediation.run import plugin

    return None if _is_in_conftest(plugin, config.pluginmanager) else plugin


def _is_in_conftest(hooks: ModuleType, manager: pytest.PytestPluginManager) -> bool:
    modules = [plugin for plugin in manager.get_plugins() if isinstance(plugin, ModuleType)]
    return any(value is hooks for module in modules for value in vars(module).values())
