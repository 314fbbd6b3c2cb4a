"""Mean value analysis against closed forms, conservation laws and a simulation."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.simulation import constant, exponential, simulate

from dnnbench.analysis.queueing import (
    CONSTANT,
    EXPONENTIAL,
    MOST_CUSTOMERS,
    Network,
    Station,
    shortest_cycle_s,
    solve,
)

TIMES_S = st.floats(0.1, 10.0)
STATIONS = st.builds(Station, st.uuids().map(str), TIMES_S, st.just(1.0))
NETWORKS = st.builds(
    Network, st.floats(0.0, 10.0), st.lists(STATIONS, min_size=1, max_size=4).map(tuple)
)


def repairman_utilization(think_s: float, demand_s: float, customers: int, servers: int) -> float:
    """Return the share of M/M/c//N's servers that are busy, from its birth-death chain."""
    weights = [1.0]
    for present in range(1, customers + 1):
        birth_per_s = (customers - present + 1) / think_s
        death_per_s = min(present, servers) / demand_s
        weights.append(weights[-1] * birth_per_s / death_per_s)
    busy = sum(min(n, servers) * weight for n, weight in enumerate(weights))
    return busy / servers / sum(weights)


@pytest.mark.parametrize("customers", [1, 2, 3, 11, 40])
@pytest.mark.parametrize("think_s", [0.5, 3.0, 30.0])
def test_one_station_is_the_machine_repairman(think_s: float, customers: int) -> None:
    network = Network(think_s, (Station("cpu", 1.0),))
    state = solve(network, [customers])[customers]
    expected = repairman_utilization(think_s, 1.0, customers, servers=1)
    assert state.utilization["cpu"] == pytest.approx(expected, rel=1e-12)
    assert state.throughput_per_s == pytest.approx(expected, rel=1e-12)


def test_equal_stations_without_a_delay_share_the_customers() -> None:
    """Buzen's balanced network: N customers at K equal stations leave each at N/(N + K - 1)."""
    stations = tuple(Station(str(k), 2.0) for k in range(5))
    state = solve(Network(0.0, stations), [7])[7]
    assert state.throughput_per_s == pytest.approx(7 / (7 + 5 - 1) / 2.0)


@pytest.mark.parametrize("servers", [2, 4])
@pytest.mark.parametrize("think_s", [2.0, 10.0, 30.0])
@pytest.mark.parametrize("customers", [1, 2, 5, 10, 20, 100])
def test_several_servers_are_close_to_the_exact_repairmen(
    customers: int, think_s: float, servers: int
) -> None:
    network = Network(think_s, (Station("cpu", 1.0, servers),))
    exact = repairman_utilization(think_s, 1.0, customers, servers)
    found = solve(network, [customers])[customers].utilization["cpu"]
    assert found == pytest.approx(exact, rel=0.12)
    if customers == 1:
        assert found == pytest.approx(exact, rel=1e-12)


@given(NETWORKS, st.integers(1, 60), st.floats(CONSTANT, EXPONENTIAL))
def test_what_goes_in_comes_out_and_no_bound_is_broken(
    network: Network, customers: int, variation: float
) -> None:
    state = solve(network, [customers], variation=variation)[customers]
    waiting_s = sum(state.waiting_s.values())
    assert state.cycle_s == pytest.approx(network.alone_s + waiting_s)
    # Little's law: customers thinking, waiting and served are all there are.
    assert state.throughput_per_s * state.cycle_s == pytest.approx(customers)
    for station in network.stations:
        used = state.throughput_per_s * station.demand_s
        assert state.utilization[station.name] == pytest.approx(used)
        assert state.utilization[station.name] <= 1.0 + 1e-9
    slack = 1.0 + 1e-9
    assert shortest_cycle_s(network, customers) <= state.cycle_s * slack
    # The upper asymptotic bound: each waits for all others everywhere.
    queued_s = sum(station.bottleneck_s for station in network.stations)
    assert state.cycle_s <= (network.alone_s + (customers - 1) * queued_s) * slack


