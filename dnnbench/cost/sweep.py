"""The cost of a sweep at the prices of a basis."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from dnnbench.analysis.target import reach
from dnnbench.cost.basis import Basis
from dnnbench.errors import ConfigError, ResultsError
from dnnbench.trial.spec import CellKey, ProtocolName
from dnnbench.trial.variation import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnnbench.cost.pricing import Rate
    from dnnbench.trial.outcome import TrialOutcome


class TargetCost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cost to accuracy as DAWNBench defines it, over the finished trials of a cell.

    Attributes:
        accuracy: the test accuracy to reach, 0 to 1.
        reached: trials that reached it, of ``trials``.
        usd: mean over those that reached it; None if none did, which is not the same as free.
    """

    accuracy: float
    reached: int
    trials: int
    usd: Decimal | None


class CellCost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The trials of one setting of a protocol at one node count.

    Attributes:
        finished: trials behind the means.
        unfinished: failed or interrupted trials; in the bills, not in the means.
        epoch_s: mean over the finished trials of their mean over workers and epochs.
        usd_per_epoch: ``epoch_s`` x list price of an hour of all machines.
        usd_per_trial: mean of the finished trials' whole duration x that price.
        list_usd: node-time of all trials at the list price, without rounding up or minimum.
        new_machines_usd: bill of all trials if each gets new machines.
        variation: the settings that the sweep varies, by name.
    """

    nodes: int
    protocol: ProtocolName
    finished: int
    unfinished: int
    epoch_s: float | None
    usd_per_epoch: Decimal | None
    usd_per_trial: Decimal | None
    list_usd: Decimal
    new_machines_usd: Decimal
    target: TargetCost | None
    variation: dict[str, Value] = {}


class SweepCost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cost of a sweep; amounts are exact, to be rounded where they are shown.

    Attributes:
        data: name of the data set that was trained on.
        not_run: trials for which too few hosts were up; they cost nothing and are in no other
            figure.
        kept_machines: the largest node count of the sweep; if hosts have prices, all hosts used.
        kept_s: sum of the trials' durations.
        kept_usd: bill if ``kept_machines`` are started once and kept for ``kept_s``.
        new_machines_usd: bill if every trial gets new machines.
        nodes_per_host: the largest number of nodes that shared a host while this was measured; each
            is priced as a machine of its own, unless hosts have their own prices.
        year_usd: nodes -> the bill for that many machines for a full year. It must not be pro-rated
            to shorter use, which gets no such discount.
    """

    sweep: str
    data: str
    basis: Basis
    cells: tuple[CellCost, ...]
    finished: int
    unfinished: int
    list_usd: Decimal
    kept_machines: int
    kept_s: Decimal
    kept_usd: Decimal
    new_machines_usd: Decimal
    year_usd: dict[int, Decimal]
    nodes_per_host: int = 1
    not_run: int = 0


