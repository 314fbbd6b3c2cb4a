"""The cost of an accuracy and plans, recomputed with fractions from the trials' own numbers."""

from __future__ import annotations

import statistics
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from support.factories import make_diverged, make_order, make_outcome, spread

from dnnbench.cost import (
    bases_of_book,
    basis_of_book,
    basis_of_own_hardware,
    cost_of_sweep,
    load_book,
    plans_within,
    table_1,
)
from dnnbench.cost.export import as_csv
from dnnbench.cost.render import render_markdown
from dnnbench.errors import ConfigError
from dnnbench.trial.outcome import EvaluationRecord
from dnnbench.trial.spec import CellKey

if TYPE_CHECKING:
    from dnnbench.cost import Basis, SweepCost
    from dnnbench.cost.accuracy import MachineCost, Spread
    from dnnbench.trial.outcome import TrialOutcome

AWS, GOOGLE = load_book("aws-2026-07"), load_book("gcp-2017-08")
M5 = Fraction("0.192")


def trial(
    repeat: int,
    epoch_s: float = 3.5,
    *,
    reaches: bool = True,
    nodes: int = 4,
    protocol: str = "downpour",
    **changes: Any,
) -> TrialOutcome:
    """Return a trial that reaches 90 % after its second epoch, or not at all."""
    order = make_order(nodes, protocol, repeat, **changes)
    accuracies = {1: 0.8, 2: 0.91 if reaches else 0.85, None: 0.92 if reaches else 0.86}
    return make_outcome(
        order,
        epoch_s,
        start_up_s=4.0 + repeat,
        placement=spread(order),
        evaluations=[EvaluationRecord(e, 1, 0.0, value) for e, value in accuracies.items()],
    )


def training_s(outcome: TrialOutcome) -> Fraction:
    """Return the seconds of worker:0's first two epochs."""
    mine = [r for r in outcome.epochs if r.task == "worker:0" and r.epoch <= 2]
    return sum((Fraction(str(r.duration_s)) for r in mine), Fraction(0))


def set_up_s(outcome: TrialOutcome) -> Fraction:
    return Fraction(str(outcome.start_up_s))


def assert_spread(found: Spread, expected: list[Fraction]) -> None:
    values = [statistics.median(expected), min(expected), max(expected)]
    for one, other in zip((found.median, found.low, found.high), values, strict=True):
        assert Fraction(one) == pytest.approx(other, rel=1e-20)


def priced(
    trials: list[TrialOutcome], types: list[Basis], roles_per_core: float | None = None
) -> SweepCost:
    keys = {outcome.order.cell for outcome in trials}
    crowding = {} if roles_per_core is None else dict.fromkeys(keys, roles_per_core)
    return cost_of_sweep(
        trials, types[0], target_accuracy=0.9, types=types, roles_per_core=crowding
    )


def only(cost: SweepCost, machine: str) -> MachineCost:
    (found,) = [one for one in cost.machines if one.machine == machine]
    return found


@pytest.mark.parametrize("reached", [1, 2, 3])
def test_a_machine_type_is_priced_by_the_trials_that_reached_the_accuracy(reached: int) -> None:
    good = [trial(repeat, 3.0 + repeat, parameter_servers=2) for repeat in range(1, reached + 1)]
    bad = trial(9, reaches=False, parameter_servers=2)
    lost = make_diverged(make_order(repeat=8, parameter_servers=2))
    cost = priced([*good, bad, lost], bases_of_book(AWS))
    one = only(cost, "m5.xlarge")
    assert (one.reached, one.trials) == (reached, reached + 2)
    train_s, up_s = [training_s(t) for t in good], [set_up_s(t) for t in good]
    both_s = [a + b for a, b in zip(train_s, up_s, strict=True)]
    assert_spread(one.time_s, both_s)
    assert_spread(one.workers_usd, [2 * M5 * s / 3600 for s in train_s])
    assert_spread(one.parameter_servers_usd, [2 * M5 * s / 3600 for s in train_s])
    assert_spread(one.set_up_usd, [4 * M5 * s / 3600 for s in up_s])
    assert_spread(one.usd, [4 * M5 * s / 3600 for s in both_s])
    assert_spread(one.billed_usd, [4 * M5 * Fraction(60, 3600)] * reached)  # a minute at least
    (cell,) = cost.cells
    assert cell.target is not None
    assert (cell.target.reached, cell.target.trials) == (reached, reached + 2)
    assert cell.target.training_s is not None
    assert_spread(cell.target.training_s, train_s)


def test_what_was_not_reached_has_no_cost_on_any_machine() -> None:
    cost = priced([trial(1, reaches=False)], bases_of_book(AWS))
    assert cost.machines == ()
    text = render_markdown(table_1(), cost)
    assert "No trial reached the accuracy." in text
    assert "0/1" in text


