"""Clusters on hosts over SSH: start agents there, find those that stand, end them.

What stands is asked of the hosts themselves; this machine keeps no record that could be wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dnnbench.errors import HostError
from dnnbench.hosts.agent_environment import ENVIRONMENT
from dnnbench.hosts.agents.identity import here, owner, process_of, this_process
from dnnbench.hosts.onhost import process_table
from dnnbench.hosts.provision.answers import convert
from dnnbench.hosts.provision.wanted import environment_of
from dnnbench.text.safe import one_line
from dnnbench.trial.bounds import Count, Moment, Port, ProcessId, Remaining, Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dnnbench.hosts.provision.facts import Facts
    from dnnbench.hosts.provision.tools import HostTools
    from dnnbench.hosts.provision.wanted import Wanted
    from dnnbench.settings.schema import Config
    from dnnbench.sweep.placement import Host

GRACE_S: Final = 20.0
"""Without a word from its controller for so long, roles are killed."""
OWN_LEASE_S: Final = 25.0
"""The same for the agents of a sweep's own cluster."""
FIRST_LEASE_S: Final = 120.0
"""For the first controller: as long as all hosts may take to start, and to get the user's model."""
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0


class Part(msgspec.Struct, frozen=True):
    """A cluster's part on one host, as its keeper tells.

    Attributes:
        since: seconds since 1970, by that host's clock.
        package: digest of the dnnbench that its agent runs.
        launcher: process that it ends with, as `this_process` names it; None if it stands alone.
        socket: where its keeper listens.
        attached: whether a controller is connected.
        controller: who uses it, as `new_controller_id` named him, connected or not.
        doing: what the agent does.
        lease_left_s: until it ends, if no controller comes; None where the keeper does not answer.
        firewall: whether its ports are open to its own hosts alone.
        processes: how many there are.
    """

    cluster: Text
    host: Text
    owner: Text
    purpose: Text
    since: Moment
    pid: ProcessId
    ports: list[Port]
    package: Text
    socket: Text
    attached: bool
    controller: Text | None
    doing: Text
    launcher: Text | None
    lease_left_s: Remaining | None
    firewall: bool = False
    processes: Count = 0

    @property
    def is_abandoned(self) -> bool:
        """Whether it was a sweep's own, and that sweep's process is gone from this machine."""
        return self.launcher is not None and self.owner == owner() and _is_gone(self.launcher)

    @property
    def is_idle(self) -> bool:
        """Whether a controller may attach."""
        is_free = self.controller is None or _is_gone(process_of(self.controller))
        return is_free and self.lease_left_s is not None


class Leftover(msgspec.Struct, frozen=True):
    """What an accident left of a cluster on a host: processes, or only files."""

    cluster: Text
    host: Text
    pids: list[ProcessId]


class _Standing(msgspec.Struct, frozen=True):
    """An answer to ``status``."""

    clusters: list[Part]
    orphans: list[Leftover]


class _Answer(msgspec.Struct, frozen=True):
    """An answer to ``start``."""

    ports: list[Port]
    socket: Text


class Started(NamedTuple):
    """An agent's keeper on a host, and the dead controller that it still waits for, if any."""

    ports: list[int]
    socket: str
    succeeds: str | None = None


class Ended(msgspec.Struct, frozen=True):
    """What came of ending a cluster's part on a host.

    Attributes:
        ended: number of processes.
        left: processes that cannot be killed.
        ports_taken: that cannot be bound though they should be free.
    """

    ended: Count
    left: list[ProcessId]
    ports_taken: list[Port]

    @property
    def is_clean(self) -> bool:
        """Whether every process is gone and every port free."""
        return not self.left and not self.ports_taken


def parts_of(tools: HostTools) -> tuple[list[Part], list[Leftover]]:
    """Ask a host what stands there, and what is left of what stood.

    Raises:
        HostError: it cannot be asked.
    """
    answer = tools.call("status")
    try:
        standing = msgspec.convert(answer, _Standing)
    except msgspec.ValidationError as error:  # a keeper may be older than this side
        problem = "a cluster stands there that another version of dnnbench launched"
        raise HostError(
            f"{problem}: {one_line(str(error))}",
            where=tools.host,
            remedy="end it with that version's `dnnbench stop`, or wait for the end of its lease",
        ) from error
    return standing.clusters, standing.orphans


