"""Start, find and stop clusters on hosts.

The hosts themselves report what is running; this machine keeps no record, which could be wrong.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dnnbench.errors import HostError
from dnnbench.hosts.agents.identity import here, owner, process_of, this_process
from dnnbench.hosts.onhost import process_table
from dnnbench.hosts.provision.answers import convert
from dnnbench.hosts.provision.wanted import environment_of
from dnnbench.sweep.failures import HARMLESS
from dnnbench.text.safe import one_line
from dnnbench.trial.bounds import Count, Moment, Port, ProcessId, Remaining, Text
from dnnbench.trial.role_environment import ENVIRONMENT, MEASURED, NEEDED, passed_on

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dnnbench.hosts.provision.facts import Facts
    from dnnbench.hosts.provision.tools import HostTools
    from dnnbench.hosts.provision.wanted import Wanted
    from dnnbench.settings.schema import Config
    from dnnbench.sweep.placement import Host

GRACE_S: Final = 20.0
"""Roles are killed after this time without a word from their controller."""
OWN_LEASE_S: Final = 25.0
"""Lease of a cluster that was launched for one sweep: a little longer than the grace."""
FIRST_LEASE_S: Final = 120.0
"""Lease until the first controller attaches: all hosts may have to start and to get a model."""
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0


class Part(msgspec.Struct, frozen=True):
    """A cluster's part on one host, as its keeper reports it.

    Attributes:
        since: seconds since 1970, by that host's clock.
        package: what its agent runs, see `software`.
        launcher: the process with which it ends, as `this_process` names it; None for a cluster
            with a lease.
        socket: path of the socket on which its keeper listens.
        attached: whether a controller is connected.
        controller: the controller that uses it, as `new_controller_id` named it, connected or not.
        doing: what the agent is doing, for the user.
        lease_left_s: time until it ends if no controller attaches; None if the keeper does not
            answer.
        firewall: whether its ports are open only to the cluster's own hosts.
        processes: number of its processes.
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
        """Whether it was launched for a sweep on this machine whose process is gone."""
        return self.launcher is not None and self.owner == owner() and _is_gone(self.launcher)

    @property
    def is_idle(self) -> bool:
        """Whether a controller may attach."""
        is_free = self.controller is None or _is_gone(process_of(self.controller))
        return is_free and self.lease_left_s is not None


class Leftover(msgspec.Struct, frozen=True):
    """Remains of a cluster whose keeper died: processes, or only files."""

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
    """The result of ending a cluster's part on a host.

    Attributes:
        ended: number of processes that were ended.
        left: processes that cannot be killed.
        ports_taken: ports that should be free but cannot be bound.
    """

    ended: Count
    left: list[ProcessId]
    ports_taken: list[Port]

    @property
    def is_clean(self) -> bool:
        """Whether every process is gone and every port free."""
        return not self.left and not self.ports_taken


def parts_of(tools: HostTools) -> tuple[list[Part], list[Leftover]]:
    """Return the clusters' parts on a host, and what is left of dead ones.

    Raises:
        HostError: it cannot be asked.
    """
    answer = tools.call("status")
    try:
        standing = msgspec.convert(answer, _Standing)
    except msgspec.ValidationError as error:  # a keeper may be older than this side
        problem = "a cluster of another version of dnnbench is running there"
        raise HostError(
            f"{problem}: {one_line(str(error))}",
            where=tools.host,
            remedy="stop it with that version's `dnnbench stop`, or wait for the end of its lease",
        ).of_kind("version") from error
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

    One with too few ports is chosen if a new cluster could not have more.

    Args:
        parts: host -> the clusters' parts there.
        hosts: the usable hosts, in order.
        needed: slots of the largest trial.
        package: what it must run, see `software`.
        share: whether a new cluster could use hosts that another one has taken.
        firewall: leave out clusters whose ports are open to every address.

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


def software(wanted: Wanted, config: Config) -> str:
    """Return the digest of what an agent runs: of dnnbench, and of variables that are passed on."""
    variables = passed_on(config.cluster.environment, os.environ)
    if not variables:
        return wanted.wheel.digest
    given = msgspec.json.encode(sorted(variables.items()))
    return f"{wanted.wheel.digest}-{hashlib.sha256(given).hexdigest()}"


def chosen(hosts: Iterable[Host], needed: int) -> dict[str, int]:
    """Choose the first hosts whose slots suffice; return host -> number of its tasks."""
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
        tools: the host's tools.
        facts: the host's facts.
        config: gives the directory and the port range.
        wanted: software and data, which must be provisioned.
        cluster: the cluster's id.
        purpose: shown to other users who want the host.
        lease_s: time without a controller after which the cluster ends; None for a cluster that
            ends soon after this process.
        ports: number of ports to hold for the host's tasks.
        admitted: addresses that may connect to these ports; None for all.

    Raises:
        HostError: the host is taken, no port is free, or the like.
    """
    environment, _ = environment_of(facts.machine, wanted.device)
    start = tools.begin if facts.ends_with_command else tools.call
    answer = start(
        "start",
        START_TIMEOUT_S,
        cluster=cluster,
        host=tools.host,
        owner=owner(),
        purpose=purpose,
        package=software(wanted, config),
        launcher=this_process() if lease_s is None else None,
        lease_s=OWN_LEASE_S if lease_s is None else lease_s,
        first_lease_s=FIRST_LEASE_S,
        grace_s=GRACE_S,
        share=config.cluster.share,
        port_range=config.cluster.port_range,
        ports=ports,
        python=f"{facts.directory}/env/{environment}/bin/python",
        pythonpath=[f"{facts.directory}/{wanted.package}"],
        inherited=[*NEEDED, *MEASURED],
        harmless=HARMLESS,
        # Otherwise, Keras creates a directory in the home.
        environment={
            **passed_on(config.cluster.environment, os.environ),
            **ENVIRONMENT,
            "KERAS_HOME": f"{facts.directory}/keras",
        },
        requires=[],
        stay=facts.ends_with_command,
        firewall=None if admitted is None else {"addresses": list(admitted)},
    )
    started = convert(tools.host, answer, _Answer)
    return Started(started.ports, started.socket)


def end_part(tools: HostTools, cluster: str, *, force: bool, host: str | None = None) -> Ended:
    """End a cluster's part on a host, including remains of a dead one.

    Args:
        tools: the host's tools.
        cluster: the cluster's id.
        force: end it even if a controller is attached.
        host: the host's name when the cluster was launched, if it has changed since.

    Raises:
        HostError: a controller is attached and ``force`` is false, or the host cannot be asked.
    """
    answer = tools.call(
        "stop", STOP_TIMEOUT_S, cluster=cluster, host=host or tools.host, force=force, by=owner()
    )
    return convert(tools.host, answer, Ended)


def _is_gone(process: str) -> bool:
    """Return whether a process has certainly ended; false if it cannot be seen from here.

    Args:
        process: as `this_process` names it; a host may also have sent any other text.
    """
    place, *numbers = process.rsplit("/", 2)
    if place != here() or not all(number.isdecimal() for number in numbers):
        return False
    return not process_table.is_alive(*map(int, numbers))
