"""A chart in characters, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dnnbench.text.screen import Screen

_AROUND = 4
"""Rows of the frame and below it: both edges, the ticks, the label."""


class Series(NamedTuple):
    """What is drawn with one sign, which tells it apart without color.

    Attributes:
        sign: one character.
        color: one of click's.
        points: x -> y.
        level: y of a line across the whole chart; None for no line.
    """

    sign: str
    color: str
    points: Mapping[float, float] = {}
    level: float | None = None


def chart_text(
    series: Sequence[Series],
    screen: Screen,
    *,
    size: tuple[int, int],
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    x_label: str,
) -> str:
    """Draw series into a frame; where points coincide, the last one is seen.

    Args:
        series: to draw; all points lie between the ticks.
        screen: to draw for.
        size: columns and rows, labels included.
        x_ticks: ascending; the axis reaches half a step beyond them.
        y_ticks: ascending; the axis reaches from the first to the last.
        x_label: below the ticks.
    """
    y_labels = [f"{tick:g}" for tick in y_ticks]
    margin = max(map(len, y_labels))
    columns, rows = max(size[0] - margin - 2, 1), max(size[1] - _AROUND, 2)
    step = (x_ticks[-1] - x_ticks[0]) / (len(x_ticks) - 1) if len(x_ticks) > 1 else 1.0
    left, right = x_ticks[0] - step / 2, x_ticks[-1] + step / 2

    def column(x: float) -> int:
        return round((x - left) / (right - left) * (columns - 1))

    def row(y: float) -> int:
        return round((y_ticks[-1] - y) / (y_ticks[-1] - y_ticks[0]) * (rows - 1))

    cells = [[" "] * columns for _ in range(rows)]
    for one in series:
        sign = screen.styled(one.sign, fg=one.color)
        if one.level is not None:
            cells[row(one.level)] = [sign] * columns
        for x, y in one.points.items():
            cells[row(y)][column(x)] = sign
    beside = {row(tick): label for tick, label in zip(y_ticks, y_labels, strict=True)}
    edge, below = ["─"] * columns, [" "] * (columns + 1)
    end = 0
    for tick in x_ticks:
        label, at = f"{tick:g}", column(tick)
        start = min(max(at - len(label) // 2, 0), columns - len(label))
        if start >= end:  # no room for those that would touch the last one
            below[start : start + len(label)] = label
            edge[at] = "┬"
            end = start + len(label) + 1
    lines = [
        f"{'':{margin}}┌{'─' * columns}┐",
        *(
            f"{beside.get(number, ''):>{margin}}{'┤' if number in beside else '│'}{''.join(line)}│"
            for number, line in enumerate(cells)
        ),
        f"{'':{margin}}└{''.join(edge)}┘",
        f"{'':{margin}} {''.join(below)}".rstrip(),
        f"{'':{margin}}{x_label:^{columns + 2}}".rstrip(),
    ]
    return "\n".join(lines) + "\n"
