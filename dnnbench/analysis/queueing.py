"""Closed queueing networks: mean value analysis, asymptotic bounds and saturation.

Customers circulate between a delay, where none waits for another, and stations with queues. Mean
value analysis (Reiser and Lavenberg, J. ACM 27(2), 1980) is exact for product-form networks: with
exponential times where the first come is served first, with any times where all who are there share
a station (Baskett, Chandy, Muntz and Palacios, J. ACM 22(2), 1975).

Two approximations: less variable times, by the residual service that an arriving customer finds
(Reiser, IEEE Trans. Communications 27(8), 1979), and stations with several servers, as one fast
server and a delay (Seidmann, Schweitzer and Shalev-Oren, Large Scale Systems 12, 1987), which is
exact for one customer and in the limit of many. Asymptotic bounds: Denning and Buzen, ACM Computing
Surveys 10(3), 1978.

Own code, because the recursion is shorter than a call of any library that has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

MOST_CUSTOMERS: Final = 10_000
"""The recursion takes one step per customer."""
EXPONENTIAL: Final = 1.0
CONSTANT: Final = 0.0
"""Squared coefficients of variation of exponential and of constant times."""


class Station(NamedTuple):
    """A resource with a queue.

    Attributes:
        demand_s: that a customer needs of it per cycle, alone, over all visits.
        servers: customers that it can serve at once.
    """

    name: str
    demand_s: float
    servers: float = 1.0

    @property
    def bottleneck_s(self) -> float:
        """The shortest time between two customers that leave it; its inverse is its capacity."""
        return self.demand_s / self.servers


class Network(NamedTuple):
    """A closed network.

    Attributes:
        delay_s: per cycle, in which a customer waits for no other: think time.
        stations: at least one time of the network is above zero.
    """

    delay_s: float
    stations: tuple[Station, ...]

    @property
    def alone_s(self) -> float:
        """The cycle of a single customer."""
        return self.delay_s + sum(station.demand_s for station in self.stations)

    @property
    def bottleneck(self) -> Station:
        """The station that saturates first: the one with the least capacity."""
        return max(self.stations, key=lambda station: station.bottleneck_s)

    @property
    def saturation(self) -> float:
        """Customers from which the bottleneck limits the throughput; infinite if none does.

        There both asymptotic bounds meet: with fewer, a cycle is mostly that of a single customer;
        with more, customers mostly wait.
        """
        shortest_s = self.bottleneck.bottleneck_s
        return self.alone_s / shortest_s if shortest_s else float("inf")


class Solution(NamedTuple):
    """The steady state of a network with a number of customers.

    Attributes:
        cycle_s: mean time between two starts of one customer.
        utilization: station -> share of its capacity in use, 0 to 1.
        waiting_s: station -> time per cycle spent waiting there, service excluded.
    """

    customers: int
    cycle_s: float
    utilization: dict[str, float]
    waiting_s: dict[str, float]

    @property
    def throughput_per_s(self) -> float:
        """Cycles of all customers per second."""
        return self.customers / self.cycle_s


def solve(
    network: Network, populations: Collection[int], *, variation: float = EXPONENTIAL
) -> dict[int, Solution]:
    """Return the steady state for each number of customers.

    Args:
        network: of stations.
        populations: numbers of customers.
        variation: squared coefficient of variation of the times at the stations.

    Raises:
        ValueError: a number is below 1 or above `MOST_CUSTOMERS`, a time is negative, or none is
            above zero.
    """
    _check(network, populations)
    stations = network.stations
    shortest_s = [station.bottleneck_s for station in stations]
    busiest = shortest_s.index(max(shortest_s))
    delay_s = network.delay_s + sum(s.demand_s - s.bottleneck_s for s in stations)
    present = used = [0.0] * len(stations)
    found = {}
    for customers in range(1, max(populations) + 1):
        # An arriving customer finds what would be there without it, one of them partly served.
        residence_s = [
            s * (1.0 + n - u * (1.0 - variation) / 2.0)
            for s, n, u in zip(shortest_s, present, used, strict=True)
        ]
        cycle_s = delay_s + sum(residence_s)
        if (least_s := customers * shortest_s[busiest]) > cycle_s:  # by the approximation alone
            residence_s[busiest] += least_s - cycle_s
            cycle_s = least_s
        per_s = customers / cycle_s
        present = [per_s * s for s in residence_s]
        used = [per_s * s for s in shortest_s]
        if customers in populations:
            names = [station.name for station in stations]
            waiting_s = [r - s for r, s in zip(residence_s, shortest_s, strict=True)]
            found[customers] = Solution(
                customers,
                cycle_s,
                dict(zip(names, used, strict=True)),
                dict(zip(names, waiting_s, strict=True)),
            )
    return found


def shortest_cycle_s(network: Network, customers: int) -> float:
    """Return the lower asymptotic bound of the cycle: nobody waits below saturation.

    It is reached if the delay is constant, too: customers then fall into step.
    """
    return max(network.alone_s, customers * network.bottleneck.bottleneck_s)


def _check(network: Network, populations: Collection[int]) -> None:
    if not populations or not all(1 <= number <= MOST_CUSTOMERS for number in populations):
        raise ValueError(f"expected 1 to {MOST_CUSTOMERS} customers, found {populations}")
    times_s = [network.delay_s, *(station.demand_s for station in network.stations)]
    if min(times_s) < 0.0 or max(times_s) <= 0.0:
        raise ValueError(f"expected times of 0 or more, one of them above 0, found {times_s}")
