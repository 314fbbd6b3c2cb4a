"""The plan of a sweep, for ``dnnbench run --dry-run``."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from dnnbench.cost.estimate import MODEL_FACTOR
from dnnbench.cost.tables import usd
from dnnbench.text.safe import json_text
from dnnbench.text.tables import NONE, Column, Table, table_text
from dnnbench.text.words import about_text, count_text, duration_text
from dnnbench.trial.tasks import split_task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnnbench.cost.estimate import CostEstimate
    from dnnbench.sweep.plan import Plan
    from dnnbench.text.screen import Screen
    from dnnbench.trial.spec import TrialSpec

JSON_VERSION: Final = 1


def render(
    plan: Plan,
    pending: Sequence[TrialSpec],
    screen: Screen,
    cost: CostEstimate | None = None,
    *,
    has_price: bool = False,
) -> str:
    """Lay out the trials that would run, in their order, and what their machines would cost."""
    estimates = [plan.estimated_s.get(order.id) for order in pending]
    known_s = [seconds for seconds in estimates if seconds is not None]
    whole_s = None
    if len(known_s) == len(estimates):
        whole_s = plan.import_s + sum(known_s) / plan.parallel
    beside = f", up to {plan.parallel} side by side" if plan.parallel > 1 else ""
    first = plan.orders[0]
    varied = dict.fromkeys(name for order in plan.orders for name in order.varied)
    sweep = (
        f"Sweep {plan.sweep}: {count_text(len(pending), 'trial')}{beside}, {about_text(whole_s)}"
    )
    data = first.data.name if "label_noise" in varied else first.data.title
    epochs = "epochs" if "epochs" in varied else count_text(first.epochs, "epoch")
    each = {
        "": f"{epochs} ({first.epoch_definition}) of {data}",
        "batch_size": f"batch size {first.batch_size}",
        "warmup_steps": f"after {count_text(first.warmup_steps, 'warm-up step')}",
    }
    if first.warm_start_epochs:
        text = f"a warm start of {count_text(first.warm_start_epochs, 'epoch')}"
        each["warm_start_epochs"] = f"after {text}"
    lines = [f"Each trial: {', '.join(text for name, text in each.items() if name not in varied)}"]
    if varied:
        names = ", ".join(name.replace("_", " ") for name in varied)
        lines.append(f"Varied, as the names of the trials show: {names}")
    lines.append(_cost_text(cost, has_price=has_price))
    return screen.paragraph(sweep, *lines) + table_text(_table(plan, pending), screen)


def as_json(plan: Plan, pending: Sequence[TrialSpec], cost: CostEstimate | None = None) -> str:
    """Return the plan as one versioned JSON document."""
    document = {
        "dnnbench_plan": JSON_VERSION,
        **msgspec.to_builtins(plan),
        "pending": [order.id for order in pending],
        "placement": {order.id: plan.placement(order) for order in pending},
        "cost": msgspec.to_builtins(cost),
    }
    return json_text(document)


def _cost_text(cost: CostEstimate | None, *, has_price: bool) -> str:
    if not has_price:
        return "Cost: none, as this machine has no price (--usd-per-hour gives it one)"
    if cost is None:
        return "Cost: no estimate yet, as nothing is known of the time"
    basis = cost.basis
    why = f"within a factor of {MODEL_FACTOR}, as the times are those of a model"
    if cost.measured == cost.trials:
        why = "by the times of trials measured before"
    elif cost.measured:
        why = f"{cost.measured} of {cost.trials} trials by times measured before, the others {why}"
    book = f" of price book {basis.book}, as of {basis.as_of}" if basis.book else ""
    return (
        f"Cost: about {usd(cost.usd)} USD ({usd(cost.low_usd)} to {usd(cost.high_usd)}, {why}) "
        f"for {count_text(cost.machines, 'machine')} kept for all trials: {basis.machine}{book}; "
        "without setting them up"
    )


def placement_text(plan: Plan, order: TrialSpec) -> str:
    """Write how many roles of a trial each host runs."""
    hosts: dict[str, Counter[str]] = {}
    for task, host in plan.placement(order).items():
        hosts.setdefault(host, Counter())[split_task(task)[0]] += 1
    return "; ".join(
        f"{host}: " + ", ".join(f"{number} {job}" for job, number in jobs.items())
        for host, jobs in hosts.items()
    )


def _table(plan: Plan, pending: Sequence[TrialSpec]) -> Table:
    return Table(
        "",
        [
            Column("#"),
            Column("trial", is_text=True),
            Column("protocol", is_text=True),
            Column("nodes"),
            Column("repeat"),
            Column("estimate"),
        ],
        [
            [
                str(number),
                order.id,
                order.protocol.name,
                str(order.nodes),
                str(order.repeat),
                _estimate(plan, order),
            ]
            for number, order in enumerate(pending, start=1)
        ],
        [
            f"Placement: {plan.placement_rule}.",
            *_placements(plan, pending),
            *(
                ["Side by side: the next trial gets the first free hosts."]
                if plan.parallel > 1
                else []
            ),
        ],
    )


def _estimate(plan: Plan, order: TrialSpec) -> str:
    seconds = plan.estimated_s.get(order.id)
    return NONE if seconds is None else duration_text(seconds)


def _placements(plan: Plan, pending: Sequence[TrialSpec]) -> list[str]:
    """Write the placement of each node count once."""
    first = {order.nodes: order for order in reversed(pending)}
    return [f"{nodes} nodes: {placement_text(plan, first[nodes])}." for nodes in sorted(first)]
