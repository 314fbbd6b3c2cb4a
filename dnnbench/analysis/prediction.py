"""Prediction of a sweep on hosts with cores of their own, from the costs of a step.

The model is a closed network of queues. Its customers are the workers. A worker's cycle is a step:
its own time, in which it waits for nobody; the push over the link to each parameter server; update
and pull on the server's CPU; the parameters on the link back. Push and pull go to all shards at
once. Shards are equal, so each behaves as if it were the only one. See docs/prediction.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dnnbench.analysis.inputs import Figure, Inputs
from dnnbench.analysis.queueing import CONSTANT, Network, Station, shortest_cycle_s, solve
from dnnbench.trial.spec import ProtocolName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnnbench.analysis.inputs import StepCosts, Workload

CPU: Final = "server's CPU"
LINK_IN: Final = "server's link"
LINK_OUT: Final = "server's link, out"
WORKER: Final = "workers"
"""Names of what bounds the throughput. Where both ways of a link are equally busy, one stands for
both."""

PARAMETER_BYTES: Final = 4
"""A float32."""
FRAME: Final = 1538 / 1448
"""Bytes on an Ethernet for each byte sent, with frames of 1500 bytes: IP, TCP, Ethernet, gap."""
MOST_CORES: Final = 4
"""Cores of a server that one shard can use: its updates take turns, for about a quarter of the CPU
time of an update (docs/performance.md, "Where the time of a step goes")."""
VARIATION: Final = CONSTANT
"""Squared coefficient of variation of the times at servers and links: every update is alike."""
SECONDS_PER_HOUR: Final = 3600
_HALVINGS: Final = 60


class Hosts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The hosts to predict for, all alike; each has one task.

    Attributes:
        bandwidth_bit_per_s: of a host's link, in each direction.
        parameter_s: CPU time of a server per parameter of its shard and update.
        usd_per_hour: list price of a host; None for no price.
    """

    cores: Figure
    bandwidth_bit_per_s: Figure
    round_trip_s: Figure
    parameter_s: Figure
    usd_per_hour: Figure | None = None


class Demands(NamedTuple):
    """What a step needs of workers, servers and links.

    Attributes:
        worker_s: a worker's own time per step with ``servers`` parameter servers.
        message_s: CPU time of a server per update, whatever the size of its shard. Each further
            shard costs a worker as much.
        parameter_s: CPU time of a server per parameter of its shard and update.
        latency_s: per step, of the network.
        bit_s: of a link, for one bit, either way.
        pulls, pushes: per step, each 1 or less.
    """

    worker_s: float
    message_s: float
    parameter_s: float
    parameters: float
    latency_s: float
    bit_s: float
    servers: int
    cores: float
    pulls: float
    pushes: float

    def network(self, servers: int) -> Network:
        """Return the network with this number of parameter servers."""
        shard = self.parameters / servers
        whole_s = self.link_s(self.parameters)
        link_s = self.link_s(shard)
        # A worker's own link takes as long as all shards together, a server's as its shard alone.
        own_link_s = (self.pulls + self.pushes) * (whole_s - link_s)
        own_s = max(self.worker_s + self.message_s * (servers - self.servers), 0.0)
        return Network(
            own_s + self.latency_s + own_link_s,
            (
                Station(
                    CPU, self.message_s + self.parameter_s * shard, min(self.cores, MOST_CORES)
                ),
                Station(LINK_IN, self.pushes * link_s),
                Station(LINK_OUT, self.pulls * link_s),
            ),
        )

    def link_s(self, parameters: float) -> float:
        """Return how long a link takes for this many parameters, one way."""
        return parameters * PARAMETER_BYTES * 8 * FRAME * self.bit_s


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The prediction for one protocol, node count and number of parameter servers.

    Attributes:
        epoch_s: of a worker.
        shortest_epoch_s: if no time varied: no worker waits for another below saturation.
        longest_epoch_s: if the times at servers and links varied as exponential ones do.
        cpu_utilization: of a parameter server's cores, 0 to 1.
        link_utilization: of a parameter server's link, in the busier direction, 0 to 1.
        staleness: mean, in updates; None where no staleness was measured.
        speedup: examples per second over those of one process; None if that was not measured.
        bound_by: the workers' own time below saturation, above it the resource that is saturated.
        measured_epoch_s: of the same cell in the sweep, if it had a core for each role.
        usd_per_pass: list price of all hosts for one pass over the data; None without a price.
    """

    protocol: ProtocolName
    nodes: int
    servers: int
    workers: int
    step_s: float
    epoch_s: float
    shortest_epoch_s: float
    longest_epoch_s: float
    examples_per_s: float
    cpu_utilization: float
    link_utilization: float
    staleness: float | None
    speedup: float | None
    bound_by: str
    measured_epoch_s: float | None
    usd_per_pass: float | None


class Saturation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The resource that saturates first, and from how many workers on.

    Attributes:
        change: to the hosts, in words; empty for none.
        updates_per_s: the most that the resource lets through.
    """

    protocol: ProtocolName
    servers: int
    change: str
    resource: str
    workers: float
    updates_per_s: float