def test_the_cheapest_is_first_and_every_type_is_there() -> None:
    cost = priced([trial(1), trial(1, nodes=8)], bases_of_book(AWS))
    assert len(cost.machines) == 2 * len(AWS.machine)
    bills = [one.billed_usd.median for one in cost.machines]
    assert bills == sorted(bills)
    assert (cost.machines[0].machine, cost.machines[0].nodes) == ("m5.xlarge", 4)
    rows = as_csv(table_1(), cost).splitlines()
    assert len(rows) == 1 + len(cost.machines)
    assert rows[1].startswith("sweep-1,synthetic-mnist,aws-2026-07,0.9,m5.xlarge,")
    assert len({row.count(",") for row in rows}) == 1


def test_a_minimum_and_steps_are_billed_as_the_book_says() -> None:
    one = only(priced([trial(1)], bases_of_book(GOOGLE)), "n1-standard-4")
    disk = Fraction(20) * Fraction("0.04") / 730
    assert_spread(one.billed_usd, [4 * (Fraction("0.19") + disk) * 600 / 3600])


def test_spot_prices_stand_beside_those_on_demand() -> None:
    machine = msgspec.structs.replace(AWS.machine["m5.xlarge"], spot_usd_per_hour=Decimal("0.05"))
    book = msgspec.structs.replace(AWS, machine={**AWS.machine, "m5.xlarge": machine})
    outcome = trial(1)
    cost = priced([outcome], bases_of_book(book))
    one = only(cost, "m5.xlarge")
    assert one.spot_usd is not None
    time_s = training_s(outcome) + set_up_s(outcome)
    assert_spread(one.spot_usd, [4 * Fraction("0.05") * time_s / 3600])
    assert only(cost, "g5.xlarge").spot_usd is None


def test_a_type_needs_a_vcpu_for_each_core_that_a_role_had() -> None:
    cost = priced([trial(1)], bases_of_book(AWS), roles_per_core=1 / 8)
    assert {one.machine for one in cost.machines} == {
        name for name, machine in AWS.machine.items() if (machine.vcpus or 0) >= 8
    }
    assert cost.small_machines == 4
    assert "4 machine types are smaller than what was measured." in render_markdown(table_1(), cost)


def test_times_on_gpus_are_those_of_types_with_one() -> None:
    cost = priced([trial(1, device="gpu")], bases_of_book(AWS))
    assert {one.machine for one in cost.machines} == {
        name for name, machine in AWS.machine.items() if machine.gpu
    }


def test_roles_that_shared_cores_have_no_cost_of_machines_and_the_reason_stands_there() -> None:
    cost = priced([trial(1), trial(1, nodes=8)], bases_of_book(AWS), roles_per_core=2.0)
    assert cost.machines == ()
    for cell in cost.cells:
        assert cell.usd_per_pass is cell.usd_per_epoch is cell.usd_per_trial is None
        assert cell.list_usd is cell.new_machines_usd is None
        assert cell.target is not None
        assert cell.target.usd is None
        assert cell.pass_s is not None  # it was measured
    assert cost.list_usd is cost.kept_usd is cost.new_machines_usd is None
    text = render_markdown(table_1(), cost)
    assert "No amount: downpour at 4 nodes: 2.0 roles shared each core." in text
    assert "Bill for the whole sweep" not in text
    assert "None can be told: downpour at 4 nodes" in text


def test_one_cell_that_shared_cores_leaves_the_others_their_amounts() -> None:
    trials = [trial(1), trial(1, nodes=8)]
    cost = cost_of_sweep(
        trials,
        basis_of_book(AWS),
        roles_per_core={CellKey(4, "downpour"): 1.0, CellKey(8, "downpour"): 2.0},
    )
    small, large = cost.cells
    assert small.usd_per_pass is not None
    assert large.usd_per_pass is None
    assert cost.list_usd is None


def test_hosts_of_ones_own_are_paid_once_each_though_roles_shared_their_cores() -> None:
    here = dict.fromkeys(["ps:0", "worker:0", "worker:1", "worker:2"], "localhost")
    outcome = msgspec.structs.replace(trial(1), placement=here)
    own = basis_of_own_hardware("0.36")
    cost = cost_of_sweep(
        [outcome],
        own,
        target_accuracy=0.9,
        types=[own, *bases_of_book(AWS)],
        roles_per_core={outcome.order.cell: 2.0},
    )
    assert cost.kept_machines == 1
    assert cost.list_usd == Decimal(str(outcome.duration_s)) * Decimal("0.36") / 3600
    (one,) = cost.machines
    assert_spread(one.workers_usd, [Fraction("0.36") * training_s(outcome) / 3600])
    assert_spread(one.parameter_servers_usd, [Fraction(0)])  # they run on the worker's host