def cost_of_sweep(
    outcomes: Sequence[TrialOutcome], basis: Basis, *, target_accuracy: float | None = None
) -> SweepCost:
    """Price every trial of a sweep that ran, whatever its outcome.

    Args:
        outcomes: all trials of one sweep.
        basis: prices and rules; if hosts have prices, it has that of every host used.
        target_accuracy: test accuracy, 0 to 1, to compute the cost of.

    Raises:
        ResultsError: no trial ran.
        ConfigError: the target is not an accuracy.
    """
    ran = [outcome for outcome in outcomes if outcome.status != "not run"]
    if not ran:
        raise ResultsError("expected at least one trial to price, found none that ran")
    if target_accuracy is not None and not 0 < target_accuracy <= 1:
        raise ConfigError(
            f"expected an accuracy above 0 and up to 1, found {target_accuracy}", where="target"
        )
    groups: defaultdict[CellKey, list[TrialOutcome]] = defaultdict(list)
    for outcome in ran:
        groups[outcome.order.cell].append(outcome)
    cells = tuple(_cell(key, groups[key], basis, target_accuracy) for key in sorted(groups))
    hosts: dict[int, set[str]] = defaultdict(set)
    for outcome in ran:
        hosts[outcome.order.nodes].update(outcome.placement.values())
    most, used = max(hosts), set().union(*hosts.values())
    kept_s = _total_s(ran)
    spec = ran[0].order
    return SweepCost(
        sweep=spec.sweep,
        data=spec.data.name,
        basis=basis,
        cells=cells,
        finished=sum(cell.finished for cell in cells),
        unfinished=sum(cell.unfinished for cell in cells),
        list_usd=sum((cell.list_usd for cell in cells), Decimal(0)),
        kept_machines=basis.machines(most, used),
        kept_s=kept_s,
        kept_usd=basis.bill_usd(basis.rate_of(most, used), kept_s),
        new_machines_usd=sum((cell.new_machines_usd for cell in cells), Decimal(0)),
        year_usd={
            nodes: basis.year_usd(basis.rate_of(nodes, hosts[nodes])) for nodes in sorted(hosts)
        },
        nodes_per_host=max(
            max(Counter(outcome.placement.values()).values(), default=1) for outcome in ran
        ),
        not_run=len(outcomes) - len(ran),
    )


def _cell(
    key: CellKey, trials: Sequence[TrialOutcome], basis: Basis, target_accuracy: float | None
) -> CellCost:
    finished = [trial for trial in trials if trial.status == "ok"]
    epochs_s = [(trial, _mean_epoch_s(trial)) for trial in finished if trial.epochs]
    whole_s = [(trial, trial.duration_s) for trial in trials]
    return CellCost(
        nodes=key.nodes,
        protocol=key.protocol,
        finished=len(finished),
        unfinished=len(trials) - len(finished),
        epoch_s=sum(epoch_s for _, epoch_s in epochs_s) / len(epochs_s) if epochs_s else None,
        usd_per_epoch=_mean_usd(epochs_s, basis),
        usd_per_trial=_mean_usd([(trial, trial.duration_s) for trial in finished], basis),
        list_usd=basis.list_usd((_rate(trial, basis), _exact(s)) for trial, s in whole_s),
        new_machines_usd=sum(
            (basis.bill_usd(_rate(trial, basis), _exact(s)) for trial, s in whole_s), Decimal(0)
        ),
        target=None if target_accuracy is None else _target_cost(trials, basis, target_accuracy),
        variation=dict(key.variation),
    )


def _target_cost(trials: Sequence[TrialOutcome], basis: Basis, accuracy: float) -> TargetCost:
    # A diverged trial has had its chance to reach the target; only a failed one has not.
    finished = [trial for trial in trials if trial.status in ("ok", "diverged")]
    times_s = [
        (trial, reached.seconds)
        for trial in finished
        if (reached := reach(trial, accuracy)) is not None
    ]
    return TargetCost(
        accuracy=accuracy,
        reached=len(times_s),
        trials=len(finished),
        usd=_mean_usd(times_s, basis),
    )


def _mean_usd(times_s: Sequence[tuple[TrialOutcome, float]], basis: Basis) -> Decimal | None:
    """Return the mean list price of the given seconds of each trial; None without trials."""
    if not times_s:
        return None
    return basis.list_usd(
        (_rate(trial, basis), _exact(time_s) / len(times_s)) for trial, time_s in times_s
    )


def _rate(trial: TrialOutcome, basis: Basis) -> Rate:
    return basis.rate_of(trial.order.nodes, trial.placement.values())


def _mean_epoch_s(trial: TrialOutcome) -> float:
    return sum(record.duration_s for record in trial.epochs) / len(trial.epochs)


def _total_s(trials: Sequence[TrialOutcome]) -> Decimal:
    return sum((_exact(trial.duration_s) for trial in trials), Decimal(0))


def _exact(value: float) -> Decimal:
    return Decimal(str(value))