@given(NETWORKS)
def test_a_further_customer_never_lowers_throughput_nor_shortens_the_cycle(
    network: Network,
) -> None:
    found = solve(network, range(1, 30))
    for number in range(1, 29):
        assert found[number + 1].throughput_per_s >= found[number].throughput_per_s * (1 - 1e-12)
        assert found[number + 1].cycle_s >= found[number].cycle_s * (1 - 1e-12)


@settings(max_examples=20)
@given(NETWORKS)
def test_many_customers_use_all_of_the_bottleneck(network: Network) -> None:
    many = math.ceil(10 * network.saturation) + 500
    state = solve(network, [many])[many]
    assert state.utilization[network.bottleneck.name] > 0.99


def test_saturation_is_where_both_bounds_meet() -> None:
    network = Network(4.0, (Station("cpu", 1.0), Station("link", 2.0, 4.0)))
    assert network.bottleneck.name == "cpu"
    assert network.saturation == pytest.approx(7.0)
    assert shortest_cycle_s(network, 7) == pytest.approx(network.alone_s)
    assert shortest_cycle_s(network, 8) == pytest.approx(8.0)


@pytest.mark.parametrize("customers", [3, 11])
def test_a_simulation_of_exponential_times_agrees(customers: int) -> None:
    network = Network(6.0, (Station("in", 0.5), Station("cpu", 1.0), Station("out", 0.5)))
    simulated_s = simulate(network, customers, times=exponential)
    assert solve(network, [customers])[customers].cycle_s == pytest.approx(simulated_s, rel=0.03)


@pytest.mark.parametrize("customers", [1, 3, 7, 11, 30])
@pytest.mark.parametrize("demand_s", [0.2, 1.0])
def test_a_simulation_of_constant_times_agrees(demand_s: float, customers: int) -> None:
    """The delay varies, so that customers arrive at any moment.

    The approximation does not know that a station at constant times spaces those behind it.
    """
    network = Network(6.0, (Station("in", demand_s), Station("cpu", 1.0)))
    simulated_s = simulate(network, customers, times=constant, delays=exponential)
    found = solve(network, [customers], variation=CONSTANT)[customers]
    assert found.cycle_s == pytest.approx(simulated_s, rel=0.08)


@pytest.mark.parametrize("customers", [3, 7, 11])
def test_constant_times_come_to_the_lower_bound(customers: int) -> None:
    network = Network(6.0, (Station("cpu", 1.0),))
    simulated_s = simulate(network, customers, times=constant)
    assert simulated_s == pytest.approx(shortest_cycle_s(network, customers), rel=0.01)


@pytest.mark.parametrize("customers", [3, 7, 11])
def test_equal_shards_of_constant_times_behave_as_one(customers: int) -> None:
    network = Network(6.0, (Station("cpu", 1.0),))
    one_s, four_s = (
        simulate(network, customers, times=constant, shards=number) for number in (1, 4)
    )
    assert four_s == pytest.approx(one_s, rel=0.01)


@pytest.mark.parametrize("customers", [3, 7, 11])
def test_shards_of_exponential_times_take_longer_by_less_than_the_slowest_of_four(
    customers: int,
) -> None:
    """The slowest of four takes H(4) = 25/12 times the mean; queues only dilute that."""
    network = Network(6.0, (Station("cpu", 1.0),))
    found_s = solve(network, [customers])[customers].cycle_s
    simulated_s = simulate(network, customers, times=exponential, shards=4)
    assert found_s < simulated_s < found_s + (25 / 12 - 1) * (found_s - network.delay_s) * 1.03


@pytest.mark.parametrize(
    ("network", "populations"),
    [
        (Network(1.0, (Station("cpu", 1.0),)), []),
        (Network(1.0, (Station("cpu", 1.0),)), [0]),
        (Network(1.0, (Station("cpu", 1.0),)), [MOST_CUSTOMERS + 1]),
        (Network(0.0, (Station("cpu", 0.0),)), [1]),
        (Network(1.0, (Station("cpu", -1.0),)), [1]),
    ],
)
def test_what_has_no_steady_state_is_refused(network: Network, populations: list[int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        solve(network, populations)
