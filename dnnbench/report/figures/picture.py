"""Subject, colors and markers of all figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dnnbench.text.safe import one_line
from dnnbench.trial.protocols import find_protocol, position

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.cell import Cell
    from dnnbench.analysis.stats import Estimate
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import ProtocolName

INK: Final = "#1b1e23"
"""Of text and axes; a page replaces it with the color of its own text."""
FAINT: Final = "#8a8f98"
"""Of the grid and of ideal lines: visible on white and on black."""


class Style(NamedTuple):
    """How a protocol is drawn.

    Attributes:
        color: on white, from the palette of Okabe and Ito, which color-blind readers can tell
            apart.
        on_dark: its counterpart on a dark page.
        marker: differs too, so that a figure can be read without color.
    """

    color: str
    on_dark: str
    marker: str


STYLES: Final = (
    Style("#0072b2", "#56b4e9", "o"),
    Style("#d55e00", "#ff8c42", "s"),
    Style("#009e73", "#2fd0a5", "^"),
    Style("#b5578f", "#e59ac6", "D"),
    Style("#a87400", "#e69f00", "v"),
    Style("#2f7fae", "#9bd4f5", "P"),
    Style("#7a5c00", "#f0e442", "X"),
    Style("#5b4bb7", "#b3a6ff", "<"),
)
"""In the order of the table of protocols; reused in turn."""
_ONE_PROCESS: Final = Style(FAINT, FAINT, "x")
"""Of protocols without parameter server and other workers, the reference of all others."""


class Subject(NamedTuple):
    """What a figure shows.

    Attributes:
        outcomes: of the analysis; without them, no figure has a prediction or a learning curve.
        nodes: node count of a figure that shows one; the smallest if None.
    """

    analysis: Analysis
    outcomes: Sequence[TrialOutcome] = ()
    nodes: int | None = None


class Picture(NamedTuple):
    """A figure that can be drawn.

    Attributes:
        notes: below it; they need not be safe.
        draw: draws everything into an empty figure, including a legend.
        height: in inches.
    """

    title: str
    notes: list[str]
    draw: Callable[[FigureBase], None]
    height: float = 4.2


def style_of(protocol: ProtocolName) -> Style:
    """Return how a protocol is drawn."""
    if find_protocol(protocol).fixed_nodes == 1:
        return _ONE_PROCESS
    return STYLES[position(protocol) % len(STYLES)]


def name_of(protocol: ProtocolName, *more: str) -> str:
    """Return the name of a protocol, safe for a legend."""
    return one_line(", ".join([find_protocol(protocol).title, *more]))


def first_settings(analysis: Analysis) -> dict[ProtocolName, list[Cell]]:
    """Return protocol -> its cells of one setting, by node count; without those that have none."""
    found: dict[ProtocolName, list[Cell]] = {}
    for cell in analysis.cells:
        of_protocol = found.setdefault(cell.protocol, [])
        if cell.n and (not of_protocol or of_protocol[0].variation == cell.variation):
            of_protocol.append(cell)
    return {protocol: cells for protocol, cells in found.items() if cells}


def settings_notes(analysis: Analysis) -> list[str]:
    """Return the note on the settings that a figure leaves out."""
    return ["Of the settings that vary, the first of each protocol."] if analysis.varied else []


def draw_estimates(
    axes: Axes,
    protocol: ProtocolName,
    x: Sequence[float],
    estimates: Sequence[Estimate],
    *,
    scale: float = 1.0,
    label: str | None = None,
) -> None:
    """Draw means with their 95 % intervals; a mean of one trial has none."""
    color, _, marker = style_of(protocol)
    axes.errorbar(
        x,
        [scale * one.mean for one in estimates],
        yerr=[scale * (one.half_width or 0.0) for one in estimates],
        color=color,
        marker=marker,
        markersize=5,
        linewidth=1.4,
        capsize=3,
        label=label,
    )
