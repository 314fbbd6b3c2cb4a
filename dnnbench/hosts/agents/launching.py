"""Find a running cluster on hosts, or launch one there."""

from __future__ import annotations

import ipaddress
from collections import deque
from contextlib import ExitStack, suppress
from threading import Event, Lock
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dnnbench.errors import HostError
from dnnbench.hosts.agents.clusters import (
    START_TIMEOUT_S,
    Started,
    chosen,
    end_part,
    parts_of,
    software,
    standing_for,
    start_keeper,
)
from dnnbench.hosts.agents.identity import new_cluster_id
from dnnbench.hosts.provision.facts import facts_of, refuse_unprovisioned, twins
from dnnbench.hosts.provision.preflight import hindrances, hindrances_among, holders, try_pairs
from dnnbench.sweep.own_model import model_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dnnbench.hosts.agents.clusters import Part
    from dnnbench.hosts.connected import ConnectedHosts
    from dnnbench.hosts.provision.facts import Facts
    from dnnbench.hosts.provision.tools import HostTools
    from dnnbench.hosts.provision.wanted import Wanted
    from dnnbench.settings.schema import Config
    from dnnbench.sweep.placement import Host

_ELSEWHERE: Final = "has no part of the cluster that is running on the others"
_LAUNCH_AGAIN: Final = "run `dnnbench stop`, then `dnnbench launch`"


class Request(NamedTuple):
    """A request for a cluster.

    Attributes:
        config: the command's settings.
        wanted: software and data that hosts must have.
        purpose: shown to other users who want the hosts.
        needed: slots of the largest trial.
        notify: called with what is being waited for.
        warn: called with notes for the user, also from other threads.
        lease_s: launch a cluster that keeps running for this time without a controller, complete or
            not at all; None to use a running one, or else to launch one that ends with this
            process.
    """

    config: Config
    wanted: Wanted
    purpose: str
    needed: int
    notify: Callable[[str], None]
    warn: Callable[[str], None]
    lease_s: float | None = None


class Launch:
    """The launch of a cluster: starts its parts, and ends whatever was started."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self.cluster = new_cluster_id()
        self._is_given_up = Event()
        # Held while a part starts, in a thread that goes on after an interrupt.
        self._locks = {host: Lock() for host in hosts}

    def start(self, tools: HostTools, do: Callable[[], Started]) -> Started:
        """Start the part on a host, unless the launch was interrupted before that host's turn."""
        with self._locks[tools.host]:
            if self._is_given_up.is_set():
                raise HostError("the launch was interrupted", where=tools.host)
            return do()

    def end(self, connected: ConnectedHosts) -> None:
        """End every part that was started, or may have been.

        On hosts that cannot be reached, it ends with its lease, as no controller attaches.
        """
        self._is_given_up.set()
        connected.each(self._end_part, [name for name in self._locks if name in connected.tools])

    def _end_part(self, tools: HostTools) -> None:
        """End the part on a host, after its start is over: an earlier end would miss it."""
        in_turn = self._locks[tools.host].acquire(timeout=START_TIMEOUT_S)
        try:
            end_part(tools, self.cluster, force=True)
        finally:
            if in_turn:
                self._locks[tools.host].release()


class Cluster(NamedTuple):
    """A cluster on connected hosts.

    Attributes:
        hosts: hosts with a part of it, in the inventory's order; slots are at most the ports there.
        keepers: host -> its keeper, for the same hosts.
        launch: the launch that started it; None if it was found running.
    """

    connected: ConnectedHosts
    hosts: list[Host]
    keepers: dict[str, Started]
    launch: Launch | None

    def end(self) -> None:
        """End the cluster if it was launched here; one that was found keeps running. Idempotent."""
        if self.launch is not None:
            self.launch.end(self.connected)


def find_or_launch(connected: ConnectedHosts, hosts: Sequence[Host], request: Request) -> Cluster:
    """Find a cluster or launch one; start again while another host can replace a missing one.

    All hosts of a cluster must be known when it starts, because their firewalls admit each other.

    Args:
        connected: opened here for the hosts that are tried; then has the others' errors.
        hosts: hosts that may be used, in the inventory's order; later ones replace missing ones.
        request: the requested cluster.

    Returns:
        The cluster; without hosts if none is usable, or if one with a lease would be incomplete.

    Raises:
        HostError: a model cannot be read, or the like. Whatever is raised, no part keeps running.
    """
    untried = deque(hosts)
    facts: dict[str, Facts] = {}
    while True:
        facts |= _reach(connected, untried, request)
        with ExitStack() as undo:
            launch = None
            keepers = _standing(connected, request)
            if keepers is None:
                names = _proven(connected, request)
                launch = Launch(names)
                undo.callback(launch.end, connected)
                keepers = _started(connected, facts, names, request, launch)
            _push_model(connected, keepers, request.config)
            if not untried or _slots(connected.hosts, request.needed) >= request.needed:
                undo.pop_all()
                return _cluster(connected, keepers, request.needed, launch)


def admitted_addresses(facts: Mapping[str, Facts], hosts: Sequence[Host]) -> list[str]:
    """Return every address from which a host of a cluster may connect to another."""
    found = {address for name in facts for address in facts[name].addresses}
    for host in hosts:
        with suppress(ValueError):  # a name, whose addresses are among the facts
            found.add(str(ipaddress.ip_address(host.address.strip("[]"))))
    return sorted(address for address in found if not ipaddress.ip_address(address).is_loopback)


