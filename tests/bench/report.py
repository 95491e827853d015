"""What a benchmark says: one table a question, of times in milliseconds and of the ratios that are the answer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from stopwatch import Series, Time

_NAME_WIDTH = 42
_CELL_WIDTH = 12
TIMES = ("median", "least", "CPU")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table."""

    name: str
    cells: tuple[str, ...]
    remark: str = ""


@dataclass(slots=True)
class Table:
    """One question and its answers."""

    question: str
    columns: tuple[str, ...] = TIMES
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def print(self) -> None:
        """Print it."""
        print(f"\n{_line(self.question, self.columns)}")
        for row in self.rows:
            cells = row.cells[: len(self.columns)]
            print(_line(f"  {row.name}", cells) + (f"   ({row.remark})" if row.remark else ""))
        for note in self.notes:
            print(f"  {note}")


class Matrix(Table):
    """Answers in words, a line a question and a column a contestant: printed as Markdown, as the docs want it."""

    def print(self) -> None:
        """Print it."""
        lines = [(self.question, self.columns), ("---", ("---",) * len(self.columns))]
        lines += [(row.name, row.cells) for row in self.rows]
        print()
        for name, cells in lines:
            print(f"| {' | '.join((name, *cells))} |", flush=True)
        print()
        for note in self.notes:
            print(note)


def _line(name: str, cells: tuple[str, ...]) -> str:
    return f"{name:<{_NAME_WIDTH}}" + "".join(f"{cell:>{_CELL_WIDTH}}" for cell in cells)


def milliseconds(seconds: float, *, cap: float = math.inf) -> str:
    """Write a time; one that was not taken is no number, and one that did not end is more than `cap` seconds."""
    if math.isnan(seconds):
        return "-"
    return f"> {cap:g} s" if math.isinf(seconds) else f"{seconds * 1000:.0f} ms"


def quotient(of: float, to: float) -> str:
    """Write a ratio, if it is one."""
    ratio = of / to if to else math.nan
    return f"{ratio:.2f}" if math.isfinite(ratio) and not math.isinf(to) else "-"


def times(series: Series, *, cap: float = math.inf, remark: str = "") -> Row:
    """Return the row of one contestant."""
    seconds = (series.median.wall, series.least.wall, series.median.cpu)
    return Row(series.name, tuple(milliseconds(value, cap=cap) for value in seconds), remark)


def ratio(name: str, of: Series, to: tuple[Series, ...], bound: str) -> Row:
    """Return the row that compares one contestant's times with the sum of others', and says what is meant to be."""
    median, least = Time.total(part.median for part in to), Time.total(part.least for part in to)
    cells = (
        quotient(of.median.wall, median.wall),
        quotient(of.least.wall, least.wall),
        quotient(of.median.cpu, median.cpu),
    )
    return Row(name, cells, bound)


def excess(name: str, of: Series, to: tuple[Series, ...], bound: str) -> Row:
    """Return the row that says by how much one contestant's times exceed the sum of others'."""
    median, least = Time.total(part.median for part in to), Time.total(part.least for part in to)
    cells = (
        milliseconds(of.median.wall - median.wall),
        milliseconds(of.least.wall - least.wall),
        milliseconds(of.median.cpu - median.cpu),
    )
    return Row(name, cells, bound)
