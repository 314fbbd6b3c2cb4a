"""A closed queueing network simulated with SimPy, to check mean value analysis against."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from dnnbench.analysis.queueing import Network

SEED: Final = 2017
CYCLES: Final = 10_000
"""Of all customers together, after as many that are not counted."""


def exponential(source: random.Random, mean_s: float) -> float:
    """Draw an exponential time."""
    return source.expovariate(1.0 / mean_s) if mean_s else 0.0


def constant(_source: random.Random, mean_s: float) -> float:
    """Return the mean."""
    return mean_s


def simulate(
    network: Network,
    customers: int,
    *,
    times: Callable[[random.Random, float], float],
    delays: Callable[[random.Random, float], float] | None = None,
    shards: int = 1,
) -> float:
    """Return the mean cycle of a customer, from one run with a fixed seed.

    Stations are visited in their order; who comes first is served first. With several shards, a
    customer visits a station of each at once, and goes on when all have served it. The delays are
    of the same kind as the times at stations if no other is given.
    """
    simpy = pytest.importorskip("simpy")  # of the extra `test`
    source = random.Random(SEED)
    environment = simpy.Environment()
    stations = [
        [simpy.Resource(environment, int(station.servers)) for _ in range(shards)]
        for station in network.stations
    ]
    demands_s = [station.demand_s for station in network.stations]
    ended: list[float] = []
    enough = environment.event()

    def visit(resource: Any, demand_s: float) -> Iterator[Any]:
        with resource.request() as turn:
            yield turn
            yield environment.timeout(times(source, demand_s))

    def customer() -> Iterator[Any]:
        while True:
            yield environment.timeout((delays or times)(source, network.delay_s))
            for resources, demand_s in zip(stations, demands_s, strict=True):
                visits = [environment.process(visit(one, demand_s)) for one in resources]
                yield environment.all_of(visits)
            ended.append(environment.now)
            if len(ended) == 2 * CYCLES:
                enough.succeed()

    for _ in range(customers):
        environment.process(customer())
    environment.run(enough)
    return customers * (ended[-1] - ended[CYCLES - 1]) / CYCLES
