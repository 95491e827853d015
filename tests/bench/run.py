"""Measure what auto-heal costs, side by side with what it is measured against, and print medians and ratios.

`python tests/bench/run.py` from the repository. Times depend on the machine and its other work, ratios
hardly do; nothing here fails on either. Of the other watchers (pm2, supervisord with superlance, runit, monit)
those take part that are on the PATH; the rest is named as not measured.
"""

from __future__ import annotations

import argparse
import sys

from cases import declared, healthy, killed, status, unit_tests
from cost_cases import cycle, healthy_watch, rest
from crowd_cases import hung_crowd, killed_crowd, scaling
from fault_cases import faults
from ground import ground
from stopwatch import BenchError, Pace
from watch_cases import watched_hang, watched_kill, watched_port, watched_stop

CASES = {
    "healthy": healthy, "killed": killed, "unit": unit_tests, "status": status,
    "declared": declared,
    "watch-kill": watched_kill, "watch-stop": watched_stop, "watch-port": watched_port, "watch-hang": watched_hang,
    "watch-cpu": healthy_watch, "watch-cycle": cycle, "watch-rest": rest,
    "crowd": scaling, "crowd-hung": hung_crowd, "crowd-killed": killed_crowd,
    "faults": faults,
}  # fmt: skip
# Takes longer than all others together.
_ON_DEMAND = {"faults"}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what auto-heal costs.")
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help=f"which of {', '.join(CASES)} (default: all but faults)"
    )
    parser.add_argument("--repeat", type=int, default=15, metavar="N", help="rounds of each race (default: 15)")
    parser.add_argument("--quick", action="store_true", help="few rounds, to see that it works")
    options = parser.parse_args()
    if unknown := set(options.cases) - CASES.keys():
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    if options.repeat < 1:
        parser.error("--repeat: at least one round")
    return options


def main() -> int:
    """Run the races and print what they found; 1 if something could not be measured, 130 if interrupted."""
    options = _arguments()
    pace = Pace.quick() if options.quick else Pace.full(options.repeat)
    print(
        f"Python {sys.version.split()[0]}, {pace.rounds} rounds, contestants take turns; wall time unless CPU is said",
        flush=True,
    )
    try:
        with ground() as place:
            place.start_service()
            for name in options.cases or [name for name in CASES if name not in _ON_DEMAND]:
                CASES[name](place, pace).print()
            place.stop_service()
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
