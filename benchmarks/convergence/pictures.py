"""The two pictures of docs/convergence.md: a map of where compensation pays, and error curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.convergence.comparisons import COMPENSATED, Cells, Effect, at_every_rate
from benchmarks.convergence.layout import difference_text

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.convergence.comparisons import Comparison
    from benchmarks.convergence.trials import Figures

MAP: Final = "convergence-map.png"
CURVES: Final = "convergence-errors.png"

# From Okabe and Ito's palette, which color-blind readers can tell apart; the texts differ too.
_COLORS: Final[dict[Effect, tuple[str, str]]] = {
    "keeps trials that Downpour loses": ("#0072B2", "white"),
    "lower error": ("#9BD0F0", "black"),
    "no difference shown": ("#F0F0F0", "black"),
    "higher error": ("#F5C98B", "black"),
    "loses trials that Downpour keeps": ("#D55E00", "white"),
    "neither learns": ("#555555", "white"),
}
"""Effect -> background and text."""
_STYLES: Final = {
    "sequential": ("#000000", "x"),
    "sync": ("#E69F00", "v"),
    "downpour": ("#D55E00", "s"),
    "dc-sgd-c": ("#56B4E9", "D"),
    "dc-sgd-a": ("#0072B2", "o"),
    "staleness-aware": ("#009E73", "^"),
}
_MOST_ERROR: Final = 30.0
"""Largest error of the curves, in percent: what is above has all but failed."""
_MARGIN: Final = 1.25
"""Factor between the outermost rates and the frame of the curves."""
_DPI: Final = 130


def draw(figures: Figures, directory: Path) -> None:
    """Draw both pictures into a directory."""
    import matplotlib as mpl

    mpl.use("Agg")
    cells = Cells(figures.trials)
    directory.mkdir(parents=True, exist_ok=True)
    draw_map(cells, directory / MAP)
    draw_curves(cells, directory / CURVES)


def draw_map(cells: Cells, path: Path) -> None:
    """Draw nodes x learning rates, one panel per data set and compensated protocol."""
    from matplotlib import pyplot as plt
    from matplotlib.patches import Patch

    lines = [len(cells.nodes(dataset)) for dataset in cells.datasets]
    figure, axes = plt.subplots(
        len(lines),
        len(COMPENSATED),
        figsize=(9.6, 0.7 + 0.8 * len(lines) + 0.6 * sum(lines)),
        height_ratios=lines,
        layout="constrained",
        squeeze=False,
    )
    shown: set[Effect] = set()
    for dataset, line in zip(cells.datasets, axes, strict=True):
        found = at_every_rate(cells, dataset)
        for protocol, axis in zip(COMPENSATED, line, strict=True):
            here = [c for c in found if c.ours.key.protocol == protocol]
            shown |= {comparison.effect for comparison in here}
            _panel(axis, here, cells.nodes(dataset))
            axis.set_title(f"{protocol} against downpour, {dataset}", fontsize="medium")
    handles = [
        Patch(facecolor=color, edgecolor="black", linewidth=0.5, label=effect)
        for effect, (color, _) in _COLORS.items()
        if effect in shown
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, fontsize="small", frameon=False
    )
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)


def _panel(axis: Axes, comparisons: list[Comparison], nodes: list[int]) -> None:
    """Draw one cell per comparison, with its figures as text; what was not tried stays white."""
    from matplotlib.patches import Rectangle

    rates = sorted({comparison.ours.key.rate for comparison in comparisons})
    for comparison in comparisons:
        x = rates.index(comparison.ours.key.rate)
        y = nodes.index(comparison.ours.key.nodes)
        background, foreground = _COLORS[comparison.effect]
        corner = (x - 0.5, y - 0.5)
        axis.add_patch(Rectangle(corner, 1, 1, facecolor=background, edgecolor="white"))
        text = cell_text(comparison)
        axis.text(x, y, text, color=foreground, ha="center", va="center", fontsize="small")
    axis.set(
        xlim=(-0.5, len(rates) - 0.5),
        ylim=(-0.5, len(nodes) - 0.5),
        xlabel="learning rate",
        ylabel="nodes",
    )
    axis.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    axis.set_yticks(range(len(nodes)), [str(count) for count in nodes])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def cell_text(comparison: Comparison) -> str:
    """Return the difference in points, else how many trials of ours and Downpour's learned."""
    mark = " *" if comparison.verdict in ("lower error", "higher error") else ""
    if comparison.difference is not None:
        return f"{difference_text(comparison.difference)}{mark}".replace("-", "\N{MINUS SIGN}")
    ours, theirs = (
        f"{len(cell.learned)}/{len(cell.trials)}" for cell in (comparison.ours, comparison.theirs)
    )
    return f"{ours}\nagainst {theirs}{mark}"


