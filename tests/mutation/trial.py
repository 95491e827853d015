"""Tries mutants of one module, each in a fork of this process, on a copy of the repository.

Prints the name and the fate of each as a line of JSON. `mutate.py` starts it; it is not meant to be called by hand.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import coverage
import hypothesis  # noqa: F401 - imported once, before the forks, like all that is slow and that no mutant changes
import msgspec  # noqa: F401
import psutil  # noqa: F401
import pytest
import requests  # noqa: F401
from mutants import Mutant, mutants

REPOSITORY = Path(__file__).resolve().parents[2]
_COPIED = ("remediation", "tests", "healthtests", "examples", "conftest.py", "pyproject.toml")
_OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
# A mutant may take some times as long as its tests do without it, and some seconds.
_TIMES, _SECONDS = 4.0, 5.0
_MEMORY = 4 << 30


class _Observer:
    """Notes which lines of the module each test reaches, and how long it takes."""

    def __init__(self, module: Path) -> None:
        self._module = str(module)
        self._coverage = coverage.Coverage(data_file=None, include=[self._module], config_file=False)
        self._coverage.start()
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if not getattr(getattr(item, "obj", None), "is_hypothesis_test", False)]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        self._coverage.switch_context(item.nodeid)
        start = time.monotonic()
        result = yield
        self.seconds[item.nodeid] = time.monotonic() - start
        return result

    def reached(self) -> dict[int, list[str]]:
        """Return the tests that reach each line; all of them reach one that runs at import."""
        self._coverage.stop()
        lines = self._coverage.get_data().contexts_by_lineno(self._module)
        return {line: [*self.seconds] if "" in tests else tests for line, tests in lines.items()}


class _Selection:
    """Runs some of the tests, in a given order."""

    def __init__(self, tests: list[str]) -> None:
        self._places = {nodeid: place for place, nodeid in enumerate(tests)}

    @pytest.hookimpl
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = [item for item in items if item.nodeid in self._places]
        items[:] = sorted(chosen, key=lambda item: self._places[item.nodeid])


class _Trial:
    """A copy of the repository, and one module of it."""

    def __init__(self, module: str, root: Path) -> None:
        self.path = root / "remediation" / module
        self.source = self.path.read_bytes()
        room, name = root / "tests" / "unit" / Path(module).parent, Path(module).stem
        modules = sorted((path.stem for path in self.path.parent.glob("*.py")), key=len, reverse=True)

        def owner(tests: Path) -> str | None:
            words = f"{tests.stem.removeprefix('test_')}_"
            return next((each for each in modules if words.startswith(f"{each}_")), None)

        # Hypothesis may try other examples the next time; what kills a mutant must stay.
        files = (file for file in sorted(room.glob("test_*.py")) if not file.stem.endswith("_properties"))
        self.files = [str(file) for file in files if owner(file) == name]
        self.reached: dict[int, list[str]] = {}
        self.seconds: dict[str, float] = {}

    def observe(self) -> None:
        """Run all tests of the module without a mutant. SystemExit if they fail."""
        if not self.files:
            return
        read, write = os.pipe()

        def observed() -> int:
            observer = _Observer(self.path)
            code = pytest.main([*_OPTIONS, *self.files], [observer])
            with os.fdopen(write, "w") as pipe:
                json.dump([list(observer.reached().items()), observer.seconds], pipe)
            return code

        pid = _forked(observed, output=sys.stderr.fileno())
        os.close(write)
        with os.fdopen(read) as pipe:
            text = pipe.read()
        if _code(pid, 600.0) != 0:
            sys.exit(f"the tests of {self.path.name} fail without a mutant")
        lines, self.seconds = json.loads(text)
        self.reached = dict(lines)

    def is_killed(self, mutant: Mutant) -> bool:
        """Return whether one of the tests that reach a mutant fails with it."""
        first, last = mutant.lines
        reaching = {test for line in range(first, last + 1) for test in self.reached.get(line, [])}
        if not reaching:
            return False
        tests = sorted(reaching, key=self.seconds.__getitem__)
        # The tests of a module may lie in several files.
        files = sorted({file for file in self.files for test in tests if file.endswith(test.partition("::")[0])})
        self.path.write_bytes(mutant.source)
        # Python would take the compiled file of another mutant of the same second and size for that of this one.
        Path(cache_from_source(self.path)).unlink(missing_ok=True)
        with open(os.devnull, "r+") as nothing:
            pid = _forked(lambda: pytest.main([*_OPTIONS, *files], [_Selection(tests)]), output=nothing.fileno())
        return _code(pid, _SECONDS + _TIMES * sum(self.seconds[test] for test in tests)) != 0


def _forked(run: Callable[[], int], output: int) -> int:
    """Run a function in a child that leads a session of its own; return its PID."""
    if pid := os.fork():
        return pid
    code: int = pytest.ExitCode.INTERNAL_ERROR
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        for fd in (0, 1, 2):
            os.dup2(output, fd)
        code = run()
    finally:
        os._exit(code)


def _code(pid: int, timeout: float) -> int | None:
    """Return the exit code of a child; kill it after `timeout` seconds, and return None."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        # As PID 1 of a namespace, this process waits for the orphans of the tests as well.
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended == pid:
            return os.waitstatus_to_exitcode(status)
        if not ended:
            time.sleep(0.005)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def main(module: str, only: str, share: str, shares: str, deadline: str) -> None:
    """Try a share of a module's mutants, until a moment in epoch seconds."""
    with tempfile.TemporaryDirectory() as folder:
        for name in _COPIED:
            source, target = REPOSITORY / name, Path(folder, name)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        os.chdir(folder)
        sys.path[0] = folder
        tempfile.tempdir = folder
        for plugin in entry_points(group="pytest11"):
            plugin.load()
        trial = _Trial(module, Path(folder).resolve())
        trial.observe()
        for mutant in list(mutants(trial.source, only.split()))[int(share) :: int(shares)]:
            is_late = time.time() > float(deadline)
            fate = "untried" if is_late else "killed" if trial.is_killed(mutant) else "survived"
            print(json.dumps([mutant.name, fate]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
