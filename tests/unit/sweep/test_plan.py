from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from dnnbench.errors import ConfigError
from dnnbench.settings.schema import Config, ProtocolConfig, SweepConfig, TrainConfig
from dnnbench.settings.setting import Field, fields_of
from dnnbench.sweep.estimate import TimeModel
from dnnbench.sweep.placement import Host, place
from dnnbench.sweep.plan import Plan, make_plan
from dnnbench.trial.models import MODELS
from dnnbench.trial.seeds import repeat_seed, task_seed
from dnnbench.trial.spec import CellKey, DataSpec, ProtocolSpec, grid
from dnnbench.trial.updates import MOST_UPDATES

DATA = DataSpec("mnist", "/srv/mnist", "0" * 64, train_examples=55_000)

OF_THE_DATA = {"dataset", "data_dir", "label_noise"}


def plan_of(config: Config | None = None, **options: Any) -> Plan:
    return make_plan(config or Config(), DATA, "2026-11-22T14-28-41Z", cores=2.0, **options)


def test_every_repeat_is_a_block_with_each_cell_once() -> None:
    orders = plan_of().orders
    cells = set(grid((4, 8, 12), ("downpour", "dc-sgd")))
    blocks = [orders[start : start + 6] for start in range(0, 18, 6)]
    assert len(orders) == 18
    for repeat, block in enumerate(blocks, start=1):
        assert {order.repeat for order in block} == {repeat}
        assert {order.cell for order in block} == cells
    in_order = [[order.cell for order in block] for block in blocks]
    assert len({tuple(block) for block in in_order}) > 1


def test_the_first_round_begins_with_the_smallest_clusters_and_later_ones_do_not() -> None:
    orders = plan_of(Config(sweep=SweepConfig(nodes=(12, 4, 8)))).orders
    rounds = [[o.nodes for o in orders if o.repeat == repeat] for repeat in (1, 2, 3)]
    assert rounds[0] == [4, 4, 8, 8, 12, 12]
    assert sorted(rounds[1]) == sorted(rounds[2]) == rounds[0]
    assert rounds[0] not in rounds[1:]


def test_one_process_is_one_cell_beside_the_others_once_per_repeat() -> None:
    config = Config(sweep=SweepConfig(nodes=(4, 8), protocols=("sequential", "downpour")))
    plan = plan_of(config)
    assert sorted(order.id for order in plan.orders if order.repeat == 1) == [
        "n01-sequential-r01",
        "n04-downpour-r01",
        "n08-downpour-r01",
    ]
    alone = next(order for order in plan.orders if order.nodes == 1)
    assert (alone.parameter_servers, alone.workers) == (0, 1)
    assert plan.placement(alone) == {"worker:0": "localhost"}
    assert {order.seed for order in plan.orders if order.repeat == 1} == {alone.seed}


def test_hosts_need_only_slots_for_the_largest_cell() -> None:
    alone = Config(sweep=SweepConfig(nodes=(4, 8), protocols=("sequential",)))
    assert len(plan_of(alone, hosts=[Host("a", "10.0.0.1", slots=1)]).orders) == 3


def another(field: Field) -> Any:
    """Return a value of a setting that is not its default."""
    if field.choices:
        return next(choice for choice in field.choices if choice != field.default)
    if field.default is None:
        return field.setting.example
    if isinstance(field.default, tuple):
        return (3,)
    return "lenet-5" if field.name == "model" else field.default + 1


@pytest.mark.parametrize(
    "field",
    # Where the data is found settles the other three: `DataSpec`.
    [f for f in fields_of("train", TrainConfig).values() if f.name not in OF_THE_DATA],
    ids=lambda field: field.name,
)
def test_every_setting_of_training_reaches_every_trial(field: Field) -> None:
    changed = Config(train=msgspec.structs.replace(TrainConfig(), **{field.name: another(field)}))
    for before, after in zip(plan_of().orders, plan_of(changed).orders, strict=True):
        assert before.id == after.id
        assert before != after


def test_the_stored_seed_gives_the_same_order_and_another_seed_another() -> None:
    other = Config(sweep=SweepConfig(seed=1))
    assert plan_of() == plan_of()
    assert [order.id for order in plan_of().orders] != [order.id for order in plan_of(other).orders]


def test_seeds_do_not_change_between_versions_and_machines() -> None:
    # Literal on purpose: stored sweeps must be repeatable by later versions.
    assert repeat_seed(2017, 1) == 120363625
    assert plan_of().orders[6].id == "n12-dc-sgd-r02"


