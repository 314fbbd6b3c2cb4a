"""The report for a terminal; it reads well from 80 columns on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.report import wording as w
from dnnbench.report.epochs import epoch_figure
from dnnbench.report.plot import MARKS, REFERENCE, draw
from dnnbench.report.tables import facts, report_tables
from dnnbench.tables import facts_text, table_text

if TYPE_CHECKING:
    from dnnbench.analysis import Analysis
    from dnnbench.report.epochs import EpochFigure
    from dnnbench.screen import Screen

_WIDEST_PLOT = 100


def render(analysis: Analysis, screen: Screen, *, nodes: int | None = None) -> str:
    """Return the whole report.

    Args:
        analysis: what to show.
        screen: where it will be seen.
        nodes: whose epochs to plot; the smallest node count if not given.
    """
    first, *others = (table_text(table, screen) for table in report_tables(analysis))
    head = facts_text(facts(analysis), screen, analysis.warnings)
    return "".join([head, first, _plot(analysis, screen, nodes), *others])


def _plot(analysis: Analysis, screen: Screen, nodes: int | None) -> str:
    """Plot Figure 16's counterpart: seconds of each epoch of a typical trial, both protocols."""
    figure = epoch_figure(analysis, nodes)
    lines = ["", *screen.paragraph(figure.title, "bold")]
    if figure.trials:
        lines += draw(figure, screen._replace(width=min(screen.width, _WIDEST_PLOT)))
        lines += ["", *screen.paragraph(_legend(figure))]
        for note in w.figure_notes(analysis):
            lines += screen.paragraph(note, "dim")
    else:
        lines += screen.paragraph(f"No trial with {figure.nodes} nodes ended well.")
    return "\n".join(lines) + "\n"


def _legend(figure: EpochFigure) -> str:
    entries = [f"{MARKS[name][0]} {name} (trial {t.id})" for name, t in figure.trials.items()]
    lines = ["   ".join(entries)]
    if figure.published_s:
        means = ", ".join(f"{name} {mean_s:.2f} s" for name, mean_s in figure.published_s.items())
        lines.append(f"{REFERENCE} published mean: {means}")
    return "\n".join(lines)
