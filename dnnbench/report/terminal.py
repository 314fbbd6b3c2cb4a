"""The report as rich renderables; it reads well from 80 columns on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.measure import Measurement
from rich.text import Text

from dnnbench.report import wording as w
from dnnbench.report.epochs import epoch_figure
from dnnbench.report.tables import facts, report_tables
from dnnbench.tables import facts_view, table_view

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from dnnbench.analysis import Analysis
    from dnnbench.report.epochs import EpochFigure

_PLOT_HEIGHT = 19
_WIDEST_PLOT = 100
_MARKERS = {"downpour": ("●", "blue"), "dc-sgd": ("x", "orange")}
_REFERENCE = "╌"


def render(analysis: Analysis, *, nodes: int | None = None, plot: bool = True) -> RenderableType:
    """Return the whole report.

    Args:
        analysis: what to show.
        nodes: whose epochs to plot; the smallest node count if not given.
        plot: leave the plot out to answer sooner: its library takes a while to import.
    """
    first, *others = map(table_view, report_tables(analysis))
    parts = [facts_view(facts(analysis), analysis.warnings), first]
    if plot:
        parts.append(EpochPlot(analysis, nodes))
    return Group(*parts, *others)


class EpochPlot:
    """Figure 16's counterpart: seconds of each epoch of a typical trial, both protocols.

    The protocols differ by their marks, so the plot reads the same without colour.
    """

    def __init__(self, analysis: Analysis, nodes: int | None = None) -> None:
        self._analysis = analysis
        self._figure = epoch_figure(analysis, nodes)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = min(options.max_width, _WIDEST_PLOT)
        return Measurement(width, width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(f"\n{self._figure.title}", style="bold")
        if not self._figure.trials:
            yield Text(f"No trial with {self._figure.nodes} nodes ended well.")
            return
        yield _drawing(self._figure, min(options.max_width, _WIDEST_PLOT))
        yield Text(_legend(self._figure))
        for note in w.figure_notes(self._analysis):
            yield Text(note, style="dim")


def _drawing(figure: EpochFigure, width: int) -> Text:
    import plotext  # heavy, and many reports have no plot

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.limit_size(False, False)  # the console knows the width, also in a pipe
    plotext.plot_size(width, _PLOT_HEIGHT)
    epochs = max((trial.epochs for trial in figure.trials.values()), key=len)
    ends = [epochs[0] - 0.5, epochs[-1] + 0.5]  # no mark on the frame
    for protocol, published_s in figure.published_s.items():
        plotext.plot(ends, [published_s] * 2, marker=_REFERENCE, color=_MARKERS[protocol][1])
    for protocol, trial in figure.trials.items():
        marker, color = _MARKERS[protocol]
        plotext.scatter(trial.epochs, trial.mean_s, marker=marker, color=color)
    plotext.xlim(*ends)
    plotext.xticks(epochs)
    plotext.ylim(figure.ticks_s[0], figure.ticks_s[-1])
    plotext.yticks(figure.ticks_s, [f"{tick:g}" for tick in figure.ticks_s])
    plotext.xlabel("epoch")
    return Text.from_ansi(plotext.build())


def _legend(figure: EpochFigure) -> str:
    entries = [f"{_MARKERS[name][0]} {name} (trial {t.id})" for name, t in figure.trials.items()]
    lines = ["   ".join(entries)]
    if figure.published_s:
        means = ", ".join(f"{name} {mean_s:.2f} s" for name, mean_s in figure.published_s.items())
        lines.append(f"{_REFERENCE} published mean: {means}")
    return "\n".join(lines)
