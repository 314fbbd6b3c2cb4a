"""Tools of all benchmarks: rounds in turn, rows that compare two sides, tables and JSON.

A row is dnnbench's side over the other one. Lower is better in every row, so a target is reached if
the ratio does not exceed it.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from dnnbench.analysis import stats
from dnnbench.sweep.documents import write_whole
from dnnbench.trial.machine import MachineSnapshot, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Measures = dict[str, float]
PIPE_WIDTH = 180


class Options(NamedTuple):
    """Options of every benchmark.

    Attributes:
        rounds: None for the benchmark's own default.
        quick: check in minutes whether everything works; the figures mean nothing.
        torch_python: interpreter of an environment with PyTorch.
    """

    rounds: int | None
    quick: bool
    data_dir: Path | None
    torch_python: str

    def rounds_or(self, default: int) -> int:
        """Return the number of rounds."""
        return self.rounds or (1 if self.quick else default)


class Verdict(msgspec.Struct, frozen=True):
    """The result of a row.

    Attributes:
        ratio: of medians; for paired rows the geometric mean of the rounds' ratios.
        low, high: smallest and largest ratio of a round; for paired rows the 95 % interval, None
            with a single round.
        reached: whether the ratio, and the upper end if it has a limit, reach the target.
    """

    ours: float
    theirs: float
    ratio: float
    low: float | None
    high: float | None
    reached: bool


class Row(msgspec.Struct, frozen=True):
    """One comparison: entry ``i`` of both lists comes from round ``i``.

    Attributes:
        target: for the ratio.
        limit: for the upper end of the ratio's interval; None for no limit.
        spread: how the ratio and its spread are computed, see :class:`Verdict`.
    """

    what: str
    against: str
    unit: str
    ours: list[float]
    theirs: list[float]
    target: float
    limit: float | None = None
    spread: Literal["rounds", "interval"] = "rounds"

    def verdict(self) -> Verdict:
        """Judge the row."""
        low: float | None
        high: float | None
        ratio, low, high = median(self.ours) / median(self.theirs), None, None
        if self.spread == "interval":
            pairs = dict(enumerate(self.ours)), dict(enumerate(self.theirs))
            if estimate := stats.ratio_percent(*pairs, paired=True):  # None after a single round
                percents = estimate.percent, estimate.low_percent, estimate.high_percent
                ratio, low, high = (1 + percent / 100 for percent in percents)
        else:
            by_round = [a / b for a, b in zip(self.ours, self.theirs, strict=True)]
            low, high = min(by_round), max(by_round)
        reached = ratio <= self.target
        if self.limit is not None:
            reached = reached and high is not None and high <= self.limit
        return Verdict(median(self.ours), median(self.theirs), ratio, low, high, reached)


class Result(msgspec.Struct):
    """The result of a benchmark.

    Attributes:
        rows: comparisons against a target.
        tables: further figures, title -> rows of equal keys.
        rounds: raw measures, by round and side, of every group of sides that ran in turn.
        skipped: measurements that were not possible, and why.
    """

    name: str
    rows: list[Row]
    tables: dict[str, list[dict[str, Any]]] = {}
    rounds: dict[str, list[dict[str, Measures]]] = {}
    skipped: list[str] = []


class Report(msgspec.Struct):
    """Results with the machine that they ran on."""

    before: MachineSnapshot
    load_after: tuple[float, float, float]
    quick: bool
    results: list[Result]


def note(text: str) -> None:
    """Print progress to standard error."""
    print(text, file=sys.stderr, flush=True)


def in_turn(
    group: str, sides: Mapping[str, Callable[[int], Measures]], rounds: int
) -> list[dict[str, Measures]]:
    """Run every side once per round, forward and backward in turn; pass it the round's number.

    A machine that slows down meanwhile thus affects all sides alike.
    """
    measured: list[dict[str, Measures]] = []
    for number in range(rounds):
        names = list(sides) if number % 2 == 0 else list(sides)[::-1]
        a_round: dict[str, Measures] = {}
        for name in names:
            a_round[name] = sides[name](number)
            shown = ", ".join(f"{key} {value:.4g}" for key, value in a_round[name].items())
            note(f"{group}, round {number + 1} of {rounds}: {name}: {shown}")
        measured.append(a_round)
    return measured


def column(rounds: Iterable[Mapping[str, Measures]], side: str, measure: str) -> list[float]:
    """Return one measure of one side, one value per round."""
    return [a_round[side][measure] for a_round in rounds]


def medians(
    rounds: Sequence[Mapping[str, Measures]], measures: Sequence[str]
) -> list[dict[str, Any]]:
    """Return a table with one row per side: its medians of those of these measures it has."""
    return [
        {"side": side}
        | {
            measure: median(column(rounds, side, measure))
            for measure in measures
            if measure in rounds[0][side]
        }
        for side in rounds[0]
    ]


def row_table(rows: Iterable[Row]) -> list[dict[str, str]]:
    """Lay out rows for a table."""
    return [_row_cells(row, row.verdict()) for row in rows]


def _row_cells(row: Row, verdict: Verdict) -> dict[str, str]:
    spread = ""
    if verdict.low is not None and verdict.high is not None:
        spread = f"{verdict.low:.3g} to {verdict.high:.3g}"
        if row.spread == "interval":
            spread += " (95 %)"
    target = f"≤ {row.target:g}"
    if row.limit is not None:
        target += f", upper end ≤ {row.limit:g}"
    return {
        "what": row.what,
        "against": row.against,
        "dnnbench": f"{_figure(verdict.ours)} {row.unit}",
        "other": f"{_figure(verdict.theirs)} {row.unit}",
        "ratio": f"{verdict.ratio:.3g}",
        "spread": spread,
        "target": target,
        "reached": "yes" if verdict.reached else "no",
        "rounds": str(len(row.ours)),
    }


def _figure(value: float) -> str:
    """Write three digits, or all digits before the decimal point."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"  # noqa: PLR2004 - 4 digits


