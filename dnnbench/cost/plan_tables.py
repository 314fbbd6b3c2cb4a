"""Tables of the cost of a test accuracy: by machine type, and as plans within a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.cost.tables import NODES, titled, usd
from dnnbench.text.tables import NONE, Column, Table
from dnnbench.text.words import duration_text, seconds
from dnnbench.trial.variation import in_words

if TYPE_CHECKING:
    from dnnbench.cost.accuracy import MachineCost, Spread
    from dnnbench.cost.sweep import SweepCost

_SHORT_S = 10
MOST_ROWS = 12
"""Machine types and plans that a terminal shows; other programs get all of them."""
_SCALING = (
    "Times are those measured here, not scaled: a machine type counts if it has a vCPU for each "
    "core that a role had, and is taken to be as fast per core, and no faster for having more."
)


def machines(cost: SweepCost) -> Table:
    """Return the cost to the accuracy for every machine type, each with its cheapest cell."""
    assert cost.accuracy is not None
    cheapest: dict[str, MachineCost] = {}
    for one in cost.machines:
        cheapest.setdefault(one.machine, one)
    rows = list(cheapest.values())
    notes = [
        "Each machine type with its cheapest node count and protocol.",
        "workers, servers (parameter servers' own machines), set-up: at the list price, median.",
        "billed: all of it on new machines, by the price book's rules; median (range).",
        _SCALING,
    ]
    if any(one.spot_usd for one in rows):
        notes.insert(
            3, "spot: the list price where the cloud may take machines back, but does not."
        )
    if cost.on_gpu:
        notes.append("Workers computed on GPUs: those of a machine type are taken to be as fast.")
    elif any(one.gpu for one in rows):
        notes.append("GPUs of a machine type are paid for, but the times were measured without.")
    if cost.small_machines:
        notes.append(f"{cost.small_machines} machine types are smaller than what was measured.")
    if not rows:
        notes = [_why_no_machine(cost)]
    left = len(cost.machines) - min(len(rows), MOST_ROWS)
    if left:
        notes.append(f"{left} more, dearer: with --format csv or json.")
    title = titled(cost, f"Cost to {100 * cost.accuracy:g} % test accuracy by machine type")
    has_spot = any(one.spot_usd for one in rows)
    columns = [Column("Machine", is_text=True), NODES, Column("Protocol", is_text=True)]
    columns.append(Column("time"))
    amounts = ("workers", "servers", "set-up", "billed", *(("spot",) if has_spot else ()))
    columns += [Column(name, "USD") for name in amounts]
    shown = [_machine_row(one)[: len(columns)] for one in rows[:MOST_ROWS]]
    return Table(title, columns, shown, notes)


def plans(cost: SweepCost) -> Table:
    """Return the plans that reach the accuracy in time, best first."""
    assert cost.accuracy is not None
    assert cost.within_s is not None
    notes = [
        "First what was in time in every trial, then by what is billed (median).",
        "in time: trials that reached the accuracy within that time, set-up included.",
        _SCALING,
    ]
    if any(one.examples_per_s for one in cost.plans):
        notes.append(
            "alone: one machine at the throughput that you entered, on as many examples as one "
            "process needed; without set-up."
        )
    if not cost.plans:
        notes = [] if cost.too_slow else [_why_no_machine(cost)]
    if cost.plans_note:
        notes.append(f"{cost.plans_note[0].upper()}{cost.plans_note[1:]}.")
    if cost.too_slow:
        notes.append(f"{cost.too_slow} {'others' if cost.plans else 'plans'} are not in time.")
    if len(cost.plans) > MOST_ROWS:
        notes.append(f"{len(cost.plans) - MOST_ROWS} more: with --format csv or json.")
    title = f"Plans: {100 * cost.accuracy:g} % test accuracy within {duration_text(cost.within_s)}"
    rows = [
        [
            str(rank),
            one.machine,
            "1" if one.examples_per_s else str(one.nodes),
            "alone" if one.examples_per_s else _protocol(one),
            f"{one.in_time}/{one.trials}",
            _time(one),
            _range(one.billed_usd),
            NONE if one.spot_usd is None else usd(one.spot_usd.median),
        ]
        for rank, one in enumerate(cost.plans[:MOST_ROWS], start=1)
    ]
    columns = [Column("#"), Column("Machine", is_text=True), NODES]
    columns += [Column("Protocol", is_text=True), Column("in time"), Column("time")]
    columns += [Column("billed", "USD"), Column("spot", "USD")]
    return Table(titled(cost, title), columns, rows, notes)


def _machine_row(one: MachineCost) -> list[str]:
    return [
        one.machine,
        str(one.nodes),
        _protocol(one),
        _time(one),
        usd(one.workers_usd.median),
        usd(one.parameter_servers_usd.median),
        usd(one.set_up_usd.median),
        _range(one.billed_usd),
        NONE if one.spot_usd is None else usd(one.spot_usd.median),
    ]


def _protocol(one: MachineCost) -> str:
    """Write the protocol, with its setting if the sweep varies some."""
    return ", ".join(filter(None, [one.protocol, in_words(one.variation.items())]))


def _time(one: MachineCost) -> str:
    """Write the median time; with decimals if it is short."""
    median_s = float(one.time_s.median)
    return duration_text(median_s) if median_s >= _SHORT_S else f"{seconds(median_s)} s"


def _range(amount: Spread) -> str:
    if amount.low == amount.high:
        return usd(amount.median)
    return f"{usd(amount.median)} ({usd(amount.low)} to {usd(amount.high)})"


def _why_no_machine(cost: SweepCost) -> str:
    if not any(cell.target and cell.target.reached for cell in cost.cells):
        return "No trial reached the accuracy."
    if cost.small_machines:
        return "Every machine type is smaller than what was measured."
    return f"None can be told: {cost.not_priced or 'no machine type was measured'}."
