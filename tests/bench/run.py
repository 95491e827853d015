"""Measure what auto-heal costs, side by side with what it is measured against, and print medians and ratios.

`python tests/bench/run.py` from the repository. Times depend on the machine and its other work, ratios
hardly do; nothing here fails on either.
"""

from __future__ import annotations

import argparse
import sys

from cases import Case, Ratio, healthy, killed, unit_tests
from ground import ground
from stopwatch import BenchError, Series, Time, race

CASES = {"healthy": healthy, "killed": killed, "unit": unit_tests}
QUICK_ROUNDS = 3
_WIDTH = 40


def _report(case: Case) -> None:
    print(f"\n{case.question:<{_WIDTH}}{'median':>10}{'least':>10}{'CPU':>10}")
    for series in case.contestants:
        print(f"  {series.name:<{_WIDTH - 2}}{_times(series)}")
    for ratio in case.ratios:
        print(f"  {ratio.name:<{_WIDTH - 2}}{_ratios(ratio)}   ({ratio.bound})")


def _times(series: Series) -> str:
    return _row(*(f"{seconds * 1000:.0f} ms" for seconds in (series.median.wall, series.least.wall, series.median.cpu)))


def _ratios(ratio: Ratio) -> str:
    median, least = Time.total(part.median for part in ratio.to), Time.total(part.least for part in ratio.to)
    of = ratio.of
    return _row(*(f"{part:.2f}" for part in (
        of.median.wall / median.wall, of.least.wall / least.wall, of.median.cpu / median.cpu,
    )))  # fmt: skip


def _row(*cells: str) -> str:
    # A time that was not taken is no number.
    return "".join(f"{'-' if cell.startswith('nan') else cell:>10}" for cell in cells)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what auto-heal costs.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"which of {', '.join(CASES)} (default: all)")
    parser.add_argument("--repeat", type=int, default=15, metavar="N", help="rounds of each race (default: 15)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds, to see that it works")
    options = parser.parse_args()
    if unknown := set(options.cases) - CASES.keys():
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    if options.repeat < 1:
        parser.error("--repeat: at least one round")
    return options


def main() -> int:
    """Run the races and print what they found; 1 if something could not be measured, 130 if interrupted."""
    options = _arguments()
    rounds = QUICK_ROUNDS if options.quick else options.repeat
    print(f"Python {sys.version.split()[0]}, {rounds} rounds, contestants take turns; wall time unless CPU is said")
    try:
        with ground() as place:
            place.start_service()
            for name in options.cases or CASES:
                case = CASES[name](place)
                race(case.contestants, rounds=rounds)
                _report(case)
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
