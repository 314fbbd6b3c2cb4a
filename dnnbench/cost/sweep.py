"""The cost of a sweep at the prices of a basis."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from dnnbench.cost.accuracy import (
    MachineCost,
    TargetCost,
    exact,
    machine_costs,
    mean_usd,
    target_cost,
)
from dnnbench.cost.basis import Basis
from dnnbench.cost.kept import kept_time
from dnnbench.errors import ConfigError, ResultsError
from dnnbench.trial.spec import CellKey, ProtocolName
from dnnbench.trial.variation import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dnnbench.trial.outcome import TrialOutcome


class CellCost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The trials of one setting of a protocol at one node count.

    Attributes:
        finished: trials behind the means.
        unfinished: trials that failed, were interrupted or are in a void cell; in the bills, not
            in the means.
        epoch_s: mean over the finished trials of their mean over workers and epochs.
        usd_per_epoch: ``epoch_s`` x list price of an hour of all machines. An epoch of several
            workers may pass over the data several times.
        usd_per_trial: mean of the finished trials' whole duration x that price.
        list_usd: node-time of all trials at the list price, without rounding up or minimum.
        new_machines_usd: bill of all trials if each gets new machines.
        variation: the settings that the sweep varies, by name.
        pass_s: mean over the finished trials of the time in which all workers together train on as
            many examples as the training set has.
        usd_per_pass: ``pass_s`` x list price of an hour of all machines.
        not_priced: why no amount can be given; None if one can.
        void: why no trial of the cell is finished though some succeeded; None if not so.
    """

    nodes: int
    protocol: ProtocolName
    finished: int
    unfinished: int
    epoch_s: float | None
    usd_per_epoch: Decimal | None
    usd_per_trial: Decimal | None
    list_usd: Decimal | None
    new_machines_usd: Decimal | None
    target: TargetCost | None
    variation: dict[str, Value] = {}
    pass_s: float | None = None
    usd_per_pass: Decimal | None = None
    not_priced: str | None = None
    void: str | None = None


