"""Plans to reach a test accuracy within a time, ranked by cost.

A plan is a cell of the sweep on machines of one type, in the time that was measured; or one machine
that trains alone, at a throughput that the user entered, on as many examples as one process needed.
Nothing else is extrapolated. A plan in time for every trial comes before one that is so for some.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import msgspec

from dnnbench.analysis import published
from dnnbench.analysis.target import FIRST_WORKER, reach
from dnnbench.cost.accuracy import (
    MachineCost,
    Reached,
    chances,
    machine_cost,
    reached_by,
)
from dnnbench.cost.basis import basis_of_book
from dnnbench.cost.library import load_table_1_book
from dnnbench.cost.pricing import custom_rate, gpu_rate
from dnnbench.cost.table1 import GPU
from dnnbench.errors import ConfigError, nearest
from dnnbench.trial.protocols import find_protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dnnbench.cost.basis import Basis
    from dnnbench.cost.sweep import SweepCost
    from dnnbench.trial.outcome import TrialOutcome

_OPTION = "--throughput"


def plans_within(
    cost: SweepCost,
    outcomes: Sequence[TrialOutcome],
    within_s: float,
    throughputs: Sequence[str],
    types: Sequence[Basis],
) -> SweepCost:
    """Return the cost of a sweep with the plans that reach its accuracy within a time.

    Args:
        cost: with the cost to the accuracy for every machine type.
        outcomes: of the sweep.
        within_s: set-up and training.
        throughputs: ``TYPE=EXAMPLES_PER_S`` of machines that train alone.
        types: every machine type of the price book.

    Raises:
        ConfigError: a throughput is not a number above zero, or of an unknown type.
    """
    assert cost.accuracy is not None  # the command asks for it
    limit_s = Decimal(str(within_s))
    alone = [
        trial for trial in chances(outcomes) if find_protocol(trial.order.protocol.name).fixed_nodes
    ]
    entered = _entered(throughputs, types)
    single = [
        _alone(basis, per_s, alone, cost.accuracy)
        for basis, per_s in entered
        if reached_by(alone, cost.accuracy)
    ]
    timed = [
        msgspec.structs.replace(one, in_time=sum(time_s <= limit_s for time_s in one.times_s))
        for one in [*cost.machines, *single]
    ]
    plans = sorted(
        (one for one in timed if one.in_time),
        key=lambda one: (-one.in_time / one.trials, one.billed_usd.median, one.time_s.median),
    )
    missing = "not told: the sweep has no trial of one process that reached the accuracy"
    note = f"machines that train alone: {missing}" if entered and not single else ""
    return msgspec.structs.replace(
        cost,
        plans=tuple(plans),
        within_s=within_s,
        plans_note=note,
        too_slow=len(timed) - len(plans),
    )


def gpu_machines() -> dict[str, Basis]:
    """Return the machines with GPUs of Table 1: ``n1-standard-8+4xk80`` -> its basis.

    Priced as there, as custom machine types, but without local SSD and discount for whole months.
    """
    book = load_table_1_book()
    bases = {}
    for row in published.TABLE_1:
        if row.gpus:
            plain = basis_of_book(book, row.machine)
            price = custom_rate(book, row.vcpus, row.ram_gb) + gpu_rate(book, GPU, row.gpus)
            name = f"{row.machine}+{row.gpus}x{GPU}"
            bases[name] = msgspec.structs.replace(
                plain,
                machine=name,
                machine_usd_per_hour=price.usd_per_hour,
                rate=price + msgspec.structs.replace(plain.rate, discountable_usd=Decimal(0)),
                gpu=f"{row.gpus} {GPU.upper()}",
                spot_rate=None,
            )
    return bases


def _entered(throughputs: Iterable[str], types: Sequence[Basis]) -> list[tuple[Basis, Decimal]]:
    """Return the basis and the examples per second of each machine that the user entered."""
    known = gpu_machines() | {basis.machine: basis for basis in types}
    found = []
    for text in throughputs:
        name, _, number = text.rpartition("=")
        try:
            per_s = Decimal(number)
        except InvalidOperation:
            per_s = Decimal(0)
        if per_s <= 0:
            problem = f"expected examples per second above 0, found {text!r}"
            raise ConfigError(problem, where=_OPTION)
        if name.strip() not in known:
            gpus = ", ".join(gpu_machines())
            raise ConfigError(
                f"no machine {name!r} in the price book, nor in Table 1",
                where=_OPTION,
                remedy=nearest(name, known) or f"Table 1 has {gpus}",
            )
        found.append((known[name.strip()], per_s))
    return found


def _alone(
    basis: Basis, examples_per_s: Decimal, trials: Sequence[TrialOutcome], accuracy: float
) -> MachineCost:
    """Return the cost on one machine that trains at a throughput, as one process was measured."""
    reached = [
        Reached(found.trial, _examples(found.trial, accuracy) / examples_per_s, Decimal(0))
        for found in reached_by(trials, accuracy)
    ]
    key = reached[0].trial.order.cell
    one = machine_cost(msgspec.structs.replace(basis, is_per_host=False), key, reached, len(trials))
    return msgspec.structs.replace(one, examples_per_s=examples_per_s)


def _examples(trial: TrialOutcome, accuracy: float) -> Decimal:
    """Return the examples that one process trained on until it reached the accuracy, all told."""
    found = reach(trial, accuracy)
    last = found.epochs if found else trial.order.epochs
    measured = sum(
        record.examples
        for record in trial.epochs
        if record.task == FIRST_WORKER and record.epoch <= last
    )
    warmup = sum(record.steps for record in trial.warmups) * trial.order.batch_size
    return Decimal(measured + warmup)
