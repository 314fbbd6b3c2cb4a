from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dnnbench.errors import ConfigError
from dnnbench.settings.schema import Config, SweepConfig, TrainConfig
from dnnbench.sweep.placement import Host, place
from dnnbench.sweep.plan import Plan, make_plan
from dnnbench.trial.seeds import repeat_seed, task_seed
from dnnbench.trial.spec import CellKey, DataSpec, grid

DATA = DataSpec("mnist", "/srv/mnist", "0" * 64)


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


def test_the_stored_seed_gives_the_same_order_and_another_seed_another() -> None:
    other = Config(sweep=SweepConfig(seed=1))
    assert plan_of() == plan_of()
    assert [order.id for order in plan_of().orders] != [order.id for order in plan_of(other).orders]


def test_seeds_do_not_change_between_versions_and_machines() -> None:
    # Literal on purpose: stored sweeps must be repeatable by later versions.
    assert repeat_seed(2017, 1) == 120363625
    assert plan_of().orders[0].id == "n08-downpour-r01"


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
        train=TrainConfig(batch_size=64, l2=0.5, dropout=0.25, epochs=7, epoch="sharded"),
        sweep=SweepConfig(nodes=(5,), parameter_servers=2, protocols=("dc-sgd",), repeats=1),
    )
    (order,) = plan_of(config).orders
    assert order.id == "n05-dc-sgd-r01"
    assert (order.workers, order.batch_size, order.epochs) == (3, 64, 7)
    assert (order.model.l2, order.model.dropout, order.epoch_definition) == (0.5, 0.25, "sharded")
    assert (order.protocol.compensation, order.protocol.lambda0) == ("adaptive", 2.0)
    assert order.data == DATA


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


def test_tasks_fill_hosts_in_order() -> None:
    hosts = [Host("a", "10.0.0.1", slots=2), Host("b", "10.0.0.2", slots=3)]
    assert place(4, 1, hosts) == {"ps:0": "a", "worker:0": "a", "worker:1": "b", "worker:2": "b"}
    assert set(plan_of().placement(plan_of().orders[0]).values()) == {"localhost"}


def test_too_few_slots_are_refused_when_planning() -> None:
    with pytest.raises(ConfigError, match="12 nodes need 12 slots, the hosts have 2"):
        plan_of(hosts=[Host("a", "10.0.0.1", slots=2)])


def test_a_plan_survives_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(plan_of()), type=Plan) == plan_of()
