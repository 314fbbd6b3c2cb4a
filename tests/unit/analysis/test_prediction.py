"""Predictions from sweeps with known figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from support.factories import make_context, make_hosts, make_order, make_outcome, spread

from dnnbench.analysis.analyse import analyse
from dnnbench.analysis.inputs import Figure, Given, Inputs, read_inputs, reason_not_predicted
from dnnbench.analysis.prediction import (
    CPU,
    LINK_IN,
    MOST_CORES,
    VARIATION,
    WORKER,
    Hosts,
    Prediction,
    demands_of,
    predict,
    worker_own_time,
)
from dnnbench.analysis.published import TABLE_2_GROWTH_PERCENT
from dnnbench.analysis.queueing import solve
from dnnbench.analysis.worthwhile import (
    least_workers,
    one_core,
    published_fits,
    thresholds,
)
from dnnbench.errors import ResultsError
from dnnbench.trial.protocols import PROTOCOLS
from dnnbench.trial.spec import ProtocolSpec

if TYPE_CHECKING:
    from dnnbench.trial.outcome import TrialOutcome

PARAMETERS = 55_050
WORKER_S, SERVER_S = 20e-6 * 100, 5e-6 * 100  # of the factory's outcomes, batches of 100
STEPS = 550
AS_MEASURED = Given()
ON_HOSTS: dict[str, Any] = {"host_cores": 48, "hosts": make_hosts(12)}


def assumed(value: float) -> Figure:
    return Figure(value, "assumed", "a test")


def hosts(**changes: float) -> Hosts:
    """Return hosts with one core on a network without any delay; ``changes`` replace figures."""
    figures = {
        "cores": 1.0,
        "bandwidth_bit_per_s": 1e15,
        "round_trip_s": 0.0,
        "parameter_s": 1.6e-9,
    }
    return Hosts(**{name: assumed(value) for name, value in (figures | changes).items()})


def trials(
    nodes: int = 4, protocol: str | ProtocolSpec = "downpour", **changes: Any
) -> list[TrialOutcome]:
    order = make_order(nodes, protocol, **changes)
    return [make_outcome(order, parameters=PARAMETERS, placement=spread(order))]


def inputs_of(outcomes: list[TrialOutcome], given: Given = AS_MEASURED, **context: Any) -> Inputs:
    analysis = analyse(outcomes, make_context(**context))
    return read_inputs(analysis, outcomes, given)


def rows_of(prediction: Prediction) -> dict[tuple[str, int, int], Any]:
    return {(row.protocol, row.nodes, row.servers): row for row in prediction.rows}


# --- inputs --------------------------------------------------------------------------------------


def test_roles_that_share_cores_give_their_cpu_time() -> None:
    (costs,) = inputs_of(trials()).costs
    assert costs.step_s is None
    assert costs.worker_cpu_s.value == pytest.approx(WORKER_S)
    assert costs.server_cpu_s.value == pytest.approx(SERVER_S)
    assert worker_own_time(costs, inputs_of(trials()).workload, hosts()) is costs.worker_cpu_s


def test_roles_with_cores_of_their_own_give_their_wall_time() -> None:
    inputs = inputs_of(trials(4) + trials(8), **ON_HOSTS)
    (costs,) = inputs.costs
    assert costs.nodes == 4
    assert costs.on_network
    assert costs.step_s
    assert costs.step_s.value == pytest.approx(3.5 / STEPS)
    assert costs.epoch_s_by_nodes == pytest.approx({4: 3.5, 8: 3.5})


@pytest.mark.parametrize("network", [{}, {"bandwidth_bit_per_s": 1e10, "round_trip_s": 2e-4}])
def test_the_own_time_reproduces_the_measured_step_on_the_same_network(
    network: dict[str, float],
) -> None:
    inputs = inputs_of(trials(), **ON_HOSTS)
    row = rows_of(predict(inputs, hosts(**network), [4], [1]))["downpour", 4, 1]
    assert row.epoch_s == pytest.approx(3.5)
    assert row.measured_epoch_s == pytest.approx(3.5)


def test_a_network_that_is_slower_than_the_measured_step_is_not_believed_to_be_the_sweeps() -> None:
    inputs = inputs_of(trials(), **ON_HOSTS)
    (costs,) = inputs.costs
    own = worker_own_time(costs, inputs.workload, hosts(bandwidth_bit_per_s=1e6))
    assert own is costs.worker_cpu_s


def test_staleness_comes_from_the_first_cell_with_other_workers() -> None:
    outcomes = trials(2) + trials(4)
    (costs,) = inputs_of(outcomes, **ON_HOSTS).costs
    assert costs.nodes == 2
    assert costs.staleness_share
    assert costs.staleness_share.value == pytest.approx(outcomes[1].epochs[0].staleness.mean / 2)
    (alone,) = inputs_of(trials(2)).costs
    assert alone.staleness_share is None


def test_what_the_user_gives_replaces_what_was_measured() -> None:
    given = Given(parameters=7, worker_s=0.1, server_s=0.2, one_process_s=0.3)
    inputs = inputs_of(trials(), given, **ON_HOSTS)
    (costs,) = inputs.costs
    workload = inputs.workload
    assert costs.step_s is None
    figures = [workload.parameters, costs.worker_cpu_s, costs.server_cpu_s, workload.one_process_s]
    assert [(f.value, f.origin) for f in figures if f] == [
        (7, "given"),
        (0.1, "given"),
        (0.2, "given"),
        (0.3, "given"),
    ]


def test_paced_roles_that_leave_the_cores_idle_give_their_wall_time() -> None:
    order = make_order(4, pace_ms=6.0)
    idle = make_outcome(order, 14.0, parameters=PARAMETERS)
    (costs,) = inputs_of([idle]).costs
    assert costs.step_s
    assert costs.step_s.value == pytest.approx(14.0 / STEPS)
    assert costs.epoch_s_by_nodes == pytest.approx({4: 14.0})
    busy = make_outcome(order, 1.0, parameters=PARAMETERS)
    with pytest.raises(ResultsError, match="more than half of the cores"):
        inputs_of([busy])


def test_epochs_that_are_cut_short_are_predicted_whole() -> None:
    order = make_order(4, epoch_steps=55)
    order = msgspec.structs.replace(
        order, data=msgspec.structs.replace(order.data, train_examples=55_000)
    )
    whole = make_outcome(order)
    short = [msgspec.structs.replace(r, steps=55, examples=5500) for r in whole.epochs]
    outcome = msgspec.structs.replace(whole, epochs=short, parameters=PARAMETERS)
    assert inputs_of([outcome]).workload.epoch_examples == 55_000


def test_cpu_time_is_not_taken_for_that_of_a_gpu() -> None:
    outcomes = trials(device="gpu")
    assert inputs_of(outcomes, **ON_HOSTS).costs
    assert inputs_of(outcomes, Given(worker_s=1e-3)).costs
    with pytest.raises(ResultsError, match="CPU time is not that of the GPU"):
        inputs_of(outcomes)


def test_a_sweep_that_varies_a_setting_is_refused() -> None:
    outcomes = [
        trial
        for size in (100, 200)
        for trial in trials(batch_size=size, varied=("batch_size",), id=f"batch {size}")
    ]
    with pytest.raises(
        ResultsError, match="several values of batch_size, of which a prediction needs one"
    ):
        inputs_of(outcomes)


def test_the_number_of_parameters_is_never_guessed() -> None:
    outcomes = [msgspec.structs.replace(o, parameters=None) for o in trials()]
    with pytest.raises(ResultsError, match="number of the model's parameters"):
        inputs_of(outcomes)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_is_predicted_if_its_workers_wait_for_parameter_servers_alone(
    name: str,
) -> None:
    protocol = PROTOCOLS[name]
    covered = protocol.needs_parameter_server and not protocol.synchronous
    assert (reason_not_predicted(protocol) is None) == covered


def test_protocols_that_are_not_covered_have_a_reason() -> None:
    one = make_order(1, ProtocolSpec("sequential"), parameter_servers=0)
    alone = make_outcome(one, 0.55, parameters=PARAMETERS)
    context: dict[str, Any] = {
        "planned_protocols": ["downpour", "sync", "sequential"],
        "planned_nodes": [4],
    }
    inputs = inputs_of([*trials(), *trials(4, "sync"), alone], **context)
    assert inputs.not_predicted.keys() == {"sync", "sequential"}
    assert inputs.workload.one_process_s
    assert inputs.workload.one_process_s.value == pytest.approx(1e-3)
    with pytest.raises(ResultsError, match="sync: its workers wait for each other"):
        inputs_of(trials(4, "sync"), planned_protocols=["sync"], planned_nodes=[4])


# --- the model -----------------------------------------------------------------------------------


def test_a_step_alone_is_the_sum_of_its_parts() -> None:
    network = hosts(bandwidth_bit_per_s=1e9, round_trip_s=1e-3)
    for servers in (1, 2, 4):
        (row,) = predict(inputs_of(trials()), network, [servers + 1], [servers]).rows
        message_s = SERVER_S - 1.6e-9 * PARAMETERS
        server_s = message_s + 1.6e-9 * PARAMETERS / servers
        worker_s = WORKER_S + (servers - 1) * message_s
        link_s = 2 * 32 * PARAMETERS * 1538 / 1448 / 1e9
        latency_s = 1e-3 * (1 + 1 / 25)
        assert row.step_s == pytest.approx(worker_s + server_s + link_s + latency_s)


def test_utilization_staleness_and_throughput_follow_from_the_step() -> None:
    outcomes = trials()
    prediction = predict(inputs_of(outcomes), hosts(), [4, 12, 1000], [1])
    for row in prediction.rows:
        per_s = row.workers / row.step_s
        assert row.cpu_utilization == pytest.approx(per_s * SERVER_S)
        assert row.examples_per_s == pytest.approx(100 * per_s)
        assert row.epoch_s == pytest.approx(STEPS * row.step_s)
        assert row.shortest_epoch_s <= row.epoch_s <= row.longest_epoch_s
    counts = outcomes[0].epochs[0].staleness
    assert [row.staleness for row in prediction.rows] == pytest.approx(
        [counts.mean / 2 * others for others in (2, 10, 998)]
    )
    assert [row.bound_by for row in prediction.rows] == [WORKER, CPU, CPU]


def test_the_link_bounds_what_the_cpu_does_not() -> None:
    prediction = predict(inputs_of(trials()), hosts(bandwidth_bit_per_s=1e8), [12], [1])
    assert prediction.rows[0].bound_by == LINK_IN
    by_change = {found.change: found for found in prediction.saturation}
    assert by_change[""].resource == LINK_IN
    assert by_change["10 x bandwidth"].updates_per_s == pytest.approx(
        10 * by_change[""].updates_per_s
    )


def test_intervals_leave_the_links_and_the_network_to_others_meanwhile() -> None:
    network = hosts(bandwidth_bit_per_s=1e9, round_trip_s=1e-3)
    every, seldom = (
        predict(inputs_of(trials(4, ProtocolSpec(n_fetch=n, n_push=n))), network, [2], [1])
        for n in (1, 4)
    )
    link_s = 32 * PARAMETERS * 1538 / 1448 / 1e9
    saved_s = every.rows[0].step_s - seldom.rows[0].step_s
    assert saved_s == pytest.approx(0.75 * (2 * link_s + 1e-3))
    pulls = predict(inputs_of(trials(4, ProtocolSpec(n_push=4))), network, [50], [1]).rows[0]
    assert pulls.link_utilization == pytest.approx(1.0, abs=0.01)
    assert pulls.step_s == pytest.approx(49 * link_s, rel=0.01)


def test_more_cores_move_the_saturation_up_to_what_a_shard_can_use() -> None:
    per_s = {}
    for cores in (1, 2, MOST_CORES, 64):
        prediction = predict(inputs_of(trials()), hosts(cores=cores), [12], [1])
        per_s[cores] = prediction.saturation[0].updates_per_s
    assert per_s[2] == pytest.approx(2 * per_s[1])
    assert per_s[64] == pytest.approx(per_s[MOST_CORES]) == pytest.approx(4 * per_s[1])


def test_sharded_epochs_shrink_with_the_workers() -> None:
    inputs = inputs_of(trials(epoch_definition="sharded"))
    assert inputs.workload.epoch_examples == 3 * 55_000
    prediction = predict(inputs, hosts(), [4, 34, 2000], [1])
    assert [row.epoch_s / row.step_s for row in prediction.rows] == pytest.approx([550, 50])
    assert prediction.skipped == [
        "2000 nodes: a worker's share of the examples is less than a batch"
    ]


def test_a_combination_without_a_worker_is_named() -> None:
    prediction = predict(inputs_of(trials()), hosts(), [2, 4], [2])
    assert prediction.skipped == ["2 nodes with 2 parameter servers: no worker is left"]


def test_vector_work_of_a_protocol_is_shared_among_shards() -> None:
    dear = make_order(4, "dc-sgd")
    twice = make_outcome(
        dear, parameters=PARAMETERS, parameter_server_cpu_s=2 * SERVER_S * STEPS * 6
    )
    inputs = inputs_of([*trials(), twice])
    downpour, dc_sgd = (demands_of(c, inputs.workload, hosts(), 0.0) for c in inputs.costs)
    assert dc_sgd.message_s == pytest.approx(downpour.message_s)
    assert dc_sgd.parameter_s - downpour.parameter_s == pytest.approx(SERVER_S / PARAMETERS)


@pytest.mark.parametrize("definition", ["replicated", "sharded"])
def test_a_pass_costs_all_hosts_for_its_time(definition: str) -> None:
    inputs = inputs_of(trials(epoch_definition=definition))
    priced = msgspec.structs.replace(hosts(), usd_per_hour=assumed(0.5))
    (row,) = predict(inputs, priced, [4], [1]).rows
    passes = 3 if definition == "replicated" else 1
    assert row.usd_per_pass == pytest.approx(4 * 0.5 * row.epoch_s / 3600 / passes)


# --- limits --------------------------------------------------------------------------------------


def test_distribution_pays_where_a_step_of_one_process_is_longer_than_the_bottleneck() -> None:
    for one_s in (SERVER_S * 0.99, SERVER_S * 1.01):
        inputs = inputs_of(trials(), Given(one_process_s=one_s))
        (limit,) = thresholds(predict(inputs, hosts(), [12], [1]), [1])
        assert limit.arithmetic_s == pytest.approx(SERVER_S)
        assert (limit.workers is not None) == (one_s > SERVER_S)


@pytest.mark.parametrize("servers", [1, 4])
def test_the_limits_of_the_parameters_are_where_it_begins_or_ends_to_pay(servers: int) -> None:
    one_s = 1.2e-3
    inputs = inputs_of(trials(), Given(one_process_s=one_s))
    network = hosts(bandwidth_bit_per_s=1e10)
    prediction = predict(inputs, network, [12], [servers])
    (limit,) = thresholds(prediction, [servers])
    (costs,) = inputs.costs
    demands = demands_of(costs, inputs.workload, network, WORKER_S)

    def bottleneck_s(parameters: float) -> float:
        return demands._replace(parameters=parameters).network(servers).bottleneck.bottleneck_s

    assert limit.most_parameters
    assert bottleneck_s(limit.most_parameters) == pytest.approx(one_s)
    assert limit.least_parameters
    grown_s = one_s * limit.least_parameters / PARAMETERS
    assert bottleneck_s(limit.least_parameters) == pytest.approx(grown_s)


def test_no_size_pays_where_a_parameter_costs_more_on_the_link_than_in_arithmetic() -> None:
    inputs = inputs_of(trials(), Given(one_process_s=1e-3))
    prediction = predict(inputs, hosts(bandwidth_bit_per_s=1e8), [12], [1])
    (limit,) = thresholds(prediction, [1])
    assert limit.least_parameters is None
    assert limit.workers is None
    assert limit.most_parameters


def test_the_fewest_workers_are_faster_and_one_less_is_not() -> None:
    network = one_core(1e-3, 10e-3, 1)
    least = least_workers(network, 1.2e-3)
    assert least
    found = solve(network, [least - 1, least], variation=VARIATION)
    assert found[least].throughput_per_s > 1 / 1.2e-3 >= found[least - 1].throughput_per_s
    assert least_workers(network, 1e-3) is None


def test_the_implied_time_of_the_server_grows_as_published() -> None:
    inputs = inputs_of([*trials(), *trials(4, "dc-sgd")])
    fits = published_fits(predict(inputs, hosts(), [4], [1]))
    assert [fit.protocol for fit in fits] == list(TABLE_2_GROWTH_PERCENT)
    for fit in fits:
        network = one_core(fit.implied_server_s, fit.step_s, 3)
        found = solve(network, [3, 11], variation=VARIATION)
        assert found[3].cycle_s == pytest.approx(fit.step_s)
        growth = 100 * (found[11].cycle_s / found[3].cycle_s - 1)
        assert growth == pytest.approx(fit.growth_percent, rel=1e-6)
    assert fits[0].step_s == pytest.approx(6.4e-3)


def test_at_a_third_of_the_published_step_three_or_four_workers_fill_a_core() -> None:
    """With 0.65 ms of CPU per update, as measured on current hosts."""
    inputs = inputs_of(trials(), Given(server_s=0.65e-3))
    (fit,) = published_fits(predict(inputs, hosts(), [4], [1]))
    assert 3.0 < fit.shorter_saturation < 4.0
    network = one_core(0.65e-3, fit.shorter_step_s, 1)
    found = solve(network, [2, 4, 11])
    assert found[2].utilization[CPU] < 0.65
    assert found[4].utilization[CPU] > 0.85
    assert found[11].cycle_s > 3 * fit.shorter_step_s
