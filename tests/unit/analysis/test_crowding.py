from __future__ import annotations

import msgspec
import pytest
from support.factories import make_failed, make_hosts, make_order, make_outcome, make_ready, spread

from dnnbench.analysis.crowding import (
    MachineGroup,
    Placement,
    host_facts,
    machine_groups,
    placements,
    roles_per_core,
    total_cores,
)
from dnnbench.trial.machine import snapshot


def test_hosts_of_one_kernel_share_a_machine_and_others_do_not() -> None:
    here = snapshot()
    assert here.boot_id
    unknown = make_ready().machine
    facts = host_facts({"a": here, "b": here, "c": unknown, "d": unknown})
    assert [facts[host].machine for host in "abcd"] == ["a", "a", "c", "d"]
    assert facts["c"].cpu_model == unknown.cpu_model


def test_cores_of_a_shared_machine_count_once() -> None:
    facts = make_hosts(12, cores=2.0, machine="node1", machine_cores=2)
    assert total_cores(facts) == 2
    assert machine_groups(facts) == [MachineGroup(1, "a processor", 2)]
    tasks = spread(make_order(12))
    assert roles_per_core(tasks, facts) == 6
    quotas = make_hosts(4, cores=0.5, machine="node1", machine_cores=4)
    assert total_cores(quotas) == 2


def test_the_fullest_host_says_how_many_roles_share_a_core() -> None:
    facts = make_hosts(3, cores=2.0)
    tasks = {"ps:0": "node1", "worker:0": "node2", "worker:1": "node2", "worker:2": "node2"}
    assert roles_per_core(tasks, facts) == 1.5
    small = msgspec.structs.replace(facts["node1"], cores=0.5)
    assert roles_per_core(tasks, {**facts, "node1": small}) == 2


def test_machines_that_are_alike_are_counted() -> None:
    facts = make_hosts(12)
    for n in range(5, 13):
        facts[f"node{n}"] = msgspec.structs.replace(facts[f"node{n}"], cpu_model="another")
    assert machine_groups(facts) == [
        MachineGroup(4, "a processor", 4),
        MachineGroup(8, "another", 4),
    ]


@pytest.mark.parametrize("usual", [1, 2])
def test_placements_are_those_of_good_trials_the_usual_one_first(usual: int) -> None:
    orders = [make_order(2, repeat=repeat) for repeat in (1, 2, 3)]
    elsewhere = {"ps:0": "node2", "worker:0": "node3"}
    outcomes = [
        make_outcome(order, placement=spread(order) if order.repeat <= usual else elsewhere)
        for order in orders
    ]
    failed = make_failed(make_order(4), placement=spread(make_order(4)))
    found = placements([failed, *outcomes])
    first = Placement(2, spread(orders[0]), [f"n02-downpour-r{n}" for n in range(1, usual + 1)])
    assert found[usual == 1] == first
    assert found[usual != 1].tasks == elsewhere
    assert len(found) == 2
