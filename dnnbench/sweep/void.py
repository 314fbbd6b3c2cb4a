"""Cells that are void: too many of their repeats failed for the rest to be a sample of them.

A trial that fails may be one that would have been slow. The mean over the survivors of several
such is not that of the cell, so none is shown.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from dnnbench.trial.outcome import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dnnbench.sweep.plan import Plan
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import CellKey


def is_void(failed: int, limit: int) -> bool:
    """Return whether this number of failed repeats voids a cell; never if the limit is 0."""
    return 0 < limit <= failed


def void_reason(failed: int, planned: int) -> str:
    """Write why a cell is void."""
    return f"{failed} of {planned} repeats failed"


def void_cells(outcomes: Iterable[TrialOutcome], plan: Plan) -> dict[CellKey, str]:
    """Return void cell -> why it is, by the last outcome of every trial."""
    failed = Counter(o.order.cell for o in outcomes if o.status == "failed")
    planned = Counter(order.cell for order in plan.orders)
    return {
        cell: void_reason(count, planned[cell])
        for cell, count in failed.items()
        if is_void(count, plan.void_after)
    }


def with_void(outcomes: Sequence[TrialOutcome], plan: Plan) -> list[TrialOutcome]:
    """Return the last outcome of every trial, the successes in void cells with status ``void``."""
    void = void_cells(outcomes, plan)
    return [
        msgspec.structs.replace(o, status="void", failure=Failure(f"its cell is void: {reason}"))
        if o.status == "ok" and (reason := void.get(o.order.cell))
        else o
        for o in outcomes
    ]
