"""Plugins: the runs that auto-heal is for, once with each plugin of pytest that people have.

    python tests/plugins/run.py
    python tests/plugins/run.py html cov

Each plugin has an environment of its own, on top of the one that this runs in; xdist joins it at last. playwright is
tried without a browser, which would be a download of its own: its client of APIs needs none.
"""

# ruff: noqa: E402 - the tests' own modules are found once their folder is on the path

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "support"), str(Path(__file__).resolve().parents[2])]

from plugin_situations import SITUATIONS, WITH_WORKERS, WITHOUT_WORKERS
from plugin_table import PLUGINS

# How long the installation of a plugin may take, and all of its situations, in seconds.
_INSTALL, _TRY = 300, 600
# Of what is wrong, in characters.
_MOST = 6000


def main() -> int:
    """Try the plugins that are named, or all; print a table, and return 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plugins", nargs="*", metavar="PLUGIN", help=f"of these: {', '.join(PLUGINS)}")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once (default: %(default)s)")
    # How it calls itself, with the Python of a plugin's environment.
    parser.add_argument("--here", nargs="+", default=[], help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.plugins or list(PLUGINS)
    if unknown := sorted(set(names) - set(PLUGINS)):
        parser.error(f"no such plugin: {', '.join(unknown)}")
    if options.here:
        try_here(names[0], options.here)
        return 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        results = dict(zip(names, pool.map(lambda name: try_apart(name, Path(folder) / name), names), strict=True))
    show(results)
    return int(any(problem for problems in results.values() for problem in problems.values()))


def try_apart(name: str, folder: Path) -> dict[str, str]:
    """Try a plugin in an environment of its own; return what is wrong in each situation, "" if nothing is."""
    plugin, problems = PLUGINS[name], dict[str, str]()
    python = environment(folder)
    steps = [([plugin.distribution, *plugin.needs], WITHOUT_WORKERS), (["pytest-xdist"], WITH_WORKERS)]
    for distributions, all_of_them in steps:
        situations = [one for one in all_of_them if one not in plugin.cannot]
        install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *distributions]
        attempt = [str(python), __file__, name, "--here", *situations]
        told = _told_by(install, _INSTALL) or _told_by(attempt, _TRY)
        found = dict(json.loads(line) for line in told.splitlines() if line.startswith("["))
        problems |= {one: found.get(one, told) for one in situations}
    print(f"{name}: {'see below' if any(problems.values()) else 'ok'}", flush=True)
    return problems


def environment(folder: Path) -> Path:
    """Make an environment that has what ours has, and return its Python."""
    venv.create(folder)
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    ours = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (folder / "lib" / name / "site-packages" / "ours.pth").write_text(ours, encoding="utf-8")
    return folder / "bin" / "python"


def _told_by(command: list[str], timeout: float) -> str:
    """Return what a command says on stdout if it succeeds, all that it says if not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return f"{shlex.join(command)}: not within {timeout}s"
    if done.returncode != 0:
        return f"{shlex.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def try_here(name: str, situations: Iterable[str]) -> None:
    """Try a plugin with what is installed here, and tell what is wrong in each situation, a line of JSON for each."""
    for situation in situations:
        problem = ""
        with tempfile.TemporaryDirectory() as folder:
            try:
                SITUATIONS[situation](PLUGINS[name], Path(folder))
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"[:_MOST]
        print(json.dumps([situation, problem]), flush=True)


def show(results: dict[str, dict[str, str]]) -> None:
    """Print plugin by situation, and below that what is wrong."""
    for name, problems in results.items():
        for situation, problem in problems.items():
            if problem:
                print(f"\n{name}, {situation}: {problem}")
    width = max(map(len, results))
    print("\n" + " " * width, *SITUATIONS, sep="  ")
    for name, problems in results.items():
        cells = [{None: "-", "": "ok"}.get(problems.get(one), "no").ljust(len(one)) for one in SITUATIONS]
        print(name.ljust(width), *cells, sep="  ")
    for name in results:
        for situation, reason in PLUGINS[name].cannot.items():
            print(f"- {name}, {situation}: {reason}")


if __name__ == "__main__":
    sys.exit(main())
