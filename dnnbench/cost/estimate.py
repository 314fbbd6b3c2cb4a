"""The cost of a sweep before it runs, with its uncertainty."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from dnnbench.cost.accuracy import exact
from dnnbench.cost.basis import Basis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dnnbench.sweep.plan import Plan
    from dnnbench.trial.spec import CellKey, TrialSpec

MODEL_FACTOR: Final = 2
"""Factor by which the estimate of a trial that was never measured may be wrong, either way."""


class CostEstimate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bill of machines that are kept for all of the trials.

    Attributes:
        basis: prices and rules.
        machines: as many as the largest trial needs.
        usd: for the estimated time.
        low_usd: for the shortest time that is likely.
        high_usd: for the longest.
        measured: trials whose cell was measured in an earlier sweep: their time is taken to be
            within what was seen there. Of the other ``trials`` it may be half or twice as long.
    """

    basis: Basis
    machines: int
    usd: Decimal
    low_usd: Decimal
    high_usd: Decimal
    measured: int
    trials: int


def estimate_cost(
    plan: Plan,
    pending: Sequence[TrialSpec],
    basis: Basis,
    measured_s: Mapping[CellKey, Sequence[float]],
) -> CostEstimate | None:
    """Estimate the bill of the trials that are to run; None if the time of one is not known.

    Args:
        plan: of the sweep.
        pending: its trials that are still to run.
        basis: prices of the machines.
        measured_s: cell -> seconds of its trials in an earlier sweep.
    """
    low_s = middle_s = high_s = Decimal(0)
    for spec in pending:
        estimate_s = plan.estimated_s.get(spec.id)
        if estimate_s is None:
            return None
        seen = measured_s.get(spec.cell) or (estimate_s / MODEL_FACTOR, estimate_s * MODEL_FACTOR)
        middle_s += exact(estimate_s)
        low_s += min(exact(estimate_s), exact(min(seen)))
        high_s += max(exact(estimate_s), exact(max(seen)))
    low_s, middle_s, high_s = (time_s / plan.parallel for time_s in (low_s, middle_s, high_s))
    most, hosts = machines_kept(plan, pending)
    rate = basis.rate_of(most, hosts)
    low_usd, usd, high_usd = (basis.bill_usd(rate, time_s) for time_s in (low_s, middle_s, high_s))
    return CostEstimate(
        basis=basis,
        machines=basis.machines(most, hosts),
        usd=usd,
        low_usd=low_usd,
        high_usd=high_usd,
        measured=sum(spec.cell in measured_s for spec in pending),
        trials=len(pending),
    )


def machines_kept(plan: Plan, pending: Sequence[TrialSpec]) -> tuple[int, set[str]]:
    """Return the nodes of the largest trial, and all hosts that trials run on."""
    hosts = {host for spec in pending for host in plan.placement(spec).values()}
    if plan.parallel > 1:
        hosts = {host.name for host in plan.hosts}
    return max((spec.nodes for spec in pending), default=0), hosts
