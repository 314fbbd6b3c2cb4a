"""The table of a sweep's paced rehearsal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.report import wording as w
from dnnbench.report.layout import PROTOCOL, title
from dnnbench.text.tables import NONE, Column, Table

if TYPE_CHECKING:
    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.rehearsal import Rehearsal, RehearsalCell

_PUBLISHED_STEP_MS = 6.4
"""3.52 s of Table 2 divided by 550 steps, if its batches had 100 examples."""


def rehearsal_table(analysis: Analysis) -> Table:
    """Return milliseconds per step at both node counts, with growth; no rows without rehearsal."""
    rehearsal = analysis.rehearsal
    if rehearsal is None:
        return Table("", [], [], [])
    nodes = sorted({cell.nodes for cell in rehearsal.cells})
    columns = [
        PROTOCOL,
        *(Column(f"{n} nodes", "ms per step") for n in nodes),
        Column("growth %"),
        Column("95 % interval"),
        Column("published"),
        Column("busy %"),
    ]
    return Table(
        title(analysis, f"Paced rehearsal: {rehearsal.pace_ms:g} ms per step or more"),
        columns,
        [_row(rehearsal, protocol, nodes) for protocol in _protocols(rehearsal)],
        _notes(rehearsal),
    )


def _protocols(rehearsal: Rehearsal) -> list[str]:
    return list(dict.fromkeys(cell.protocol for cell in rehearsal.cells))


def _row(rehearsal: Rehearsal, protocol: str, nodes: list[int]) -> list[str]:
    cells = {cell.nodes: cell for cell in rehearsal.cells if cell.protocol == protocol}
    growth = next((g for g in rehearsal.growth if g.protocol == protocol), None)
    measured = growth.measured if growth else None
    return [
        protocol,
        *(_step_text(cells.get(n)) for n in nodes),
        w.excess_text(measured.percent if measured else None),
        w.interval_text(measured),
        w.excess_text(growth.published_percent if growth else None),
        _busy_text(cells.get(max(nodes))),
    ]


def _step_text(cell: RehearsalCell | None) -> str:
    return f"{cell.step_ms.mean:.1f}" if cell and cell.step_ms else NONE


def _busy_text(cell: RehearsalCell | None) -> str:
    busy = cell.server_busy_percent if cell else None
    return f"{busy.mean:.0f}" if busy else NONE


def _notes(rehearsal: Rehearsal) -> list[str]:
    nodes = max(cell.nodes for cell in rehearsal.cells)
    busiest = [
        cell.cores_busy_percent.mean
        for cell in rehearsal.cells
        if cell.nodes == nodes and cell.cores_busy_percent
    ]
    cores = f"{rehearsal.cores} core{'s' * (rehearsal.cores != 1)}"
    used = f"{nodes} roles used {max(busiest):.0f} % of {cores}" if busiest else ""
    trials = sorted({cell.n for cell in rehearsal.cells})
    count = f"{trials[0]} to {trials[-1]}" if len(trials) > 1 else f"{trials[0]}"
    what = (
        f"A worker's step waited, off the cores, until {rehearsal.pace_ms:g} ms after its pull, as "
        f"if each worker computed on a machine of its own; {used or 'cores were shared'}. What "
        "grows is the wait for the parameter server. Paced times are no speed of this machine."
    )
    how = (
        f"{rehearsal.steps} of the {rehearsal.pass_steps} steps of an epoch, {count} trials per "
        f"cell. Busy: CPU time of a parameter server at {nodes} nodes, in % of one core. "
        "Published: growth of the epoch time; there a step took about "
        f"{_PUBLISHED_STEP_MS} ms (batches of 100 assumed)."
    )
    return [what, how]