def draw_curves(cells: Cells, path: Path) -> None:
    """Draw the final error over the learning rate, one panel per data set and node count."""
    from matplotlib import pyplot as plt

    columns = max(len(cells.nodes(dataset)) for dataset in cells.datasets)
    rows = len(cells.datasets)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(3.3 * columns, 0.7 + 3.0 * rows),
        layout="constrained",
        sharey="row",
        squeeze=False,
    )
    for dataset, line in zip(cells.datasets, axes, strict=True):
        for nodes, axis in zip(cells.nodes(dataset), line, strict=False):
            for protocol in cells.protocols:
                _curve(axis, cells, dataset, nodes, protocol)
            _scale(axis, cells.rates(dataset, nodes))
            axis.set_title(f"{dataset}, {nodes} nodes", fontsize="medium")
        line[0].set_ylabel("final test error, %")
        line[0].set_ylim(top=min(line[0].get_ylim()[1], _MOST_ERROR))
        for axis in line[len(cells.nodes(dataset)) :]:
            axis.set_visible(False)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=2 * columns,
        fontsize="small",
        frameon=False,
    )
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)


def _scale(axis: Axes, rates: list[float]) -> None:
    """Make both axes logarithmic, with plain numbers at them."""
    axis.set(xscale="log", yscale="log", xlabel="learning rate")
    axis.set_xlim(rates[0] / _MARGIN, rates[-1] * _MARGIN)
    axis.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axis.set_xticks([], minor=True)
    axis.yaxis.set_major_formatter("{x:g}")
    # A 9 stands too close to the 10 above it.
    axis.yaxis.set_minor_formatter(lambda x, _: "" if f"{x:g}".startswith("9") else f"{x:g}")
    axis.grid(visible=True, which="both", linewidth=0.4, alpha=0.5)


def _curve(axis: Axes, cells: Cells, dataset: str, nodes: int, protocol: str) -> None:
    """Draw each trial that learned, a line over the means, and hollow means where not all did."""
    color, marker = _STYLES[protocol]
    found = [cells.get(dataset, nodes, protocol, rate) for rate in cells.rates(dataset, nodes)]
    kept = [(cell, cell.error.mean) for cell in found if cell and cell.error]
    trials = [trial for cell, _ in kept for trial in cell.learned]
    axis.plot(
        [trial.rate for trial in trials],
        [trial.test_error or 0.0 for trial in trials],
        ".",
        color=color,
        alpha=0.45,
        markersize=4,
    )
    whole = [(cell.key.rate, mean) for cell, mean in kept if cell.all_learned]
    partial = [(cell.key.rate, mean) for cell, mean in kept if not cell.all_learned]
    for points, line, fill in ((whole, "-", color), (partial, "none", "none")):
        axis.plot(
            [rate for rate, _ in points],
            [mean for _, mean in points],
            marker=marker,
            linestyle=line,
            linewidth=1.2,
            color=color,
            markerfacecolor=fill,
            markersize=6,
            label=protocol if points is whole else None,
        )