def standing_for(
    parts: Mapping[str, Sequence[Part]],
    hosts: Sequence[Host],
    needed: int,
    package: str,
    *,
    share: bool = False,
    firewall: bool = False,
) -> dict[str, Part] | None:
    """Choose a cluster of ours that can be attached to and has enough ports for the trials.

    One that has too few is chosen where a new cluster could not have more.

    Args:
        parts: host -> what stands there.
        hosts: in their order.
        needed: slots that the largest trial takes.
        package: digest of the dnnbench that it must run.
        share: whether a new cluster could be where another one stands.
        firewall: leave out clusters whose ports are open to everybody.

    Returns:
        Host -> the cluster's part there, in the order of the hosts; None if there is no such
        cluster.
    """
    found: dict[str, dict[str, Part]] = {}
    for host in hosts:
        for part in parts.get(host.name, ()):
            is_ours = part.owner == owner() and part.launcher is None and part.host == host.name
            is_safe = part.firewall or not firewall
            if is_ours and is_safe and part.package == package and part.is_idle:
                found.setdefault(part.cluster, {})[host.name] = part
    free = [host for host in hosts if share or not parts.get(host.name)]
    enough = min(needed, sum(host.slots or needed for host in free))
    for least in (needed, max(enough, 1)):
        for candidate in found.values():
            if sum(len(part.ports) for part in candidate.values()) >= least:
                return candidate
    return None


def chosen(hosts: Iterable[Host], needed: int) -> dict[str, int]:
    """Choose the first hosts whose slots suffice; return host -> tasks that it may get."""
    taken: dict[str, int] = {}
    for host in hosts:
        left = needed - sum(taken.values())
        if left <= 0:
            break
        taken[host.name] = min(host.slots or left, left)
    return taken


def start_keeper(
    tools: HostTools,
    facts: Facts,
    config: Config,
    wanted: Wanted,
    *,
    cluster: str,
    purpose: str,
    lease_s: float | None,
    ports: int,
    admitted: Sequence[str] | None,
) -> Started:
    """Start a cluster's agent on a host, under a keeper that outlives the connection.

    Args:
        tools: of the host.
        facts: of the host.
        config: says where and in which range of ports.
        wanted: software and data, which are there.
        cluster: its id.
        purpose: for others who want the host.
        lease_s: without a controller for so long, it ends; None for soon, with this process.
        ports: how many the host's tasks need.
        admitted: addresses that may connect to them; None for everybody.

    Raises:
        HostError: taken, no port free, or the like.
    """
    environment, _ = environment_of(facts.machine)
    state = f"{facts.directory}/clusters/{cluster}/{tools.host}"
    answer = tools.call(
        "start",
        START_TIMEOUT_S,
        cluster=cluster,
        host=tools.host,
        owner=owner(),
        purpose=purpose,
        package=wanted.wheel.digest,
        launcher=this_process() if lease_s is None else None,
        lease_s=OWN_LEASE_S if lease_s is None else lease_s,
        first_lease_s=FIRST_LEASE_S,
        grace_s=GRACE_S,
        share=config.cluster.share,
        port_range=config.cluster.port_range,
        ports=ports,
        python=f"{facts.directory}/env/{environment}/bin/python",
        pythonpath=[f"{facts.directory}/{wanted.package}", f"{state}/models"],
        # Keras makes a directory of its own in the home otherwise.
        environment={**ENVIRONMENT, "KERAS_HOME": f"{facts.directory}/keras"},
        requires=[],
        firewall=None if admitted is None else {"addresses": list(admitted)},
    )
    started = convert(tools.host, answer, _Answer)
    return Started(started.ports, started.socket)


def end_part(tools: HostTools, cluster: str, *, force: bool, host: str | None = None) -> Ended:
    """End a cluster's part on a host, and whatever is left of it.

    Args:
        tools: of the host.
        cluster: its id.
        force: though a controller is attached.
        host: how it was called when the cluster was launched, if not as it is now.

    Raises:
        HostError: a controller is attached and ``force`` is false, or the host cannot be asked.
    """
    answer = tools.call(
        "stop", STOP_TIMEOUT_S, cluster=cluster, host=host or tools.host, force=force, by=owner()
    )
    return convert(tools.host, answer, Ended)


def _is_gone(process: str) -> bool:
    """Tell whether a process has ended; of one that cannot be seen from here, nobody knows.

    Args:
        process: as `this_process` names it, or whatever a host names instead.
    """
    place, *numbers = process.rsplit("/", 2)
    if place != here() or not all(number.isdecimal() for number in numbers):
        return False
    return not process_table.is_alive(*map(int, numbers))
