"""Figure 16's counterpart as text: marks on a grid of signs, in a frame with both axes.

Own code and not a plotting library, for the reason that `dnnbench.screen` gives.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from dnnbench.screen import padded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dnnbench.report.epochs import EpochFigure
    from dnnbench.screen import Screen, Style
    from dnnbench.trial import Protocol

MARKS: Final[Mapping[Protocol, tuple[str, Style]]] = {
    "downpour": ("●", "blue"),
    "dc-sgd": ("x", "yellow"),
}
"""Different signs, so that the plot reads the same without colour."""
REFERENCE: Final = "╌"
_ROWS: Final = 15


def draw(figure: EpochFigure, screen: Screen) -> list[str]:
    """Draw the seconds of each epoch, lines as wide as the screen; there must be a trial."""
    ticks_s = figure.ticks_s
    labels = [f"{tick_s:g}" for tick_s in ticks_s]
    margin = max(map(len, labels))
    width = max(screen.width - margin - len("││"), 1)
    epochs = max((trial.epochs for trial in figure.trials.values()), key=len)
    first, last = epochs[0] - 0.5, epochs[-1] + 0.5  # no mark on the frame

    def row(seconds: float) -> int:
        return _ROWS - 1 - _cell(seconds, ticks_s[0], ticks_s[-1], _ROWS)

    grid = [[" "] * width for _ in range(_ROWS)]
    for protocol, published_s in figure.published_s.items():
        grid[row(published_s)] = [screen.styled(REFERENCE, MARKS[protocol][1])] * width
    for protocol, trial in figure.trials.items():
        mark = screen.styled(*MARKS[protocol])
        for epoch, mean_s in zip(trial.epochs, trial.mean_s, strict=True):
            grid[row(mean_s)][_cell(epoch, first, last, width)] = mark
    sides = [" " * margin + "│" for _ in grid]
    for tick_s, label in zip(ticks_s, labels, strict=True):
        sides[row(tick_s)] = padded(label, margin, is_right=True) + "┤"
    names, bottom = _axis(((_cell(n, first, last, width), str(n)) for n in epochs), width)
    blank = " " * margin
    return [
        f"{blank}┌{'─' * width}┐",
        *(f"{side}{''.join(signs)}│" for side, signs in zip(sides, grid, strict=True)),
        f"{blank}└{bottom}┘",
        f"{blank} {names}",
        f"{blank} {'epoch':^{width}}".rstrip(),
    ]


def _cell(value: float, first: float, last: float, cells: int) -> int:
    """Return where a value lies between the middles of the first and the last cell."""
    return math.floor(0.5 + (cells - 1) * (value - first) / (last - first))


def _axis(labels: Iterable[tuple[int, str]], width: int) -> tuple[str, str]:
    """Return the labels, as many as there is room for, and the line with their ticks."""
    names, line = "", ["─"] * width
    for place, label in labels:
        start = min(max(place - len(label) // 2, 0), width - len(label))
        if start > len(names) or not names:
            names = padded(names, start) + label
            line[place] = "┬"
    return names, "".join(line)