def as_markdown(result: Result) -> str:
    """Return a result's tables as Markdown."""
    from tabulate import tabulate

    parts = []
    if result.rows:
        parts.append(tabulate(row_table(result.rows), headers="keys", tablefmt="github"))
    for title, rows in result.tables.items():
        table = tabulate(rows, headers="keys", tablefmt="github", floatfmt=".4g", missingval="")
        parts.append(f"{title}:\n\n{table}")
    parts += [f"Not measured: {reason}." for reason in result.skipped]
    return "\n\n".join(parts) + "\n"


def show(result: Result) -> None:
    """Print a result's tables."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    tables: dict[str, list[dict[str, Any]]] = {result.name: row_table(result.rows), **result.tables}
    for title, rows in tables.items():
        if not rows:
            continue
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
        for key in rows[0]:
            table.add_column(key)
        for row in rows:
            cells = (row.get(key, "") for key in rows[0])
            table.add_row(*(f"{c:.4g}" if isinstance(c, float) else str(c) for c in cells))
        console.print(table)
    for reason in result.skipped:
        console.print(f"not measured: {reason}")


def as_json(report: Report) -> bytes:
    """Return a report as a JSON document; every row has its verdict beside it."""
    document = msgspec.to_builtins(report)
    for result, raw in zip(report.results, document["results"], strict=True):
        for row, raw_row in zip(result.rows, raw["rows"], strict=True):
            raw_row["verdict"] = msgspec.to_builtins(row.verdict())
    return msgspec.json.format(msgspec.json.encode(document)) + b"\n"


def main(description: str, *measures: Callable[[Options], Result]) -> None:
    """Parse the options, run these benchmarks, show each result and write the requested files."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--rounds", type=int, help="rounds in which every side runs")
    parser.add_argument(
        "--quick", action="store_true", help="only check that it works; the figures mean nothing"
    )
    parser.add_argument(
        "--data-dir", type=Path, help="MNIST's IDX files; by default synthetic-mnist"
    )
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter with PyTorch")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")
    given = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):  # like Ctrl-C, they end the processes started
        signal.signal(number, signal.default_int_handler)
    options = Options(given.rounds, given.quick, given.data_dir, given.torch_python)
    before = snapshot()
    results: list[Result] = []
    for measure in measures:
        results.append(measure(options))
        show(results[-1])
        # After each one, so that a later interruption does not lose it.
        report = Report(before, snapshot().load_average, options.quick, results)
        if given.json:
            write_whole(given.json, as_json(report))
        if given.markdown:
            sections = (f"## {result.name}\n\n{as_markdown(result)}" for result in results)
            write_whole(given.markdown, "\n".join(sections).encode())
