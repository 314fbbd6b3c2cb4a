"""Layout of the report's tables: their titles, and a figure of each cell by protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dnnbench.text.tables import NONE, Column
from dnnbench.trial.spec import CellKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.cell import Cell
    from dnnbench.trial.spec import ProtocolName

NODES: Final = Column("Nodes")
PROTOCOL: Final = Column("Protocol", is_text=True)
_MOST_BESIDE: Final = 2
"""Protocols that fit side by side into 80 columns; with more, each cell has a row."""


class Layout(NamedTuple):
    """Columns, rows and total rows of a table."""

    columns: list[Column]
    rows: list[list[str]]
    totals: list[list[str]]


def by_protocol(
    analysis: Analysis,
    headings: Sequence[str],
    figures: Callable[[Cell], Sequence[str]],
    totals: Mapping[ProtocolName, Sequence[str]] | None = None,
    total: str = "",
) -> Layout:
    """Lay out the same figures of every cell, so that protocols can be compared.

    Two protocols are side by side, with one row per node count. With more, each cell has a row.

    Args:
        analysis: with the cells.
        headings: of the figures of a cell.
        figures: of a cell, one per heading.
        totals: protocol -> figures for the row below, one per heading.
        total: name of that row.
    """
    totals = totals or {}
    protocols = analysis.protocols
    if len(protocols) > _MOST_BESIDE:
        columns = [NODES, PROTOCOL, *map(Column, headings)]
        rows = [[str(c.nodes), c.protocol, *figures(c)] for c in analysis.cells]
        return Layout(columns, rows, [[total, name, *row] for name, row in totals.items()])
    columns = [NODES, *(Column(name, protocol) for protocol in protocols for name in headings)]
    missing = [NONE] * len(headings)
    rows = []
    for nodes in analysis.nodes:
        cells = (analysis.find_cell(CellKey(nodes, protocol)) for protocol in protocols)
        rows.append(
            [str(nodes), *(x for cell in cells for x in (figures(cell) if cell else missing))]
        )
    if not totals:
        return Layout(columns, rows, [])
    below = (text for protocol in protocols for text in totals.get(protocol, missing))
    return Layout(columns, rows, [[total, *below]])


def title(analysis: Analysis, text: str) -> str:
    """Name the data set in a title."""
    return f"{text} ({analysis.settings.data.title})"
