"""What hosts the trials ran on, which task on which of them, and how full they were."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dnnbench.trial.machine import MachineSnapshot
    from dnnbench.trial.outcome import TrialOutcome


class HostFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a report says of a host.

    Attributes:
        cores: that its roles may use; 1.5 where a quota says so.
        machine: the first host on the same machine, so its own name where it has one to itself.
        machine_cores: that the machine has for all hosts on it.
    """

    cpu_model: str
    cores: float
    machine: str
    machine_cores: int


class Placement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the tasks of some trials ran.

    Attributes:
        tasks: task -> host.
        trials: their ids.
    """

    nodes: int
    tasks: dict[str, str]
    trials: list[str]


class MachineGroup(NamedTuple):
    """So many machines that are alike; ``cores`` are those that the hosts on one may use."""

    machines: int
    cpu_model: str
    cores: float


def host_facts(hosts: Mapping[str, MachineSnapshot]) -> dict[str, HostFacts]:
    """Tell for each host what it is, and which of them share a machine."""
    machines: dict[str, str] = {}
    return {
        name: HostFacts(
            cpu_model=said.cpu_model,
            cores=said.cores_usable,
            machine=machines.setdefault(said.boot_id or name, name),
            machine_cores=said.cores,
        )
        for name, said in hosts.items()
    }


def placements(outcomes: Iterable[TrialOutcome]) -> list[Placement]:
    """Return where the trials that ended well ran, by node count; usual ones first."""
    trials: defaultdict[tuple[int, tuple[tuple[str, str], ...]], list[str]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.status == "ok" and outcome.placement:
            key = outcome.order.nodes, tuple(outcome.placement.items())
            trials[key].append(outcome.order.id)
    found = [Placement(nodes, dict(tasks), sorted(ids)) for (nodes, tasks), ids in trials.items()]
    return sorted(found, key=lambda placement: (placement.nodes, -len(placement.trials)))


def roles_per_core(tasks: Mapping[str, str], hosts: Mapping[str, HostFacts]) -> float:
    """Return the roles for each core where there are most: on the fullest host or machine."""
    roles = Counter(tasks.values())
    on_machine = Counter(hosts[host].machine for host in tasks.values())
    cores = _cores_of_machines({host: hosts[host] for host in roles})
    return max(
        *(number / hosts[host].cores for host, number in roles.items()),
        *(number / cores[machine] for machine, number in on_machine.items()),
    )


def total_cores(hosts: Mapping[str, HostFacts]) -> float:
    """Return the cores of all hosts together; those of a shared machine count once."""
    return sum(_cores_of_machines(hosts).values())


def machine_groups(hosts: Mapping[str, HostFacts]) -> list[MachineGroup]:
    """Count the machines that are alike, in the order in which they come."""
    cores = _cores_of_machines(hosts)
    groups = Counter((hosts[machine].cpu_model, cores[machine]) for machine in cores)
    return [MachineGroup(count, model, cores) for (model, cores), count in groups.items()]


def _cores_of_machines(hosts: Mapping[str, HostFacts]) -> dict[str, float]:
    """Return machine -> cores that these hosts may use on it, not more than it has."""
    cores: defaultdict[str, float] = defaultdict(float)
    for host in hosts.values():
        cores[host.machine] = min(cores[host.machine] + host.cores, host.machine_cores)
    return dict(cores)