class Prediction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A prediction with all that it is based on.

    Attributes:
        own_s: protocol -> a worker's own time per step, with its origin.
        skipped: combinations of nodes and parameter servers without a prediction, and why.
    """

    inputs: Inputs
    hosts: Hosts
    own_s: dict[ProtocolName, Figure]
    rows: list[Row]
    saturation: list[Saturation]
    skipped: list[str]


def predict(
    inputs: Inputs, hosts: Hosts, nodes: Sequence[int], servers: Sequence[int]
) -> Prediction:
    """Predict every protocol of a sweep for all combinations of nodes and parameter servers.

    Args:
        inputs: from a sweep.
        hosts: to predict for.
        nodes: node counts, each at most `dnnbench.analysis.queueing.MOST_CUSTOMERS`.
        servers: numbers of parameter servers.
    """
    own_s, rows, saturation = {}, [], []
    for costs in inputs.costs:
        own_s[costs.protocol] = own = worker_own_time(costs, inputs.workload, hosts)
        demands = demands_of(costs, inputs.workload, hosts, own.value)
        for count in servers:
            network = demands.network(count)
            rows += _rows(costs, inputs.workload, hosts, network, servers=count, nodes=nodes)
            saturation += _saturation(costs.protocol, demands, count)
    skipped = {
        reason: None
        for of_them in servers
        for count in nodes
        if (reason := reason_skipped(inputs.workload, count, of_them))
    }
    return Prediction(inputs, hosts, own_s, rows, saturation, list(skipped))


def reason_skipped(workload: Workload, nodes: int, servers: int) -> str | None:
    """Return why there is no prediction for a combination; None if there is one."""
    if nodes <= servers:
        return f"{nodes} nodes with {servers} parameter servers: no worker is left"
    if not steps_per_epoch(workload, nodes - servers):
        return f"{nodes} nodes: a worker's share of the examples is less than a batch"
    return None


def demands_of(costs: StepCosts, workload: Workload, hosts: Hosts, own_s: float) -> Demands:
    """Return what a step needs on these hosts, given a worker's own time.

    What a protocol's updates take beyond its baseline's are passes over the shard.
    """
    shard = workload.parameters.value / costs.servers
    # What a server takes per parameter cannot be more than what it takes in all.
    parameter_s = hosts.parameter_s.value + costs.server_cpu_excess_s / shard
    parameter_s = min(parameter_s, costs.server_cpu_s.value / shard)
    # One for a push and the pull that follows it, and one for each call that runs steps.
    round_trips = 1.0 / min(costs.n_fetch, costs.n_push) + 1.0 / workload.steps_per_run
    return Demands(
        worker_s=own_s,
        message_s=costs.server_cpu_s.value - parameter_s * shard,
        parameter_s=parameter_s,
        parameters=workload.parameters.value,
        latency_s=round_trips * hosts.round_trip_s.value,
        bit_s=1.0 / hosts.bandwidth_bit_per_s.value,
        servers=costs.servers,
        cores=hosts.cores.value,
        pulls=1.0 / costs.n_fetch,
        pushes=1.0 / costs.n_push,
    )


def worker_own_time(costs: StepCosts, workload: Workload, hosts: Hosts) -> Figure:
    """Return a worker's own time per step: all of it in which it waits for no other worker.

    Where the sweep's roles had cores of their own, it is what reproduces the measured step. Where
    they shared cores, wall time contains the wait for a core, and CPU time is taken instead.
    """
    if costs.step_s is None:
        return costs.worker_cpu_s
    there = demands_of(costs, workload, hosts, 0.0)._replace(cores=1.0)
    if not costs.on_network:
        there = there._replace(latency_s=0.0, bit_s=0.0)

    def step_s(own_s: float) -> float:
        network = there._replace(worker_s=own_s).network(costs.servers)
        return solve(network, [costs.workers], variation=VARIATION)[costs.workers].cycle_s

    low_s, high_s = 0.0, costs.step_s.value
    if step_s(low_s) >= high_s:  # the assumed network alone takes longer
        return costs.worker_cpu_s
    for _ in range(_HALVINGS):
        middle_s = (low_s + high_s) / 2.0
        if step_s(middle_s) < costs.step_s.value:
            low_s = middle_s
        else:
            high_s = middle_s
    return Figure(low_s, "computed", f"reproduces the {costs.step_s.source}")


def _rows(
    costs: StepCosts,
    workload: Workload,
    hosts: Hosts,
    network: Network,
    *,
    servers: int,
    nodes: Sequence[int],
) -> list[Row]:
    possible = [count for count in nodes if not reason_skipped(workload, count, servers)]
    workers = {count: count - servers for count in possible}
    numbers = set(workers.values()) or {1}
    found = solve(network, numbers, variation=VARIATION)
    varying = solve(network, numbers)
    share, one, price = costs.staleness_share, workload.one_process_s, hosts.usd_per_hour
    measured_s = costs.epoch_s_by_nodes if servers == costs.servers else {}
    rows = []
    for count, number in workers.items():
        steps, state = steps_per_epoch(workload, number), found[number]
        epoch_s = steps * state.cycle_s
        passes = 1 if workload.epoch_definition == "sharded" else number
        rows.append(
            Row(
                protocol=costs.protocol,
                nodes=count,
                servers=servers,
                workers=number,
                step_s=state.cycle_s,
                epoch_s=epoch_s,
                shortest_epoch_s=steps * shortest_cycle_s(network, number),
                longest_epoch_s=steps * varying[number].cycle_s,
                examples_per_s=state.throughput_per_s * workload.batch_size,
                cpu_utilization=state.utilization[CPU],
                link_utilization=max(state.utilization[LINK_IN], state.utilization[LINK_OUT]),
                staleness=share.value * (number - 1) if share else None,
                speedup=state.throughput_per_s * one.value if one else None,
                bound_by=network.bottleneck.name if number > network.saturation else WORKER,
                measured_epoch_s=measured_s.get(count),
                usd_per_pass=(
                    count * price.value * epoch_s / SECONDS_PER_HOUR / passes if price else None
                ),
            )
        )
    return rows


def steps_per_epoch(workload: Workload, workers: int) -> int:
    """Return the steps of a worker's epoch."""
    share = workers if workload.epoch_definition == "sharded" else 1
    return workload.epoch_examples // share // workload.batch_size


def _saturation(protocol: ProtocolName, demands: Demands, servers: int) -> list[Saturation]:
    """Return what saturates first on these hosts, and with more cores or a faster link."""
    cores = demands.cores
    variants = {"": demands}
    if cores < MOST_CORES:
        variants[f"{2 * cores:g} cores"] = demands._replace(cores=2 * cores)
        variants[f"{MOST_CORES} cores"] = demands._replace(cores=MOST_CORES)
    variants["10 x bandwidth"] = demands._replace(bit_s=demands.bit_s / 10)
    if cores < MOST_CORES:
        variants[f"{MOST_CORES} cores, 10 x bandwidth"] = demands._replace(
            bit_s=demands.bit_s / 10, cores=MOST_CORES
        )
    found = []
    for change, changed in variants.items():
        network = changed.network(servers)
        found.append(
            Saturation(
                protocol,
                servers,
                change,
                network.bottleneck.name,
                network.saturation,
                1.0 / network.bottleneck.bottleneck_s,
            )
        )
    return found
