"""Limits of distribution: from which model size it pays, and what published growth implies.

With enough workers, the throughput is that of the bottleneck. So distributing pays at all if a step
of one process takes longer than the bottleneck takes for an update.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

from dnnbench.analysis.prediction import (
    CPU,
    MOST_CORES,
    VARIATION,
    Demands,
    Prediction,
    demands_of,
)
from dnnbench.analysis.published import TABLE_2_EPOCH_S, TABLE_2_GROWTH_PERCENT
from dnnbench.analysis.queueing import MOST_CUSTOMERS, Network, Station, solve
from dnnbench.trial.spec import ProtocolName

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dnnbench.analysis.inputs import Workload

PUBLISHED_STEPS: Final = 550
"""Steps of the report's epoch, taken to be 55,000 examples in batches of 100."""
PUBLISHED_NODES: Final = (4, 12)
_SHORTER: Final = 3.0
"""Factor by which the published step is shortened to see where a server saturates."""
_HALVINGS: Final = 60


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limits within which more workers are faster than one process.

    Attributes:
        arithmetic_s: the shortest step of one process from which distributing pays at all.
        workers: the fewest that are faster than one process with this model; None if any number
            is slower, or if one process was not measured.
        most_parameters: up to which it pays, with the arithmetic of this model; likewise.
        least_parameters: from which it pays, if arithmetic grows with them as dense layers have
            it; likewise.
    """

    protocol: ProtocolName
    servers: int
    arithmetic_s: float
    workers: int | None
    most_parameters: float | None
    least_parameters: float | None


class PublishedFit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The published growth of a protocol, explained by a queue at the parameter server's CPU.

    Attributes:
        step_s: published, at 4 nodes.
        growth_percent: published, from 4 to 12 nodes.
        implied_server_s: CPU time per update with which the model grows as published.
        implied_saturation: workers that saturate one such core.
        predicted_growth_percent: with this sweep's CPU time per update, at the published step.
        saturation: workers that saturate one core with this sweep's CPU time, at that step.
        shorter_step_s: a third of the published step.
        shorter_saturation: workers that saturate one core with this sweep's CPU time, at that.
    """

    protocol: ProtocolName
    step_s: float
    growth_percent: float
    implied_server_s: float
    implied_saturation: float
    server_s: float
    predicted_growth_percent: float
    saturation: float
    shorter_step_s: float
    shorter_saturation: float


def thresholds(prediction: Prediction, servers: Sequence[int]) -> list[Threshold]:
    """Return from which model size on distributing pays, for each number of servers."""
    inputs = prediction.inputs
    found = []
    for costs in inputs.costs:
        own_s = prediction.own_s[costs.protocol].value
        demands = demands_of(costs, inputs.workload, prediction.hosts, own_s)
        found += [_threshold(costs.protocol, demands, inputs.workload, of) for of in servers]
    return found


def _threshold(
    protocol: ProtocolName, demands: Demands, workload: Workload, servers: int
) -> Threshold:
    network, one = demands.network(servers), workload.one_process_s
    return Threshold(
        protocol,
        servers,
        arithmetic_s=network.bottleneck.bottleneck_s,
        workers=least_workers(network, one.value) if one else None,
        most_parameters=_most_parameters(demands, servers, one.value) if one else None,
        least_parameters=_least_parameters(demands, servers, one.value) if one else None,
    )


def least_workers(network: Network, one_process_s: float) -> int | None:
    """Return the fewest workers that take more steps per second than one process, if any do."""
    if network.bottleneck.bottleneck_s >= one_process_s:
        return None
    most = 1
    while most <= MOST_CUSTOMERS:
        found = solve(network, range(1, most + 1), variation=VARIATION)
        faster = [n for n, state in found.items() if state.throughput_per_s * one_process_s > 1.0]
        if faster:
            return faster[0]
        most *= 4
    return None


def _costs_per_update(demands: Demands, servers: int) -> list[tuple[float, float]]:
    """Return each resource's time per update: a part that is always there, one per parameter."""
    cores = min(demands.cores, MOST_CORES)
    return [
        (demands.message_s / cores, demands.parameter_s / servers / cores),
        (0.0, demands.link_s(1.0) / servers * max(demands.pulls, demands.pushes)),
    ]


def _most_parameters(demands: Demands, servers: int, step_s: float) -> float | None:
    """Return the parameters at which the bottleneck takes as long as a step; None if always."""
    most = min(
        (step_s - fixed_s) / each_s if each_s else math.inf if fixed_s < step_s else 0.0
        for fixed_s, each_s in _costs_per_update(demands, servers)
    )
    return most if 0.0 < most < math.inf else None


def _least_parameters(demands: Demands, servers: int, step_s: float) -> float | None:
    """Return the same if a step grows with the parameters; None if the bottleneck grows faster."""
    arithmetic_s = step_s / demands.parameters
    least = 0.0
    for fixed_s, each_s in _costs_per_update(demands, servers):
        if arithmetic_s <= each_s:
            return None
        least = max(least, fixed_s / (arithmetic_s - each_s))
    return least


def published_fits(prediction: Prediction) -> list[PublishedFit]:
    """Compare the published growth with a queue for one core, for each published protocol."""
    return [
        _published_fit(costs.protocol, costs.server_cpu_s.value * costs.servers)
        for costs in prediction.inputs.costs
        if costs.protocol in TABLE_2_GROWTH_PERCENT and costs.server_cpu_s.value
    ]


def _published_fit(protocol: ProtocolName, server_s: float) -> PublishedFit:
    few, many = (nodes - 1 for nodes in PUBLISHED_NODES)
    step_s = TABLE_2_EPOCH_S[protocol][PUBLISHED_NODES[0]] / PUBLISHED_STEPS
    growth = TABLE_2_GROWTH_PERCENT[protocol] / 100

    def growth_with(demand_s: float) -> float:
        network = one_core(demand_s, step_s, few)
        found = solve(network, [few, many], variation=VARIATION)
        return found[many].cycle_s / found[few].cycle_s - 1.0

    implied_s = bisected(lambda demand_s: growth_with(demand_s) > growth, step_s / few)
    return PublishedFit(
        protocol=protocol,
        step_s=step_s,
        growth_percent=TABLE_2_GROWTH_PERCENT[protocol],
        implied_server_s=implied_s,
        implied_saturation=one_core(implied_s, step_s, few).saturation,
        server_s=server_s,
        predicted_growth_percent=100 * growth_with(min(server_s, step_s / few)),
        saturation=step_s / server_s,
        shorter_step_s=step_s / _SHORTER,
        shorter_saturation=step_s / _SHORTER / server_s,
    )


def one_core(demand_s: float, step_s: float, workers: int) -> Network:
    """Return a network of one core, in which a step of this many workers takes ``step_s``."""

    def with_delay(delay_s: float) -> Network:
        return Network(delay_s, (Station(CPU, demand_s),))

    def is_longer(delay_s: float) -> bool:
        found = solve(with_delay(delay_s), [workers], variation=VARIATION)
        return found[workers].cycle_s > step_s

    return with_delay(bisected(is_longer, step_s))


def bisected(is_above: Callable[[float], bool], high: float) -> float:
    """Return the value between 0 and ``high`` above which a rising condition holds."""
    low = 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if is_above(middle):
            high = middle
        else:
            low = middle
    return low
