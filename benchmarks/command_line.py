"""Response times of the command line, and a report's time against the size of its sweep."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import Options, Result, Row, column, in_turn, main
from benchmarks.processes import python, timed_run
from benchmarks.stored import store_sweep

if TYPE_CHECKING:
    from benchmarks.harness import Measures

NAME = "Command line"
ROUNDS = 20
TIMEOUT_S = 60.0
IMPORT = "import click, rich"
IMPORT_TARGET, SIZE_TARGET = 2.0, 3.0
HELP, COST, REPORT, PAPER = (
    "dnnbench --help",
    "dnnbench cost",
    "dnnbench report",
    "dnnbench report, paper profile",
)


def measure(options: Options) -> Result:
    """Time every command and the imports in turn."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        quick = store_sweep(directory / "quick", "quick")
        paper = store_sweep(directory / "paper", "paper")
        commands = {
            IMPORT: ["-c", IMPORT],
            HELP: ["-m", "dnnbench", "--help"],
            COST: ["-m", "dnnbench", "cost", str(quick)],
            REPORT: ["-m", "dnnbench", "report", str(quick)],
            PAPER: ["-m", "dnnbench", "report", str(paper)],
        }
        for (
            arguments
        ) in commands.values():  # once unmeasured, for compiled modules and the file cache
            timed_run(python(*arguments), TIMEOUT_S, directory)
        sides = {name: partial(_run, directory, text) for name, text in commands.items()}
        rounds = in_turn("command line", sides, options.rounds_or(ROUNDS))
    ms = {side: column(rounds, side, "ms") for side in sides}
    rows = [
        Row(side, f'python -c "{IMPORT}"', "ms", ms[side], ms[IMPORT], IMPORT_TARGET)
        for side in (HELP, COST, REPORT)
    ]
    rows.append(Row(PAPER, f"{REPORT}, quick", "ms", ms[PAPER], ms[REPORT], SIZE_TARGET))
    return Result(NAME, rows, rounds={"command line": rounds})


def _run(directory: Path, arguments: list[str], _: int) -> Measures:
    return {"ms": 1e3 * timed_run(python(*arguments), TIMEOUT_S, directory)}


if __name__ == "__main__":
    main(__doc__ or NAME, measure)
