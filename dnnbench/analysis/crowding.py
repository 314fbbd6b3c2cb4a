"""Hosts of the trials, the placement of tasks on them, and the roles per core."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dnnbench.trial.machine import MachineSnapshot
    from dnnbench.trial.outcome import TrialOutcome


class HostFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A host as the report describes it.

    Attributes:
        cores: available to its roles; fractional under a quota.
        machine: name of the first host on the same machine; its own name if it is alone there.
        machine_cores: of the machine, for all hosts on it.
    """

    cpu_model: str
    cores: float
    machine: str
    machine_cores: int


class Placement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A placement of tasks on hosts, and the trials that ran with it.

    Attributes:
        tasks: task -> host.
        trials: ids.
    """

    nodes: int
    tasks: dict[str, str]
    trials: list[str]


class MachineGroup(NamedTuple):
    """Identical machines; ``cores`` are those available to the hosts on one of them."""

    machines: int
    cpu_model: str
    cores: float


def host_facts(hosts: Mapping[str, MachineSnapshot]) -> dict[str, HostFacts]:
    """Return the facts of each host; hosts with the same boot id share a machine."""
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
    """Return the placements of successful trials by node count, the most frequent first."""
    trials: defaultdict[tuple[int, tuple[tuple[str, str], ...]], list[str]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.status == "ok" and outcome.placement:
            key = outcome.order.nodes, tuple(outcome.placement.items())
            trials[key].append(outcome.order.id)
    found = [Placement(nodes, dict(tasks), sorted(ids)) for (nodes, tasks), ids in trials.items()]
    return sorted(found, key=lambda placement: (placement.nodes, -len(placement.trials)))


def roles_per_core(tasks: Mapping[str, str], hosts: Mapping[str, HostFacts]) -> float:
    """Return the roles per core on the fullest host or machine."""
    roles = Counter(tasks.values())
    on_machine = Counter(hosts[host].machine for host in tasks.values())
    cores = _cores_of_machines({host: hosts[host] for host in roles})
    return max(
        *(number / hosts[host].cores for host, number in roles.items()),
        *(number / cores[machine] for machine, number in on_machine.items()),
    )


def on_own_hosts(tasks: Mapping[str, str], hosts: Mapping[str, HostFacts]) -> bool:
    """Return whether each task has a machine to itself, with at least one core.

    Only then are the seconds of a trial those of as many separate machines.

    Args:
        tasks: task -> host.
        hosts: facts of all these hosts, as far as they are known.
    """
    known = [hosts[host] for host in tasks.values() if host in hosts]
    machines = {host.machine for host in known}
    return len(machines) == len(tasks) > 0 and all(host.cores >= 1.0 for host in known)


def total_cores(hosts: Mapping[str, HostFacts]) -> float:
    """Return the cores of all hosts together; those of a shared machine count once."""
    return sum(_cores_of_machines(hosts).values())


def machine_groups(hosts: Mapping[str, HostFacts]) -> list[MachineGroup]:
    """Group identical machines, in the order in which they first occur."""
    cores = _cores_of_machines(hosts)
    groups = Counter((hosts[machine].cpu_model, cores[machine]) for machine in cores)
    return [MachineGroup(count, model, cores) for (model, cores), count in groups.items()]


def _cores_of_machines(hosts: Mapping[str, HostFacts]) -> dict[str, float]:
    """Return machine -> cores available to these hosts together, at most those it has."""
    cores: defaultdict[str, float] = defaultdict(float)
    for host in hosts.values():
        cores[host.machine] = min(cores[host.machine] + host.cores, host.machine_cores)
    return dict(cores)
