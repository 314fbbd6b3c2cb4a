"""The report for a terminal of 80 columns or more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dnnbench.report import wording as w
from dnnbench.report.epochs import epoch_figure
from dnnbench.report.tables import closing_notes, facts, report_tables, short_tables, summary
from dnnbench.report.verdict import verdict_text
from dnnbench.text.tables import fields_text, table_text
from dnnbench.trial.protocols import position

if TYPE_CHECKING:
    from dnnbench.analysis.analyse import Analysis
    from dnnbench.report.epochs import EpochFigure
    from dnnbench.text.screen import Screen
    from dnnbench.trial.spec import ProtocolName

_PLOT_HEIGHT = 19
_WIDEST_PLOT = 100
_MARKERS = (
    ("●", "blue"),
    ("x", "orange"),
    ("▲", "green"),
    ("◆", "magenta"),
    ("▼", "cyan"),
    ("+", "red"),
)
"""Marker and colour of each protocol, in the order of the table of protocols; reused in turn.

The markers differ, so that the plot can be read without colour.
"""
_REFERENCE = "╌"


def render(analysis: Analysis, screen: Screen, *, nodes: int | None = None) -> str:
    """Return the full report, verdict first.

    Args:
        analysis: the figures to show.
        screen: the terminal or file to lay it out for.
        nodes: node count to plot; the smallest if not given.
    """
    first, *others = (table_text(table, screen) for table in report_tables(analysis))
    head = fields_text(facts(analysis), screen, analysis.warnings)
    tables = "".join([first, _plot(analysis, screen, nodes), *others])
    verdict = verdict_text(analysis, screen)
    return f"{verdict}\n{head}{tables}{_notes(analysis, screen)}"


def render_short(analysis: Analysis, screen: Screen, *, is_verdict_last: bool = False) -> str:
    """Return the short report: verdict, Table 2 and overhead.

    Args:
        analysis: the figures to show.
        screen: the terminal or file to lay it out for.
        is_verdict_last: whether the verdict is to be what remains on the screen.
    """
    verdict = verdict_text(analysis, screen)
    head = fields_text(summary(analysis), screen, analysis.warnings)
    tables = "".join(table_text(table, screen) for table in short_tables(analysis))
    notes = _notes(analysis, screen, "More tables and the figure: `dnnbench report --full`.")
    if is_verdict_last:
        return f"{head}{tables}{notes}\n{verdict}"
    return f"{verdict}\n{head}{tables}{notes}"


def _notes(analysis: Analysis, screen: Screen, *more: str) -> str:
    return "\n" + screen.paragraph(*closing_notes(analysis), *more, dim=True)


def _plot(analysis: Analysis, screen: Screen, nodes: int | None) -> str:
    """Plot the counterpart of Figure 16: seconds per epoch of a typical trial by protocol."""
    figure = epoch_figure(analysis, nodes)
    title = "\n" + screen.paragraph(figure.title, bold=True)
    if not figure.trials:
        return title + screen.paragraph(f"No trial with {figure.nodes} nodes succeeded.")
    drawing = _drawing(figure, min(screen.width, _WIDEST_PLOT))
    if not screen.is_coloured:
        drawing = "\n".join(line.rstrip() for line in click.unstyle(drawing).split("\n"))
    return "".join(
        [
            title,
            f"{drawing}\n",
            screen.paragraph(*_legend(figure)),
            screen.paragraph(*w.figure_notes(analysis), dim=True),
        ]
    )


def _drawing(figure: EpochFigure, width: int) -> str:
    import plotext  # slow to import, and many reports have no plot

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.limit_size(False, False)  # the width is given, also for a pipe
    plotext.plot_size(width, _PLOT_HEIGHT)
    epochs = max((trial.epochs for trial in figure.trials.values()), key=len)
    ends = [epochs[0] - 0.5, epochs[-1] + 0.5]  # no marker on the frame
    for protocol, published_s in figure.published_s.items():
        plotext.plot(ends, [published_s] * 2, marker=_REFERENCE, color=_marker(protocol)[1])
    for protocol, trial in figure.trials.items():
        marker, colour = _marker(protocol)
        plotext.scatter(trial.epochs, trial.mean_s, marker=marker, color=colour)
    plotext.xlim(*ends)
    plotext.xticks(epochs)
    plotext.ylim(figure.ticks_s[0], figure.ticks_s[-1])
    plotext.yticks(figure.ticks_s, [f"{tick:g}" for tick in figure.ticks_s])
    plotext.xlabel("epoch")
    built: str = plotext.build()
    return built


def _marker(protocol: ProtocolName) -> tuple[str, str]:
    return _MARKERS[position(protocol) % len(_MARKERS)]


def _legend(figure: EpochFigure) -> list[str]:
    entries = [f"{_marker(name)[0]} {name} (trial {t.id})" for name, t in figure.trials.items()]
    lines = ["   ".join(entries)]
    if figure.published_s:
        means = ", ".join(f"{name} {mean_s:.2f} s" for name, mean_s in figure.published_s.items())
        lines.append(f"{_REFERENCE} published mean: {means}")
    return lines
