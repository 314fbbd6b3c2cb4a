"""The report as rich renderables; it reads well from 80 columns on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from dnnbench.report import wording as w
from dnnbench.report.tables import facts, report_tables

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from dnnbench.analysis import Analysis
    from dnnbench.report.tables import Table

_PLOT_HEIGHT = 16
_WIDEST_PLOT = 100
_MARKERS = {"downpour": ("●", "blue"), "dc-sgd": ("x", "orange")}


def render(analysis: Analysis, *, nodes: int | None = None, plot: bool = True) -> RenderableType:
    """Return the whole report.

    Args:
        analysis: what to show.
        nodes: whose epochs to plot; the smallest node count if not given.
        plot: leave the plot out to answer sooner: its library takes a while to import.
    """
    first, *others = (_table(table) for table in report_tables(analysis))
    parts: list[RenderableType] = [_facts(analysis), first]
    if plot:
        parts.append(EpochPlot(analysis, nodes))
    return Group(*parts, *others)


def _facts(analysis: Analysis) -> RenderableType:
    grid = RichTable.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, line in facts(analysis):
        grid.add_row(name, Text(line))
    for warning in analysis.warnings:
        grid.add_row(Text("Warning", style="bold yellow"), Text(warning, style="yellow"))
    return grid


def _table(table: Table) -> RenderableType:
    view = RichTable(
        title=Text(table.title, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    group = ""
    for column in table.columns:
        # A group's name stands over its first column only.
        over = column.group if column.group != group else ""
        group = column.group
        grouped = any(c.group for c in table.columns)
        view.add_column(
            Text(f"{over}\n{column.name}" if grouped else column.name),
            justify="left" if column.is_text else "right",
            vertical="bottom" if grouped else "top",
            overflow="fold",
        )
    for row in table.rows:
        view.add_row(*(Text(text) for text in row))
    if table.totals:
        view.add_section()
    for row in table.totals:
        view.add_row(*(Text(text) for text in row))
    notes = [Text(note, style="dim") for note in table.notes]
    return Group("", view, *notes)


class EpochPlot:
    """Figure 16's counterpart: seconds of each epoch of a typical trial, both protocols.

    The protocols differ by their marks, so the plot reads the same without colour.
    """

    def __init__(self, analysis: Analysis, nodes: int | None = None) -> None:
        self._nodes = analysis.nodes[0] if nodes is None else nodes
        self._analysis = analysis

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = min(options.max_width, _WIDEST_PLOT)
        return Measurement(width, width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        cells = [cell for cell in self._analysis.cells if cell.nodes == self._nodes]
        typical = [(cell.protocol, cell.typical) for cell in cells if cell.typical]
        title = w.figure_title(self._analysis, self._nodes)
        yield Text(f"\n{title}", style="bold")
        if not typical:
            yield Text(f"No trial with {self._nodes} nodes ended well.")
            return
        import plotext  # heavy, and many reports have no plot

        plotext.clear_figure()
        plotext.theme("clear")
        plotext.limit_size(False, False)  # the console knows the width, also in a pipe
        plotext.plot_size(min(options.max_width, _WIDEST_PLOT), _PLOT_HEIGHT)
        for protocol, trial in typical:
            marker, color = _MARKERS[protocol]
            plotext.scatter(trial.epochs, trial.mean_s, marker=marker, color=color)
        longest = max((trial.epochs for _, trial in typical), key=len)
        plotext.xticks(longest)
        plotext.xlabel("epoch")
        yield Text.from_ansi(plotext.build())
        legend = "   ".join(f"{_MARKERS[p][0]} {p} (trial {trial.id})" for p, trial in typical)
        yield Text(legend)
        for note in w.figure_notes(self._analysis):
            yield Text(note, style="dim")
