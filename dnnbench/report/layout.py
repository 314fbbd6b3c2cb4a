"""Layout of the report's tables: their titles, and a figure of each cell by protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dnnbench.report import wording as w
from dnnbench.text.tables import NONE, Column
from dnnbench.trial.spec import CellKey
from dnnbench.trial.variation import in_words, value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.cell import Cell
    from dnnbench.analysis.ranking import Ranked
    from dnnbench.trial.spec import ProtocolName

NODES: Final = Column("Nodes")
PROTOCOL: Final = Column("Protocol", is_text=True)
_MOST_SETTINGS: Final = 2
"""Settings that get a column each in 80 columns; more are written into one, which wraps."""
_MOST_BESIDE: Final = 2
"""Protocols that fit side by side into 80 columns; with more, each cell has a row."""


class Layout(NamedTuple):
    """Columns, rows and total rows of a table."""

    columns: list[Column]
    rows: list[list[str]]
    totals: list[list[str]]


def cell_columns(analysis: Analysis) -> list[Column]:
    """Return the columns that name a cell: a few settings that vary get one each."""
    varied = analysis.varied
    if len(varied) > _MOST_SETTINGS:
        return [NODES, PROTOCOL, Column("Setting", is_text=True)]
    return [NODES, PROTOCOL, *(Column(w.words(name)) for name in varied)]


def cell_names(analysis: Analysis, cell: Cell | Ranked) -> list[str]:
    """Return the name of a cell, one text per column of `cell_columns`."""
    names, varied = [str(cell.nodes), cell.protocol], cell.variation
    if len(analysis.varied) > _MOST_SETTINGS:
        return [*names, in_words(varied.items()) or NONE]
    values = (value_text(varied[name]) if name in varied else NONE for name in analysis.varied)
    return [*names, *values]


def by_protocol(
    analysis: Analysis,
    headings: Sequence[str],
    figures: Callable[[Cell], Sequence[str]],
    totals: Mapping[ProtocolName, Sequence[str]] | None = None,
    total: str = "",
) -> Layout:
    """Lay out the same figures of every cell, so that protocols can be compared.

    Two protocols are side by side, with one row per node count. With more, or if settings vary,
    each cell has a row.

    Args:
        analysis: with the cells.
        headings: of the figures of a cell.
        figures: of a cell, one per heading.
        totals: protocol -> figures for the row below, one per heading.
        total: name of that row.
    """
    totals = totals or {}
    protocols = analysis.protocols
    if len(protocols) > _MOST_BESIDE or analysis.varied:
        columns = [*cell_columns(analysis), *map(Column, headings)]
        rows = [[*cell_names(analysis, c), *figures(c)] for c in analysis.cells]
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
    """Name the data set in a title, and the pace where there is one."""
    return f"{text} ({w.data_text(analysis)})"
