"""The cost of reaching a test accuracy, for the machine in use and for every type of a book.

Cost to accuracy as DAWNBench defines it: the training time to the first evaluation at or above the
accuracy x the price of all machines. A trial that did not get there has no such cost, which is not
the same as zero.

Times are those that were measured; nothing is extrapolated. A machine type is priced if it has at
least as many vCPUs as each role had cores, and a GPU if workers computed on one, and is taken to be
as fast, and no faster for having more.

Source: Coleman et al., DAWNBench, NIPS ML Systems Workshop, 2017.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dnnbench.analysis.target import reach
from dnnbench.trial.spec import CellKey, ProtocolName
from dnnbench.trial.variation import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dnnbench.cost.basis import Basis
    from dnnbench.trial.outcome import TrialOutcome

_CLOSE = 1e-6


class Spread(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Median and range of the trials that reached the accuracy."""

    median: Decimal
    low: Decimal
    high: Decimal


class TargetCost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cost to accuracy over the finished trials of a cell.

    Attributes:
        accuracy: the test accuracy to reach, 0 to 1.
        reached: trials that reached it, of ``trials``.
        usd: mean over those that reached it; None if none did, which is not the same as free.
        training_s: from the start of the measured epochs until it was reached; None if none did.
        set_up_s: before that: start of the roles, warm-up.
    """

    accuracy: float
    reached: int
    trials: int
    usd: Decimal | None
    training_s: Spread | None = None
    set_up_s: Spread | None = None


class MachineCost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cost to accuracy of a cell on machines of one type.

    Attributes:
        usd_per_hour: of one machine with its disk, on demand.
        spot_usd_per_hour: None if the book has no such price.
        reached: trials that reached the accuracy, of ``trials``; at least one did.
        times_s: set-up and training of each trial that reached it.
        time_s: their median and range.
        workers_usd: machines with a worker, while they train.
        parameter_servers_usd: machines with parameter servers alone, while workers train.
        set_up_usd: all of them, before.
        usd: all three, at the list price on demand.
        billed_usd: the same on new machines, by the book's minimum, granularity and discounts.
        spot_usd: all three at the price of machines that the cloud may take back, if it never does.
        in_time: trials that reached it within the time of a plan.
        examples_per_s: that the user entered for a machine that trains alone; None if measured.
        variation: the settings that the sweep varies, by name.
    """

    machine: str
    region: str | None
    vcpus: float | None
    gpu: str | None
    usd_per_hour: Decimal
    spot_usd_per_hour: Decimal | None
    nodes: int
    protocol: ProtocolName
    reached: int
    trials: int
    times_s: tuple[Decimal, ...]
    time_s: Spread
    workers_usd: Spread
    parameter_servers_usd: Spread
    set_up_usd: Spread
    usd: Spread
    billed_usd: Spread
    spot_usd: Spread | None
    in_time: int = 0
    examples_per_s: Decimal | None = None
    variation: dict[str, Value] = {}


class Reached(NamedTuple):
    """A trial that reached the accuracy.

    Attributes:
        training_s: until then.
    """

    trial: TrialOutcome
    training_s: Decimal
    set_up_s: Decimal

    @property
    def time_s(self) -> Decimal:
        """Set-up and training."""
        return self.set_up_s + self.training_s


