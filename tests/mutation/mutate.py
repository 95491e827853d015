"""Mutation tests of what decides: verdict, ownership of processes, restart budget, merge and comparison.

    python tests/mutation/mutate.py [--minutes N] [--jobs N] [MODULE ...]

Each module is tried against its mirrored unit tests alone. A mutant that survives them, and is not in explained.toml
with the reason why no test can notice it, makes this fail; so does an explanation that is no longer needed.

Of the libraries, mutmut 3.8 and cosmic-ray 8.7 were tried. mutmut changes no property, no constant of a module and no
order, and drops no element and no statement: of seven faults that our tests had missed it makes none. It names mutants
by number, so a list of explanations would not outlive an edit. cosmic-ray starts Python anew for each mutant, changes
the files of the checkout in place, and makes eleven mutants of each `|` in a type. mutatest 3.1 needs coverage.py 5.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
# The modules in order of weight, each with the functions and classes that decide, if not all do.
MODULES: dict[str, tuple[str, ...]] = {
    "run/rounds.py": (),
    "run/junit.py": (),
    "run/publication.py": (),
    "run/run_state.py": (),
    "checks/results.py": (),
    "state/records.py": (),
    "system/exit_codes.py": (),
    "engines/ownership.py": (),
    # Not how long it waits and how often it looks: such mutants hang their tests.
    "system/process.py": (
        "_stat", "_is_thread", "_stat_by_psutil", "Identity", "zombies", "_session", "protected", "descendants",
        "group", "pids", "send", "end", "terminate", "_allowed", "marked", "marked_by", "value_of",
        "_marked_identity", "_environment",
    ),
    "system/ports.py": (),
    "healing/backoff.py": (),
    "state/service_state.py": (),
    "deployment/comparison.py": (),
}  # fmt: skip
# Their mutants could signal any process that they may. They are tried only where they see none but their own.
SIGNALLING = ("engines/ownership.py", "system/process.py", "system/ports.py", "state/service_state.py")


def namespace() -> list[str]:
    """Return the command that runs another one in a PID namespace of its own; empty if we may not make one."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    for more in ([], ["--user", "--map-current-user"]):
        try:
            if subprocess.run([*command, *more, "true"], capture_output=True, check=False).returncode == 0:
                return [*command, *more]
        except FileNotFoundError:
            return []
    return []


def fates(module: str, *, prefix: list[str], jobs: int, deadline: float) -> dict[str, Counter[str]]:
    """Try the mutants of a module in parallel shares; return how many of each name met which fate."""
    words = [sys.executable, str(HERE / "trial.py"), module, " ".join(MODULES[module])]
    trials = [
        subprocess.Popen([*prefix, *words, str(share), str(jobs), str(deadline)], stdout=subprocess.PIPE, text=True)
        for share in range(jobs)
    ]
    found: dict[str, Counter[str]] = {}
    try:
        outputs = [trial.communicate()[0] for trial in trials]
    finally:
        for trial in trials:
            trial.kill()
    if any(trial.returncode for trial in trials):
        sys.exit(f"{module} could not be tried")
    for line in "".join(outputs).splitlines():
        name, fate = json.loads(line)
        found.setdefault(name, Counter())[fate] += 1
    return found


def judged(module: str, found: dict[str, Counter[str]], explained: dict[str, str], seconds: float) -> bool:
    """Print what became of a module's mutants; return whether all is well."""
    survivors = [name for name, fate in found.items() if fate["survived"] and name not in explained]
    untried = sum(fate["untried"] for fate in found.values())
    idle = [name for name in explained if not untried and not found.get(name, Counter())["survived"]]
    total = sum(map(Counter.total, found.values()))
    killed = sum(fate["killed"] for fate in found.values())
    print(f"{module}: {total} mutants, {killed} killed, {len(explained) - len(idle)} explained, "
          f"{len(survivors)} survived, {untried} untried, {seconds:.0f} s")  # fmt: skip
    for name in survivors:
        print(f"  survived: {name}")
    for name in idle:
        print(f"  explained, but killed or no longer there: {name}")
    sys.stdout.flush()
    return not (survivors or idle or untried)


def main() -> int:
    """Try the modules, and return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"one of {', '.join(MODULES)}")
    parser.add_argument("--minutes", type=float, default=30.0, help="the limit for all modules together")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    if unknown := set(options.modules) - set(MODULES):
        parser.error(f"not among the modules: {', '.join(sorted(unknown))}")
    deadline, prefix, is_well = time.time() + 60 * options.minutes, namespace(), True
    explained = tomllib.loads((HERE / "explained.toml").read_text(encoding="utf-8"))
    for module in options.modules or MODULES:
        if module in SIGNALLING and not prefix:
            print(
                f"{module}: refused, because its mutants could signal any process, and unshare(1) gives us no namespace"
            )
            is_well = False
            continue
        start = time.monotonic()
        found = fates(module, prefix=prefix, jobs=options.jobs, deadline=deadline)
        is_well &= judged(module, found, explained.get(module, {}), time.monotonic() - start)
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
