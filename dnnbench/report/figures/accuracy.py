"""Test accuracy against seconds of training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dnnbench.analysis.learning import learning_curves
from dnnbench.report.figures.picture import (
    Picture,
    draw_estimates,
    first_settings,
    name_of,
    settings_notes,
)
from dnnbench.report.layout import title
from dnnbench.trial.protocols import find_protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.figure import FigureBase

    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.learning import Point
    from dnnbench.report.figures.picture import Subject
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import ProtocolName

_MOST_PANELS: Final = 4
Curves = dict[int, dict["ProtocolName", list["Point"]]]
"""Nodes -> protocol -> its learning curve."""


def picture(subject: Subject) -> Picture | None:
    """Return the figure, with a panel per node count; None if no trial has an accuracy."""
    analysis = subject.analysis
    curves = contents(analysis, subject.outcomes)
    if not curves:
        return None
    return Picture(
        title=title(analysis, "Test accuracy against training time"),
        notes=[
            "A point per epoch of worker:0: mean over trials, with its 95 % confidence interval.",
            "Training time: without start-up, warm-up and evaluations.",
            *settings_notes(analysis),
        ],
        draw=lambda figure: _draw(figure, curves),
        height=2.2 + 1.7 * _rows(curves),
    )


def contents(analysis: Analysis, outcomes: Sequence[TrialOutcome]) -> Curves:
    """Choose what to draw: of many node counts, an even choice with the first and the last.

    A protocol of one process is in every panel.
    """
    of_cells = learning_curves(outcomes)
    found: Curves = {}
    alone: dict[ProtocolName, list[Point]] = {}
    for protocol, cells in first_settings(analysis).items():
        for cell in cells:
            curve = of_cells.get(cell.key)
            if curve and find_protocol(protocol).fixed_nodes:
                alone[protocol] = curve
            elif curve:
                found.setdefault(cell.nodes, {})[protocol] = curve
    chosen = _evenly(sorted(found), _MOST_PANELS)
    return {nodes: found[nodes] | alone for nodes in chosen} or ({1: alone} if alone else {})


def _rows(curves: Curves) -> int:
    """Return the rows of panels: all beside each other, but the most of them two by two."""
    return 2 if len(curves) == _MOST_PANELS else 1


def _evenly(values: Sequence[int], most: int) -> list[int]:
    if len(values) <= most:
        return list(values)
    last = len(values) - 1
    return [values[round(number * last / (most - 1))] for number in range(most)]


def _draw(figure: FigureBase, curves: Curves) -> None:
    rows = _rows(curves)
    columns = len(curves) // rows
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    handles: dict[str, Artist] = {}
    for number, (nodes, of_protocols) in enumerate(curves.items()):
        axes = panels[number // columns][number % columns]
        for protocol, points in of_protocols.items():
            seconds = [point.seconds.mean for point in points]
            accuracies = [point.test_accuracy for point in points]
            draw_estimates(
                axes, protocol, seconds, accuracies, scale=100.0, label=name_of(protocol)
            )
        axes.set_title(f"{nodes} node{'s' if nodes > 1 else ''}", fontsize="medium")
        shown, names = axes.get_legend_handles_labels()
        handles |= dict(zip(names, shown, strict=True))
    panels[0][0].set_xlim(left=0.0)
    for axes in panels[-1]:
        axes.set_xlabel("Seconds of training")
    for row in panels:
        row[0].set_ylabel("Test accuracy in %")
    figure.legend(
        list(handles.values()),
        list(handles),
        fontsize="small",
        frameon=False,
        loc="outside lower center",
        ncols=3,
    )