def _cluster(
    connected: ConnectedHosts, keepers: Mapping[str, Started], needed: int, launch: Launch | None
) -> Cluster:
    hosts = [
        msgspec.structs.replace(host, slots=min(host.slots or needed, len(keeper.ports)))
        for host in connected.hosts
        if (keeper := keepers.get(host.name))
    ]
    return Cluster(connected, hosts, {host.name: keepers[host.name] for host in hosts}, launch)


def _reach(connected: ConnectedHosts, untried: deque[Host], request: Request) -> dict[str, Facts]:
    """Connect to enough hosts, replacing missing ones by later ones; return their facts."""
    config, needed = request.config, request.needed

    def look(tools: HostTools) -> Facts:
        found = facts_of(tools, config, request.wanted)
        refuse_unprovisioned(found, request.wanted, tools.host)
        return found

    facts: dict[str, Facts] = {}
    while names := list(chosen(untried, needed - _slots(connected.hosts, needed))):
        for _ in names:
            untried.popleft()
        request.notify(f"connecting to {len(names)} host{'s' * (len(names) > 1)}")
        connected.open(names)
        new = [name for name in names if name in connected.tools]
        facts |= connected.each(look, new)
        connected.drop(twins(facts))
    for name, found in facts.items():
        for warning in found.warnings(name, config):
            request.warn(warning)
    return facts


def _standing(connected: ConnectedHosts, request: Request) -> dict[str, Started] | None:
    """Find a running cluster of ours; None if there is none, or if a new one is wanted."""
    parts = connected.each(_cleared)
    if request.lease_s is not None:
        return None
    settings = request.config.cluster
    standing = standing_for(
        parts,
        connected.hosts,
        request.needed,
        software(request.wanted, request.config),
        share=settings.share,
        firewall=settings.firewall,
    )
    if standing is None:
        return None
    cluster_id = next(iter(standing.values())).cluster
    request.warn(f"using cluster {cluster_id}, which keeps running until `dnnbench stop`")
    if sum(len(part.ports) for part in standing.values()) < request.needed:
        connected.drop(
            {
                host.name: HostError(_ELSEWHERE, where=host.name, remedy=_LAUNCH_AGAIN)
                for host in connected.hosts
                if host.name not in standing
            }
        )
    return {
        name: Started(part.ports, part.socket, part.controller) for name, part in standing.items()
    }


def _cleared(tools: HostTools) -> list[Part]:
    """Return the clusters on a host, after ending those that killed sweeps of ours left there."""
    standing, _ = parts_of(tools)
    abandoned = [part for part in standing if part.is_abandoned and part.host == tools.host]
    for part in abandoned:
        end_part(tools, part.cluster, force=True)
    return [part for part in standing if part not in abandoned]


def _proven(connected: ConnectedHosts, request: Request) -> dict[str, int]:
    """Choose hosts whose tasks reach each other, as the protocols need it; drop the others.

    Returns:
        Host -> number of its tasks; empty if a cluster with a lease would be incomplete.
    """
    config, needed = request.config, request.needed
    servers, ports = config.sweep.servers_of(config.sweep.largest), config.cluster.ports
    among = config.sweep.connects_all_hosts
    tasks = "all hosts" if among else "workers and parameter servers"
    while sum((names := chosen(connected.hosts, needed)).values()) > 1:
        request.notify(f"testing every connection between {tasks}")
        hosts = [host for host in connected.hosts if host.name in names]
        pairs, failures = try_pairs(
            connected.tools, hosts, servers, ports, among_workers=among, bandwidth=False
        )
        if not failures and among:
            failures = hindrances_among(pairs, list(names))
        elif not failures:
            failures = hindrances(pairs, holders(hosts, servers)[0])
        if not failures:
            break
        connected.drop(failures)
    if request.lease_s is not None and _slots(connected.hosts, needed) < needed:
        return {}
    return names


def _started(
    connected: ConnectedHosts,
    facts: Mapping[str, Facts],
    names: Mapping[str, int],
    request: Request,
    launch: Launch,
) -> dict[str, Started]:
    """Start a cluster's part on each of these hosts."""
    if not names:
        return {}
    config, needed = request.config, request.needed
    request.notify("starting the agents")
    # A port for every slot: the placement changes when a host is lost.
    ports = {h.name: min(h.slots or needed, needed) for h in connected.hosts if h.name in names}
    admitted = admitted_addresses(facts, connected.hosts) if config.cluster.firewall else None

    def start(tools: HostTools) -> Started:
        return launch.start(
            tools,
            lambda: start_keeper(
                tools,
                facts[tools.host],
                config,
                request.wanted,
                cluster=launch.cluster,
                purpose=request.purpose,
                lease_s=request.lease_s,
                ports=ports[tools.host],
                admitted=admitted,
            ),
        )

    return connected.each(start, ports)


def _push_model(connected: ConnectedHosts, keepers: Mapping[str, Started], config: Config) -> None:
    """Copy the user's own model to the directory in which agents look for it."""
    files = model_files(config.train.model)

    def push(tools: HostTools) -> None:
        folder = keepers[tools.host].socket.rpartition("/")[0]
        for name, path in files.items():
            tools.connection.push(path, f"{folder}/models/{name}")

    if files:
        connected.each(push, keepers)


def _slots(hosts: Sequence[Host], needed: int) -> int:
    return sum(host.slots or needed for host in hosts)
