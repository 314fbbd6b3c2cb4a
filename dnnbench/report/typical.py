"""The counterpart of Figure 16 as values: seconds per epoch of a typical trial."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from dnnbench.report import wording as w

if TYPE_CHECKING:
    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.cell import Cell, TypicalTrial
    from dnnbench.trial.spec import ProtocolName

_MOST_STEPS = 5  # of the axis, for which a terminal has a dozen lines
_FAR = 3.0  # times the longest epoch


class EpochFigure(NamedTuple):
    """The contents of the figure for one node count.

    Attributes:
        trials: protocol -> its typical trial; empty if no trial succeeded.
        published_s: protocol -> published mean, of the protocols drawn; left out if it would
            squash the measured ones, or if the setting is not the report's.
        ticks_s: of the axis of seconds, ends included. It starts at 0, because the figure shows how
            steady the epoch time is, and a cut axis exaggerates every change.
        not_comparable: reasons why published means are not drawn.
    """

    nodes: int
    title: str
    trials: dict[ProtocolName, TypicalTrial]
    published_s: dict[ProtocolName, float]
    ticks_s: list[float]
    not_comparable: list[str]


def epoch_figure(analysis: Analysis, nodes: int | None = None) -> EpochFigure:
    """Choose what to draw; ``nodes`` is the smallest node count if not given."""
    nodes = analysis.smallest_nodes if nodes is None else nodes
    first: dict[ProtocolName, Cell] = {}
    for cell in analysis.cells:
        if cell.nodes == nodes and cell.typical:
            first.setdefault(cell.protocol, cell)  # of several settings
    cells = list(first.values())
    trials = {cell.protocol: cell.typical for cell in cells if cell.typical}
    highest_s = max((max(trial.slowest_worker_s) for trial in trials.values()), default=0.0)
    published_s = {
        cell.protocol: cell.published_epoch_s
        for cell in cells
        if cell.published_epoch_s is not None and cell.published_epoch_s <= _FAR * highest_s
    }
    return EpochFigure(
        nodes=nodes,
        title=w.figure_title(analysis, nodes),
        trials=trials,
        published_s=published_s,
        ticks_s=scale(max([highest_s, *published_s.values()])),
        not_comparable=analysis.unlike_report,
    )


def scale(highest: float) -> list[float]:
    """Return round, even ticks from 0 to somewhat above ``highest``."""
    if highest <= 0:
        return [0.0, 1.0]
    top = 1.05 * highest  # nothing is drawn on the edge
    magnitude = 10.0 ** math.floor(math.log10(top / _MOST_STEPS))
    step = next(n * magnitude for n in (1, 2, 5, 10) if n * magnitude * _MOST_STEPS >= top)
    return [round(i * step, 12) for i in range(math.ceil(top / step) + 1)]