@pytest.mark.parametrize(
    ("epoch", "examples", "passes"),
    [("replicated", 0, 6), ("sharded", 0, 2), ("replicated", 50_000, 6.6), ("sharded", 55_000, 6)],
)
def test_a_pass_is_as_many_examples_as_the_training_set_has(
    epoch: str, examples: int, passes: float
) -> None:
    """Three workers, two epochs each: 330,000 examples; without their number, by definition."""
    outcome = trial(1, epoch_definition=epoch)
    data = msgspec.structs.replace(outcome.order.data, train_examples=examples)
    order = msgspec.structs.replace(outcome.order, data=data)
    outcome = msgspec.structs.replace(outcome, order=order)
    (cell,) = cost_of_sweep([outcome], basis_of_book(AWS)).cells
    assert cell.pass_s == pytest.approx(outcome.training_s / passes)
    assert cell.usd_per_pass is not None
    assert float(cell.usd_per_pass) == pytest.approx(4 * 0.192 * outcome.training_s / passes / 3600)


# --- plans ---------------------------------------------------------------------------------------


def plans(trials: list[TrialOutcome], within_s: float, *throughputs: str) -> SweepCost:
    types = bases_of_book(AWS)
    return plans_within(priced(trials, types), trials, within_s, throughputs, types)


def test_plans_are_those_in_time_and_the_surest_and_cheapest_come_first() -> None:
    fast = [trial(repeat, 2.0, nodes=8) for repeat in (1, 2)]  # both in about 10 s
    mixed = [trial(1, 2.0), trial(2, 30.0)]  # one in 9 s, one in 66 s
    slow = [trial(1, 40.0, protocol="dc-sgd")]
    cost = plans([*fast, *mixed, *slow], 20.0)
    count = len(AWS.machine)
    assert len(cost.plans) == 2 * count
    assert cost.too_slow == count
    assert [(p.nodes, p.in_time, p.trials) for p in cost.plans[:count]] == [(8, 2, 2)] * count
    assert [(p.nodes, p.in_time, p.trials) for p in cost.plans[count:]] == [(4, 1, 2)] * count
    for part in (cost.plans[:count], cost.plans[count:]):
        bills = [plan.billed_usd.median for plan in part]
        assert bills == sorted(bills)
    text = render_markdown(table_1(), cost)
    assert "Plans: 90 % test accuracy within 20 s" in text
    assert f"{count} others are not in time." in text


def test_a_machine_alone_needs_the_examples_that_one_process_did() -> None:
    alone = trial(1, nodes=1, protocol="sequential", parameter_servers=0)
    cost = plans([alone], 60.0, "g5.xlarge=44200", "n1-standard-8+4xk80=22100")
    entered = {plan.machine: plan for plan in cost.plans if plan.examples_per_s}
    examples = 2 * 55_000 + alone.order.warmup_steps * alone.order.batch_size
    assert set(entered) == {"g5.xlarge", "n1-standard-8+4xk80"}
    assert_spread(entered["g5.xlarge"].time_s, [Fraction(examples, 44_200)])
    gpus = entered["n1-standard-8+4xk80"]
    assert_spread(gpus.time_s, [Fraction(examples, 22_100)])
    hour = 8 * Fraction("0.033174") + 30 * Fraction("0.004446") + 4 * Fraction("0.70")
    hour += 20 * Fraction("0.04") / 730
    assert_spread(gpus.usd, [hour * Fraction(examples, 22_100) / 3600])
    assert_spread(gpus.billed_usd, [hour * Fraction(600, 3600)])
    assert "alone: one machine at the throughput" in render_markdown(table_1(), cost)


def test_without_a_trial_of_one_process_a_machine_alone_cannot_be_told() -> None:
    cost = plans([trial(1)], 60.0, "g5.xlarge=1000")
    assert not [plan for plan in cost.plans if plan.examples_per_s]
    assert "Machines that train alone: not told" in render_markdown(table_1(), cost)


@pytest.mark.parametrize(
    ("throughput", "line"),
    [
        ("g5.xlarge=0", "--throughput: expected examples per second above 0"),
        ("g5.xlarge=1.1.1", "--throughput: expected examples per second above 0"),
        ("g5.xlarg=10", "no machine 'g5.xlarg' .*; did you mean g5.xlarge"),
        ("abacus=10", "no machine 'abacus' .*; Table 1 has n1-standard-1\\+1xk80"),
    ],
)
def test_a_throughput_must_be_a_number_of_a_known_machine(throughput: str, line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        plans([trial(1)], 60.0, throughput)


def test_each_setting_of_a_grid_has_a_cost_of_its_own() -> None:
    trials = [trial(1, batch_size=size, varied=("batch_size",)) for size in (100, 500)]
    cost = priced(trials, bases_of_book(AWS))
    found = {one.variation["batch_size"] for one in cost.machines if one.machine == "m5.xlarge"}
    assert found == {100, 500}
    assert "downpour, batch size 100" in render_markdown(table_1(), cost)
    assert ",batch size 500\n" in as_csv(table_1(), cost)