class SweepCost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cost of a sweep; amounts are exact, to be rounded where they are shown.

    An amount that would include a cell that cannot be priced is None.

    Attributes:
        data: name of the data set that was trained on.
        not_run: trials for which too few hosts were up; they cost nothing and are in no other
            figure.
        kept_machines: the largest node count of the sweep; all hosts used, if hosts have prices or
            trials ran side by side.
        kept_s: time in which any trial ran: the sum of their durations, less what others on other
            hosts overlap of it.
        kept_usd: bill if ``kept_machines`` are started once and kept for ``kept_s``.
        new_machines_usd: bill if every trial gets new machines.
        nodes_per_host: the largest number of nodes that shared a host while this was measured; each
            is priced as a machine of its own, unless hosts have their own prices.
        year_usd: nodes -> the bill for that many machines for a full year. It must not be pro-rated
            to shorter use, which gets no such discount.
        accuracy: the test accuracy that costs are computed for; None if there is none.
        machines: cost to that accuracy for every machine type and cell for which it is known, the
            cheapest first.
        small_machines: machine types with fewer vCPUs than a role had cores, or without the GPU
            that a worker had, in every cell.
        on_gpu: whether workers computed on GPUs.
        prices: how the prices relate to the run of the sweep, such as "as when it was run".
        within_s: the time that plans are to reach the accuracy in; None if none were asked for.
        plans: those of ``machines``, and of machines that train alone, that do so; best first.
        too_slow: those that do not.
        plans_note: why some plans cannot be told; empty if all can.
        repeated: attempts that failed and were repeated; they are in no other figure.
        repeated_s: sum of their durations.
    """

    sweep: str
    data: str
    basis: Basis
    cells: tuple[CellCost, ...]
    finished: int
    unfinished: int
    list_usd: Decimal | None
    kept_machines: int
    kept_s: Decimal
    kept_usd: Decimal | None
    new_machines_usd: Decimal | None
    year_usd: dict[int, Decimal]
    nodes_per_host: int = 1
    not_run: int = 0
    accuracy: float | None = None
    machines: tuple[MachineCost, ...] = ()
    small_machines: int = 0
    on_gpu: bool = False
    prices: str = ""
    within_s: float | None = None
    plans: tuple[MachineCost, ...] = ()
    too_slow: int = 0
    plans_note: str = ""
    repeated: int = 0
    repeated_s: Decimal = Decimal(0)

    @property
    def not_priced(self) -> str | None:
        """Why the sweep as a whole has no cost; None if it has."""
        return next((cell.not_priced for cell in self.cells if cell.not_priced), None)


def cost_of_sweep(
    outcomes: Sequence[TrialOutcome],
    basis: Basis,
    *,
    target_accuracy: float | None = None,
    roles_per_core: Mapping[CellKey, float] | None = None,
    types: Sequence[Basis] = (),
    prices: str = "",
    earlier: Sequence[TrialOutcome] = (),
) -> SweepCost:
    """Price every trial of a sweep that ran, whatever its outcome.

    Args:
        outcomes: all trials of one sweep.
        basis: prices and rules; if hosts have prices, it has that of every host used.
        target_accuracy: test accuracy, 0 to 1, to compute the cost of.
        roles_per_core: of each cell, on the fullest host. Seconds of roles that shared cores are
            not those of a machine per node, and get no price unless hosts are paid once each.
        types: every machine type to compute the cost to the accuracy for.
        prices: see `SweepCost.prices`.
        earlier: attempts that were repeated; only their number and their time are given.

    Raises:
        ResultsError: no trial ran, or trials were paced.
        ConfigError: the target is not an accuracy.
    """
    ran = [outcome for outcome in outcomes if outcome.status != "not run"]
    again = [attempt for attempt in earlier if attempt.status != "not run"]
    if not ran:
        raise ResultsError("expected at least one trial to price, found none that ran")
    if paced := next((outcome.order for outcome in ran if outcome.order.pace_ms), None):
        raise ResultsError(
            f"the steps of {paced.id} were paced to {paced.pace_ms:g} ms; a wait on purpose tells "
            "no machine's speed, so it has no price",
            where=paced.sweep,
            remedy="price a sweep that was run without --pace",
        )
    if target_accuracy is not None and not 0 < target_accuracy <= 1:
        raise ConfigError(
            f"expected an accuracy above 0 and up to 1, found {target_accuracy}", where="target"
        )
    crowding = roles_per_core or {}
    groups: defaultdict[CellKey, list[TrialOutcome]] = defaultdict(list)
    for outcome in ran:
        groups[outcome.order.cell].append(outcome)
    cells = tuple(
        _cell(key, groups[key], basis, target_accuracy, crowding.get(key, 0.0))
        for key in sorted(groups)
    )
    hosts: dict[int, set[str]] = defaultdict(set)
    for outcome in ran:
        hosts[outcome.order.nodes].update(outcome.placement.values())
    most, used = max(hosts), set().union(*hosts.values())
    kept_s, is_beside = kept_time(ran)
    if is_beside:
        most = max(most, len(used))
    is_priced = not any(cell.not_priced for cell in cells)
    machines: list[MachineCost] = []
    small = 0
    if target_accuracy is not None:
        machines, small = machine_costs(groups, types, target_accuracy, crowding)
    spec = ran[0].order
    return SweepCost(
        sweep=spec.sweep,
        data=spec.data.name,
        basis=basis,
        cells=cells,
        finished=sum(cell.finished for cell in cells),
        unfinished=sum(cell.unfinished for cell in cells),
        list_usd=_sum(cell.list_usd for cell in cells),
        kept_machines=basis.machines(most, used),
        kept_s=kept_s,
        kept_usd=basis.bill_usd(basis.rate_of(most, used), kept_s) if is_priced else None,
        new_machines_usd=_sum(cell.new_machines_usd for cell in cells),
        year_usd={
            nodes: basis.year_usd(basis.rate_of(nodes, hosts[nodes])) for nodes in sorted(hosts)
        },
        nodes_per_host=max(
            max(Counter(outcome.placement.values()).values(), default=1) for outcome in ran
        ),
        not_run=len(outcomes) - len(ran),
        accuracy=target_accuracy,
        machines=tuple(machines),
        small_machines=small,
        on_gpu=spec.device == "gpu",
        prices=prices,
        repeated=len(again),
        repeated_s=sum((exact(attempt.duration_s) for attempt in again), Decimal(0)),
    )


def _cell(
    key: CellKey,
    trials: Sequence[TrialOutcome],
    basis: Basis,
    target_accuracy: float | None,
    roles_per_core: float,
) -> CellCost:
    finished = [trial for trial in trials if trial.status == "ok"]
    measured = [trial for trial in finished if trial.epochs]
    epochs_s = [(trial, _mean_epoch_s(trial)) for trial in measured]
    passes_s = [(trial, trial.training_s / passes(trial)) for trial in measured]
    cell = CellCost(
        nodes=key.nodes,
        protocol=key.protocol,
        finished=len(finished),
        unfinished=len(trials) - len(finished),
        epoch_s=_mean(epochs_s),
        usd_per_epoch=None,
        usd_per_trial=None,
        list_usd=None,
        new_machines_usd=None,
        target=None if target_accuracy is None else target_cost(trials, basis, target_accuracy),
        variation=dict(key.variation),
        pass_s=_mean(passes_s),
        void=next((o.failure.cause for o in trials if o.status == "void" and o.failure), None),
    )
    if why := _not_priced(key, basis, roles_per_core):
        target = cell.target and msgspec.structs.replace(cell.target, usd=None)
        return msgspec.structs.replace(cell, target=target, not_priced=why)
    whole_s = [(basis.rates_of(trial).total, exact(trial.duration_s)) for trial in trials]
    return msgspec.structs.replace(
        cell,
        usd_per_epoch=mean_usd(epochs_s, basis),
        usd_per_pass=mean_usd(passes_s, basis),
        usd_per_trial=mean_usd([(trial, trial.duration_s) for trial in finished], basis),
        list_usd=basis.list_usd(whole_s),
        new_machines_usd=_sum(basis.bill_usd(rate, duration_s) for rate, duration_s in whole_s),
    )


def _not_priced(key: CellKey, basis: Basis, roles_per_core: float) -> str | None:
    """Return why a cell's seconds are not those of the machines that are priced; None if they are.

    Hosts that are paid once each are those that were used, whatever they shared.
    """
    if roles_per_core > 1 and not basis.is_per_host:
        return f"{key}: {roles_per_core:.1f} roles shared each core"
    return None


def passes(trial: TrialOutcome) -> float:
    """Return how often all workers together passed over the training set, warm-up excluded."""
    spec = trial.order
    if spec.data.train_examples:
        return sum(record.examples for record in trial.epochs) / spec.data.train_examples
    share = 1 if spec.epoch_definition == "replicated" else spec.workers
    return len(trial.epochs) / share


def _mean(times_s: Sequence[tuple[TrialOutcome, float]]) -> float | None:
    return sum(time_s for _, time_s in times_s) / len(times_s) if times_s else None


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Add up amounts; None if one is unknown."""
    total = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def _mean_epoch_s(trial: TrialOutcome) -> float:
    measured_s = sum(record.duration_s for record in trial.epochs) / len(trial.epochs)
    return measured_s / trial.order.passes_per_epoch
