"""The first table of a running sweep: the mean seconds per epoch of the trials so far."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from dnnbench.analysis.stats import mean
from dnnbench.sweep.void import is_void
from dnnbench.text.screen import Screen
from dnnbench.text.tables import NONE, Column, Table, table_text
from dnnbench.text.words import count_text, seconds
from dnnbench.trial.spec import CellKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnnbench.sweep.plan import Plan
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import TrialSpec

_WIDTH = 80


class Provisional:
    """Seconds per epoch by node count and protocol, updated after each trial.

    It covers the trials of this start of the sweep; the report covers all.

    Args:
        plan: with all cells.
        pending: the trials to come, in rounds of repeats.
    """

    def __init__(self, plan: Plan, pending: Sequence[TrialSpec]) -> None:
        self._cells = sorted({order.cell for order in plan.orders})
        self._void_after = plan.void_after
        self._left = {order.id: order.repeat for order in pending}
        self._total = len(pending)
        smallest = self._cells[0].nodes
        self._first = {o.id for o in pending if o.nodes == smallest and o.repeat == 1}
        self._pace_ms = plan.orders[0].pace_ms
        self._is_varied = any(order.varied for order in plan.orders)
        self._epoch_s: dict[CellKey, list[float]] = defaultdict(list)
        self._failed: dict[CellKey, set[str]] = defaultdict(set)

    def add(self, outcome: TrialOutcome) -> bool:
        """Take an outcome; return whether it completes a round, or the first figures of all."""
        order = outcome.order
        self._left.pop(order.id, None)
        self._failed[order.cell].discard(order.id)  # one that is run again
        if outcome.status == "failed":
            self._failed[order.cell].add(order.id)
        if outcome.status == "ok" and outcome.epochs:
            epoch_s = mean([record.duration_s for record in outcome.epochs])
            self._epoch_s[order.cell].append(epoch_s / order.passes_per_epoch)
        is_first = order.id in self._first
        self._first.discard(order.id)
        return order.repeat not in self._left.values() or (is_first and not self._first)

    @property
    def is_complete(self) -> bool:
        """Whether no trial of any round is left."""
        return not self._left

    def lines(self) -> list[str]:
        """Lay out the table; no lines before the first figure, nor where settings vary."""
        if not self._epoch_s or self._is_varied:
            return []
        left = len(self._left)
        kind = "Mean" if self.is_complete else "Provisional mean"
        pace = f", paced at {self._pace_ms:g} ms per step" if self._pace_ms else ""
        trials = f"{self._total - left} of {count_text(self._total, 'trial')}"
        protocols = list(dict.fromkeys(cell.protocol for cell in self._cells))
        rows = [
            [str(nodes), *(self._text(CellKey(nodes, protocol)) for protocol in protocols)]
            for nodes in dict.fromkeys(cell.nodes for cell in self._cells)
        ]
        table = Table(
            f"{kind} seconds per epoch after {trials}{pace}",
            [Column("Nodes"), *map(Column, protocols)],
            rows,
            [],
        )
        return table_text(table, Screen(_WIDTH)).splitlines()[1:]

    def _text(self, cell: CellKey) -> str:
        if is_void(len(self._failed[cell]), self._void_after):
            return "void"
        found = self._epoch_s.get(cell)
        return seconds(mean(found)) if found else NONE
