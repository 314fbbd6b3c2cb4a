"""The tables that rank the settings of a grid; a sweep that varies none has no such tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.report import wording as w
from dnnbench.report.layout import NODES, PROTOCOL, SETTING, notes, title
from dnnbench.text.tables import NONE, Column, Table
from dnnbench.text.words import seconds
from dnnbench.trial.variation import in_words

if TYPE_CHECKING:
    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.ranking import Ranked, Ranking

_NAMES = [NODES, PROTOCOL, SETTING]


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
        [Column("Rank"), *_NAMES, Column("test %"), Column("behind the best"), Column("trials")],
        [
            [
                _rank(cell.rank_by_accuracy),
                *_names(cell),
                w.mean_text(cell.test_accuracy, "{:.2f}".format, 100.0),
                w.mean_text(cell.behind, "{:.2f}".format, 100.0),
                f"{cell.trials - cell.diverged} of {cell.trials}",
            ]
            for cell in ranking.cells
        ],
        notes(
            analysis,
            "Behind the best: difference in percentage points, over the repeats that both have. "
            "Where its interval includes 0, the two cannot be told apart.",
            "The best of many settings is partly the luckiest; confirm it with another --seed.",
            *remarks,
        ),
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
        [Column("Rank"), *_NAMES, Column("seconds"), Column("epochs"), Column("reached")],
        [
            [
                _rank(cell.rank_by_time),
                *_names(cell),
                w.mean_text(cell.time_to_target_s, seconds),
                NONE if cell.epochs_to_target is None else f"{cell.epochs_to_target.mean:.1f}",
                f"{cell.reached} of {cell.trials}",
            ]
            for cell in ranking.by_time()
        ],
        notes(
            analysis,
            chosen,
            "Training time to the first evaluation at or above it, mean over the trials that "
            "reached it. A setting of which some did not has no rank.",
        ),
    )


def _names(cell: Ranked) -> list[str]:
    return [str(cell.nodes), cell.protocol, in_words(cell.variation.items())]


def _rank(rank: int | None) -> str:
    return NONE if rank is None else str(rank)
