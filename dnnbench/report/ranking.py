"""The tables that rank the settings of a grid; a sweep that varies none has no such tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.report import wording as w
from dnnbench.report.layout import cell_columns, cell_names, title
from dnnbench.text.tables import NONE, Column, Table
from dnnbench.text.words import seconds

if TYPE_CHECKING:
    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.ranking import Ranking


def tables(analysis: Analysis) -> list[Table]:
    """Return the rankings by accuracy and by time to the target accuracy, if there are any."""
    ranking = analysis.ranking
    return [by_accuracy(analysis, ranking), by_time(analysis, ranking)] if ranking else []


def by_accuracy(analysis: Analysis, ranking: Ranking) -> Table:
    """Return the settings by final test accuracy."""
    remarks = []
    if any(cell.diverged for cell in ranking.cells):
        remarks.append(
            "A setting of which trials diverged has no rank: the mean of the others is too good."
        )
    return Table(
        title(analysis, "Settings by final test accuracy"),
        [
            Column("Rank"),
            *cell_columns(analysis),
            Column("test %"),
            Column("behind the best"),
            Column("trials"),
        ],
        [
            [
                _rank(cell.rank_by_accuracy),
                *cell_names(analysis, cell),
                w.mean_text(cell.test_accuracy, "{:.2f}".format, 100.0),
                w.mean_text(cell.behind, "{:.2f}".format, 100.0),
                f"{cell.trials - cell.diverged} of {cell.trials}",
            ]
            for cell in ranking.cells
        ],
        [
            "Behind the best: difference in percentage points, over the repeats that both have.",
            "Where its interval includes 0, the two cannot be told apart.",
            "The best of many settings is partly the luckiest; confirm it with another --seed.",
            *remarks,
        ],
    )


def by_time(analysis: Analysis, ranking: Ranking) -> Table:
    """Return the settings by the time that they need to the target accuracy."""
    percent = f"{100 * ranking.target_accuracy:g} %"
    chosen = (
        f"Target: {percent}, as given."
        if ranking.is_given
        else f"Target: {percent}, the highest whole percent that half of the settings reach on "
        "average; choose another with --target-accuracy."
    )
    return Table(
        title(analysis, f"Settings by time to {percent} test accuracy"),
        [
            Column("Rank"),
            *cell_columns(analysis),
            Column("seconds"),
            Column("epochs"),
            Column("reached"),
        ],
        [
            [
                _rank(cell.rank_by_time),
                *cell_names(analysis, cell),
                w.mean_text(cell.time_to_target_s, seconds),
                NONE if cell.epochs_to_target is None else f"{cell.epochs_to_target.mean:.1f}",
                f"{cell.reached} of {cell.trials}",
            ]
            for cell in ranking.by_time()
        ],
        [
            chosen,
            "Training time to the first evaluation at or above it, mean of those that reached it.",
            "A setting of which some trials did not reach it has no rank.",
        ],
    )


def _rank(rank: int | None) -> str:
    return NONE if rank is None else str(rank)