def test_all_trials_of_a_repeat_share_its_seed_and_tasks_do_not() -> None:
    seeds: dict[int, set[int]] = {}
    for order in plan_of().orders:
        seeds.setdefault(order.repeat, set()).add(order.seed)
    assert [len(seeds[repeat]) for repeat in (1, 2, 3)] == [1, 1, 1]
    assert len(set.union(*seeds.values())) == 3
    tasks = {task_seed(5, f"worker:{index}") for index in range(11)}
    assert len(tasks) == 11
    assert all(0 <= seed < 2**31 for seed in tasks)


def test_orders_carry_the_settings() -> None:
    config = Config(
        train=TrainConfig(
            batch_size=64,
            l2=0.5,
            dropout=0.25,
            epochs=7,
            epoch="sharded",
            momentum=0.9,
            clip_norm=5.0,
        ),
        sweep=SweepConfig(nodes=(5,), parameter_servers=2, protocols=("dc-sgd",), repeats=1),
    )
    (order,) = plan_of(config).orders
    assert order.id == "n05-dc-sgd-r01"
    assert (order.workers, order.batch_size, order.epochs) == (3, 64, 7)
    assert (order.model.l2, order.model.dropout, order.epoch_definition) == (0.5, 0.25, "sharded")
    assert (order.protocol.compensation, order.protocol.lambda0) == ("adaptive", 2.0)
    assert (order.protocol.momentum, order.protocol.clip_norm) == (0.9, 5.0)
    assert order.data == DATA


def test_each_kind_of_compensation_has_its_own_lambda_in_one_sweep() -> None:
    names = ("downpour", "dc-sgd", "dc-sgd-c", "dc-sgd-a", "staleness-aware")
    config = Config(sweep=SweepConfig(nodes=(4,), protocols=names, repeats=1))
    specs = {order.protocol.name: order.protocol for order in plan_of(config).orders}
    chosen = {name: (spec.compensation, spec.lambda0) for name, spec in specs.items()}
    assert chosen["dc-sgd-c"] == ("constant", 0.04)
    assert chosen["dc-sgd-a"] == chosen["dc-sgd"] == ("adaptive", 2.0)
    assert specs["staleness-aware"] == ProtocolSpec("staleness-aware")

    given = msgspec.structs.replace(config, protocol=ProtocolConfig(lambda0=0.5))
    given_for = {o.protocol.name: o.protocol.lambda0 for o in plan_of(given).orders}
    assert [given_for[name] for name in names[1:4]] == [0.5] * 3


def test_intervals_are_of_the_protocols_that_pull_and_push() -> None:
    config = Config(
        train=TrainConfig(n_fetch=4, n_push=6, local_rate=0.01),
        sweep=SweepConfig(nodes=(4,), protocols=("sequential", "downpour"), repeats=1),
    )
    specs = {order.protocol.name: order for order in plan_of(config).orders}
    downpour, sequential = specs["downpour"], specs["sequential"]
    assert (downpour.protocol.n_fetch, downpour.protocol.n_push) == (4, 6)
    assert downpour.protocol.own_rate == 0.01
    assert (downpour.steps_per_run, downpour.run_steps) == (25, 36)
    assert not sequential.protocol.has_intervals
    assert sequential.run_steps == 25