def spread(values: Sequence[Decimal]) -> Spread:
    """Return median and range; at least one value."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    median = ordered[middle]
    if len(ordered) % 2 == 0:
        median = (ordered[middle - 1] + median) / 2
    return Spread(median, ordered[0], ordered[-1])


def chances(trials: Sequence[TrialOutcome]) -> list[TrialOutcome]:
    """Return the trials that had their chance to reach an accuracy: also those that diverged."""
    return [trial for trial in trials if trial.status in ("ok", "diverged")]


def reached_by(trials: Sequence[TrialOutcome], accuracy: float) -> list[Reached]:
    """Return the trials that reached a test accuracy."""
    return [
        Reached(trial, exact(reached.seconds), exact(trial.start_up_s))
        for trial in chances(trials)
        if (reached := reach(trial, accuracy)) is not None
    ]


def target_cost(trials: Sequence[TrialOutcome], basis: Basis, accuracy: float) -> TargetCost:
    """Return the cost to accuracy of a cell."""
    reached = reached_by(trials, accuracy)
    return TargetCost(
        accuracy=accuracy,
        reached=len(reached),
        trials=len(chances(trials)),
        usd=mean_usd([(found.trial, float(found.training_s)) for found in reached], basis),
        training_s=spread([found.training_s for found in reached]) if reached else None,
        set_up_s=spread([found.set_up_s for found in reached]) if reached else None,
    )


def machine_costs(
    cells: Mapping[CellKey, Sequence[TrialOutcome]],
    types: Sequence[Basis],
    accuracy: float,
    roles_per_core: Mapping[CellKey, float],
) -> tuple[list[MachineCost], int]:
    """Return the cost to accuracy of every cell on every machine type, the cheapest first.

    Returns:
        The costs, and the number of types that are too small for every cell (see `fits`).
    """
    found: list[MachineCost] = []
    small = 0
    timed = {key: times for key in sorted(cells) if (times := reached_by(cells[key], accuracy))}
    for basis in types:
        known = [key for key in timed if basis.is_per_host or roles_per_core.get(key, 0.0) <= 1]
        fitting = [
            key
            for key in known
            if fits(basis, roles_per_core.get(key), on_gpu=cells[key][0].order.device == "gpu")
        ]
        small += bool(known) and not fitting
        found += [machine_cost(basis, key, timed[key], len(chances(cells[key]))) for key in fitting]
    return sorted(found, key=lambda cost: (cost.billed_usd.median, cost.time_s.median)), small


def fits(basis: Basis, roles_per_core: float | None, *, on_gpu: bool = False) -> bool:
    """Return whether a machine type is as large as what was measured.

    Hosts that are paid once each are what was measured. Any other type needs a vCPU for each core
    that a role had to itself, and a GPU if workers computed on one; unknown vCPUs or crowding are
    taken to be enough.
    """
    if basis.is_per_host:
        return True
    if on_gpu and basis.gpu is None:
        return False
    if roles_per_core is None or basis.vcpus is None:
        return True
    return basis.vcpus * roles_per_core >= 1 - _CLOSE


def machine_cost(
    basis: Basis, key: CellKey, reached: Sequence[Reached], trials: int
) -> MachineCost:
    """Return the cost of a cell on machines of one type, from the trials that reached it."""
    rates = [(found, basis.rates_of(found.trial)) for found in reached]
    one = basis.list_usd
    spot_usd = None
    if basis.spot_rate is not None:
        spot = basis.spot_rate * key.nodes
        spot_usd = spread([one([(spot, found.time_s)]) for found, _ in rates])
    return MachineCost(
        machine=basis.machine,
        region=basis.region,
        vcpus=basis.vcpus,
        gpu=basis.gpu,
        usd_per_hour=basis.rate.usd_per_hour,
        spot_usd_per_hour=basis.spot_rate.usd_per_hour if basis.spot_rate else None,
        nodes=key.nodes,
        protocol=key.protocol,
        reached=len(reached),
        trials=trials,
        times_s=tuple(found.time_s for found in reached),
        time_s=spread([found.time_s for found in reached]),
        workers_usd=spread([one([(rate.workers, f.training_s)]) for f, rate in rates]),
        parameter_servers_usd=spread(
            [one([(rate.parameter_servers, f.training_s)]) for f, rate in rates]
        ),
        set_up_usd=spread([one([(rate.total, f.set_up_s)]) for f, rate in rates]),
        usd=spread([one([(rate.total, f.time_s)]) for f, rate in rates]),
        billed_usd=spread([basis.bill_usd(rate.total, f.time_s) for f, rate in rates]),
        spot_usd=spot_usd,
        variation=dict(key.variation),
    )


def mean_usd(times_s: Sequence[tuple[TrialOutcome, float]], basis: Basis) -> Decimal | None:
    """Return the mean list price of the given seconds of each trial; None without trials."""
    if not times_s:
        return None
    return basis.list_usd(
        (basis.rates_of(trial).total, exact(time_s) / len(times_s)) for trial, time_s in times_s
    )


def exact(value: float) -> Decimal:
    """Return a measured number as the decimal that it is written as."""
    return Decimal(str(value))
