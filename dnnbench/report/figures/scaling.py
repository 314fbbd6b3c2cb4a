"""Throughput and epoch time against the number of nodes, beside ideal, prediction and report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from dnnbench.errors import ResultsError
from dnnbench.report.figures.picture import (
    FAINT,
    Picture,
    draw_estimates,
    first_settings,
    name_of,
    settings_notes,
    style_of,
)
from dnnbench.report.layout import title
from dnnbench.trial.protocols import find_protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.cell import Cell
    from dnnbench.analysis.prediction import Row
    from dnnbench.report.figures.picture import Subject
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import ProtocolName

_MOST_POINTS: Final = 50
"""Node counts of a predicted line."""
_APART: Final = 0.012
"""Distance of two protocols at one node count, so that their intervals do not overlap, as a share
of the axis."""
_LineStyle = Literal[":", "--", "-."]
_IDEAL: Final = ":"
_PREDICTED: Final = "--"
_ONE_PROCESS: Final = "-."


class Scaling(NamedTuple):
    """The contents of the figure.

    Attributes:
        measured: protocol -> its cells, of protocols that were run with several node counts.
        alone: of one process without parameter server; None if there is none.
        predicted: protocol -> rows in the order of their nodes.
        not_predicted: why there is no prediction; empty if there is one.
    """

    measured: dict[ProtocolName, list[Cell]]
    alone: Cell | None
    predicted: dict[ProtocolName, list[Row]]
    not_predicted: str


def picture(subject: Subject) -> Picture | None:
    """Return the figure; None if no protocol succeeded with several node counts."""
    analysis = subject.analysis
    shown = contents(analysis, subject.outcomes)
    if not shown.measured:
        return None
    ideal = {"replicated": "constant seconds per epoch", "sharded": "seconds per epoch / workers"}[
        analysis.settings.epoch_definition
    ]
    notes = [
        "Bars: 95 % confidence interval of the mean over trials; none for a single trial.",
        f"Ideal: the speed per worker of the smallest node count is kept, so {ideal}.",
    ]
    if shown.predicted:
        notes.append(
            "Prediction: for hosts of their own with one core each and a network of 1 Gbit/s; "
            "`dnnbench predict` predicts for others."
        )
    if shown.not_predicted:
        notes.append(f"No prediction: {shown.not_predicted}.")
    if analysis.unlike_report:
        notes.append(f"No published means: {'; '.join(analysis.unlike_report)}.")
    return Picture(
        title=title(analysis, "Throughput and epoch time against nodes"),
        notes=notes + settings_notes(analysis),
        draw=lambda canvas: _draw(canvas, shown, analysis),
    )


def contents(analysis: Analysis, outcomes: Sequence[TrialOutcome]) -> Scaling:
    """Choose what to draw."""
    cells = first_settings(analysis)
    measured = {protocol: of for protocol, of in cells.items() if len(of) > 1}
    alone = [of[0] for name, of in cells.items() if find_protocol(name).fixed_nodes == 1]
    counts = [cell.nodes for of in measured.values() for cell in of]
    predicted: dict[ProtocolName, list[Row]] = {}
    reason = ""
    if counts and outcomes:
        step = -(-(max(counts) - min(counts) + 1) // _MOST_POINTS)
        nodes = sorted({*range(min(counts), max(counts), step), *counts})
        try:
            predicted = _predicted(analysis, outcomes, nodes)
        except ResultsError as error:
            reason = f"the sweep {error.problem}"
    predicted = {name: rows for name, rows in predicted.items() if name in measured}
    return Scaling(measured, alone[0] if alone else None, predicted, reason)


def _predicted(
    analysis: Analysis, outcomes: Sequence[TrialOutcome], nodes: Sequence[int]
) -> dict[ProtocolName, list[Row]]:
    """Predict the sweep for hosts as `dnnbench predict` assumes them."""
    from dnnbench.analysis import inputs  # not every report has a prediction
    from dnnbench.analysis.prediction import Hosts, predict

    def assumed(value: float) -> inputs.Figure:
        return inputs.Figure(value, "assumed", "an ordinary host")

    hosts = Hosts(
        cores=assumed(1.0),
        bandwidth_bit_per_s=assumed(inputs.DEFAULT_BANDWIDTH_BIT_PER_S),
        round_trip_s=assumed(inputs.DEFAULT_ROUND_TRIP_S),
        parameter_s=assumed(inputs.DEFAULT_PARAMETER_S),
    )
    servers = analysis.settings.parameter_servers
    rows: dict[ProtocolName, list[Row]] = {}
    costs = inputs.read_inputs(analysis, outcomes, inputs.Given())
    for row in predict(costs, hosts, nodes, [servers]).rows:
        rows.setdefault(row.protocol, []).append(row)
    return rows


def _draw(canvas: FigureBase, shown: Scaling, analysis: Analysis) -> None:
    speed, time = canvas.subplots(1, 2)
    counts = sorted({cell.nodes for cells in shown.measured.values() for cell in cells})
    width = counts[-1] - counts[0]
    for number, (protocol, cells) in enumerate(shown.measured.items()):
        shift = _APART * width * (number - (len(shown.measured) - 1) / 2)
        _draw_protocol((speed, time), protocol, cells, shift, analysis)
        color = style_of(protocol).color
        rows = shown.predicted.get(protocol, [])
        nodes = [row.nodes for row in rows]
        for axes, values in (
            (speed, [row.examples_per_s for row in rows]),
            (time, [row.epoch_s for row in rows]),
        ):
            axes.plot(nodes, values, color=color, linestyle=_PREDICTED, linewidth=1.0)
        published = {c.nodes: c.published_epoch_s for c in cells if c.published_epoch_s}
        time.plot(
            list(published),
            list(published.values()),
            color=color,
            marker=style_of(protocol).marker,
            markerfacecolor="none",
            markersize=9,
            linestyle="none",
        )
    if shown.alone and shown.alone.examples_per_s and shown.alone.epoch_s:
        for axes, one in ((speed, shown.alone.examples_per_s), (time, shown.alone.epoch_s)):
            axes.axhline(one.mean, color=FAINT, linestyle=_ONE_PROCESS, linewidth=1.2)
    for axes in (speed, time):
        axes.set_ylim(bottom=0.0)
        axes.set_xticks(counts)
        axes.set_xlabel("Nodes (parameter servers and workers)")
    speed.set_ylabel("Examples per second, all workers")
    time.set_ylabel("Seconds per epoch")
    speed.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    _add_legend(canvas, shown)


def _draw_protocol(
    panels: tuple[Axes, Axes],
    protocol: ProtocolName,
    cells: Sequence[Cell],
    shift: float,
    analysis: Analysis,
) -> None:
    """Draw throughput and time as measured of a protocol, and the ideal."""
    speed, time = panels
    nodes = [cell.nodes for cell in cells]
    places = [count + shift for count in nodes]
    speeds = [cell.examples_per_s for cell in cells if cell.examples_per_s]
    times = [cell.epoch_s for cell in cells if cell.epoch_s]
    draw_estimates(speed, protocol, places, speeds, label=name_of(protocol))
    draw_estimates(time, protocol, places, times)
    more = [cell.workers / cells[0].workers for cell in cells]
    is_sharded = analysis.settings.epoch_definition == "sharded"
    ideal_s = [times[0].mean / (factor if is_sharded else 1.0) for factor in more]
    for axes, ideal in ((speed, [speeds[0].mean * factor for factor in more]), (time, ideal_s)):
        axes.plot(nodes, ideal, color=style_of(protocol).color, linestyle=_IDEAL, linewidth=1.0)


def _add_legend(canvas: FigureBase, shown: Scaling) -> None:
    from matplotlib.lines import Line2D

    handles: list[Line2D] = [
        Line2D(
            [], [], color=style_of(name).color, marker=style_of(name).marker, label=name_of(name)
        )
        for name in shown.measured
    ]
    lines: dict[str, _LineStyle] = {"ideal": _IDEAL}
    if shown.predicted:
        lines["prediction"] = _PREDICTED
    if shown.alone:
        lines["one process"] = _ONE_PROCESS
    handles += [
        Line2D([], [], color=FAINT, linestyle=style, label=name) for name, style in lines.items()
    ]
    if any(cell.published_epoch_s for cells in shown.measured.values() for cell in cells):
        handles.append(
            Line2D(
                [],
                [],
                color=FAINT,
                marker="o",
                markerfacecolor="none",
                markersize=9,
                linestyle="none",
                label="published mean",
            )
        )
    canvas.legend(
        handles=handles, fontsize="small", frameon=False, loc="outside lower center", ncols=3
    )