@pytest.mark.parametrize("n_push", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("steps", range(12))
def test_pushes_carry_every_gradient_and_none_of_them_is_empty(n_push: int, steps: int) -> None:
    at_steps = [step for step in range(steps) if step % n_push == 0]
    left_over = bool(at_steps) and at_steps[-1] < steps - 1
    assert ProtocolSpec(n_push=n_push).pushes(steps) == len(at_steps) + left_over <= steps


def test_a_trial_with_more_updates_than_are_counted_exactly_is_not_planned() -> None:
    def plan(epochs: int) -> Plan:
        train = TrainConfig(batch_size=1, epochs=epochs, warmup_steps=0)
        return plan_of(Config(train=train, sweep=SweepConfig(nodes=(12,), repeats=1)))

    with pytest.raises(ConfigError, match=r"at most 16,777,216 updates in a trial, .*, got 16,9"):
        plan(28)  # x 55,000 steps x 11 workers
    assert plan(27).orders[0].updates(55_000) == 11 * (27 * 55_000 + 25) < MOST_UPDATES
    assert np.float32(MOST_UPDATES - 1) + np.float32(1) == MOST_UPDATES
    assert np.float32(MOST_UPDATES) + np.float32(1) == MOST_UPDATES  # the count would stand still


def test_updates_are_never_more_than_the_bound_that_is_checked() -> None:
    (order,) = plan_of(
        Config(sweep=SweepConfig(nodes=(4,), protocols=("downpour",), repeats=1))
    ).orders
    assert order.updates(55_000) >= 3 * (2 * 550 + 50)
    rare = msgspec.structs.replace(order, protocol=ProtocolSpec(n_push=5))
    assert 3 * (2 * 111 + 11) <= rare.updates(55_000) < order.updates(55_000) / 3
    sharded = msgspec.structs.replace(order, epoch_definition="sharded")
    assert sharded.updates(55_000) >= 2 * 550 + 3 * 50


def test_a_worker_with_all_parameters_counts_the_steps_that_all_take_together() -> None:
    sweep = SweepConfig(nodes=(4,), protocols=("downpour", "all-reduce"), repeats=1)
    servers = {o.protocol.name: o.updates(55_000) for o in plan_of(Config(sweep=sweep)).orders}
    assert servers["downpour"] == 3 * servers["all-reduce"]

    train = TrainConfig(batch_size=1, epochs=400, warmup_steps=0)
    alone = SweepConfig(nodes=(4,), protocols=("all-reduce",), repeats=1)
    with pytest.raises(ConfigError, match=r"at most 16,777,216 updates in a trial"):
        plan_of(Config(train=train, sweep=alone))


def test_a_measured_time_replaces_the_estimate() -> None:
    plan = plan_of(measured_s={CellKey(4, "downpour"): 100.0})
    estimates = plan.estimated_s
    assert estimates["n04-downpour-r01"] == estimates["n04-downpour-r03"] == 100.0
    assert 0 < estimates["n04-dc-sgd-r01"] < estimates["n12-dc-sgd-r01"]


def test_sharded_epochs_and_more_cores_are_estimated_shorter() -> None:
    whole_s = sum(plan_of().estimated_s.values())
    sharded = plan_of(Config(train=TrainConfig(epoch="sharded")))
    assert sum(sharded.estimated_s.values()) < whole_s / 2
    many_cores = make_plan(Config(), DATA, "s", cores=64.0)
    assert sum(many_cores.estimated_s.values()) < whole_s / 2


def test_only_a_model_that_was_measured_is_estimated() -> None:
    measured_s = {CellKey(4, "downpour"): 9.0}
    plan = plan_of(time_model=TimeModel(example_cpu_s={}), measured_s=measured_s)
    assert plan.estimated_s == {f"n04-downpour-r0{repeat}": 9.0 for repeat in (1, 2, 3)}


def test_every_model_of_the_program_is_estimated_by_what_it_computes() -> None:
    whole = [
        sum(plan_of(Config(train=TrainConfig(model=name))).estimated_s.values()) for name in MODELS
    ]
    assert whole == sorted(set(whole))  # the table lists them by size


def test_a_pace_and_an_epoch_cut_short_are_estimated() -> None:
    whole = plan_of().estimated_s["n04-downpour-r01"]
    cut = plan_of(Config(train=TrainConfig(epoch_steps=55))).estimated_s["n04-downpour-r01"]
    assert cut < whole / 2
    paced = plan_of(Config(train=TrainConfig(pace_ms=80.0))).estimated_s["n04-downpour-r01"]
    assert paced > (2 * 550 + 50) * 0.080


def test_tasks_fill_hosts_in_order() -> None:
    hosts = [Host("a", "10.0.0.1", slots=2), Host("b", "10.0.0.2", slots=3)]
    assert place(4, 1, hosts) == {"ps:0": "a", "worker:0": "a", "worker:1": "b", "worker:2": "b"}
    assert set(plan_of().placement(plan_of().orders[0]).values()) == {"localhost"}


def test_too_few_slots_are_refused_when_planning() -> None:
    with pytest.raises(ConfigError, match="12 nodes need 12 slots, but the hosts have 2"):
        plan_of(hosts=[Host("a", "10.0.0.1", slots=2)])


def test_a_plan_survives_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(plan_of()), type=Plan) == plan_of()


@pytest.mark.parametrize(
    ("train", "nodes", "most"),
    [
        (TrainConfig(epoch="sharded"), (4, 12), 5_000),
        (TrainConfig(epoch="sharded"), (4,), 18_333),
        (TrainConfig(), (4, 12), 55_000),
    ],
)
def test_a_batch_larger_than_the_examples_of_a_worker_is_refused(
    train: TrainConfig, nodes: tuple[int, ...], most: int
) -> None:
    def plan(batch_size: int) -> Plan:
        changed = msgspec.structs.replace(train, batch_size=batch_size)
        config = Config(train=changed, sweep=SweepConfig(nodes=nodes))
        return plan_of(config)

    assert plan(most).orders[0].batch_size == most
    with pytest.raises(ConfigError) as error:
        plan(most + 1)
    assert f"expected at most {most:,}, the examples of a worker" in error.value.problem
    assert error.value.where == "[train] batch_size"
