"""A sweep's agents on hosts over SSH: of a cluster that stands, else of one of its own."""

from __future__ import annotations

import ipaddress
from collections import deque
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dnnbench.errors import HostError, together
from dnnbench.hosts.agents.clusters import (
    GRACE_S,
    START_TIMEOUT_S,
    Started,
    chosen,
    end_part,
    parts_of,
    standing_for,
    start_keeper,
)
from dnnbench.hosts.agents.identity import new_cluster_id, new_controller_id
from dnnbench.hosts.agents.kept import KeptAgent
from dnnbench.hosts.connected import ConnectedHosts
from dnnbench.hosts.parallel import each
from dnnbench.hosts.provision.facts import facts_of, refuse_unprovisioned, twins
from dnnbench.hosts.provision.preflight import hindrances, holders, try_pairs
from dnnbench.hosts.provision.wanted import data_directory
from dnnbench.sweep.agents import Crew
from dnnbench.sweep.own_model import model_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dnnbench.hosts.agents.clusters import Part
    from dnnbench.hosts.provision.facts import Facts
    from dnnbench.hosts.provision.tools import HostTools
    from dnnbench.hosts.provision.wanted import Wanted
    from dnnbench.hosts.ssh.commands import Stream
    from dnnbench.settings.schema import Config
    from dnnbench.sweep.agents import Inbox
    from dnnbench.sweep.placement import Host
    from dnnbench.trial.spec import DataSpec


_ELSEWHERE: Final = "is not of the cluster that stands on the others"
_LAUNCH_AGAIN: Final = "run `dnnbench stop`, then `dnnbench launch`"


class _Launch(NamedTuple):
    """A cluster being launched.

    Attributes:
        locks: host -> held while its part starts, in a thread that an interrupt leaves to itself.
    """

    cluster: str
    locks: dict[str, Lock]

    def end(self, tools: HostTools) -> None:
        """End the part on a host; not before its start is over, which would then be missed."""
        in_turn = self.locks[tools.host].acquire(timeout=START_TIMEOUT_S)
        try:
            end_part(tools, self.cluster, force=True)
        finally:
            if in_turn:
                self.locks[tools.host].release()


class SshAgents:
    """A source of agents on the hosts of a configuration; see `CrewSource`.

    Args:
        config: of the sweep.
        data: the sweep's data set.
        wanted: software and data that hosts must have.
        purpose: of the cluster, for others who want the hosts.
        warn: is called with what the user should know; from other threads, too.
        lease_s: make a cluster that stands for so long without a controller; None to attach to one
            that stands, or else to make one that ends with the sweep.
    """

    def __init__(
        self,
        config: Config,
        data: DataSpec,
        wanted: Wanted,
        purpose: str,
        warn: Callable[[str], None],
        *,
        lease_s: float | None = None,
    ) -> None:
        self._config = config
        self._data = data
        self._wanted = wanted
        self._purpose = purpose
        self._warn = warn
        self._lease_s = lease_s
        self._is_own = lease_s is None
        self._reach: ConnectedHosts | None = None
        self._launch: _Launch | None = None
        self._agents: dict[str, KeptAgent] = {}

    def start(
        self,
        hosts: Sequence[Host],
        needed: int,
        inbox: Inbox,
        log_dir: Path,  # noqa: ARG002 - an agent's log stays on its host
        notify: Callable[[str], None],
    ) -> Crew:
        """See :class:`dnnbench.sweep.agents.CrewSource`.

        A cluster that is to stand is started as a whole or not at all: where hosts are missing, the
        crew has no agents, and says which are.
        """
        reach = self._reach = ConnectedHosts(self._config)
        self._launch = None
        try:
            started = self._found(reach, hosts, needed, notify)
            if not started and self._lease_s is None:
                raise together(reach.missing)  # noqa: TRY301 - the connections have to be closed
            self._agents = {
                name: self._agent(reach, name, keeper, inbox) for name, keeper in started.items()
            }
        except BaseException:
            with reach:
                self._end_launched(reach)
            raise
        up = [
            msgspec.structs.replace(host, slots=min(host.slots or needed, len(keeper.ports)))
            for host in reach.hosts
            if (keeper := started.get(host.name))
        ]
        return Crew(self._agents, up, reach.missing, data_directory(self._data))

    def finish(self, crew: Crew) -> None:
        """See :class:`dnnbench.sweep.agents.CrewSource`."""
        self._part(crew, KeptAgent.close if self._is_own else KeptAgent.leave)

    def abandon(self, crew: Crew) -> None:
        """End the agents, also those that were to stand."""
        self._part(crew, KeptAgent.close)

    def _part(self, crew: Crew, part: Callable[[KeptAgent], None]) -> None:
        each(crew.agents, lambda name: part(self._agents[name]))
        self._agents = {}
        if self._reach:
            self._reach.__exit__()

    def _found(
        self,
        reach: ConnectedHosts,
        hosts: Sequence[Host],
        needed: int,
        notify: Callable[[str], None],
    ) -> dict[str, Started]:
        """Find a cluster or launch one; all over again while another host can stand in.

        A cluster's hosts must know of each other when they start, for the sake of their firewalls.
        """
        untried = deque(hosts)
        facts: dict[str, Facts] = {}
        while True:
            facts |= self._reached(reach, untried, needed, notify)
            started = self._attached(reach, needed)
            if started is None:
                started = self._launched(reach, facts, needed, notify)
            self._push_model(reach, started)
            if not untried or _slots(reach.hosts, needed) >= needed:
                return {name: keeper for name, keeper in started.items() if name in reach.tools}
            self._end_launched(reach)

    def _end_launched(self, reach: ConnectedHosts) -> None:
        """End what was launched and is not to be; also where nobody knows whether it was.

        On hosts that cannot be reached it ends by itself, as no controller comes.
        """
        launch, self._launch = self._launch, None
        if launch:
            reach.each(launch.end, [name for name in launch.locks if name in reach.tools])

    def _reached(
        self,
        reach: ConnectedHosts,
        untried: deque[Host],
        needed: int,
        notify: Callable[[str], None],
    ) -> dict[str, Facts]:
        """Reach enough hosts, later ones in place of those that are missing; say what they are."""

        def look(tools: HostTools) -> Facts:
            found = facts_of(tools, self._config, self._wanted)
            refuse_unprovisioned(found, self._wanted, tools.host)
            return found

        facts: dict[str, Facts] = {}
        while names := list(chosen(untried, needed - _slots(reach.hosts, needed))):
            for _ in names:
                untried.popleft()
            notify(f"connecting to {len(names)} host{'s' * (len(names) > 1)}")
            reach.open(names)
            new = [name for name in names if name in reach.tools]
            facts |= reach.each(look, new)
            reach.drop(twins(facts))
        for name, found in facts.items():
            for warning in found.warnings(name, self._config):
                self._warn(warning)
        return facts

    def _attached(self, reach: ConnectedHosts, needed: int) -> dict[str, Started] | None:
        """Find a cluster of ours that stands."""
        parts = reach.each(_cleared)
        if self._lease_s is not None:
            return None
        cluster = self._config.cluster
        standing = standing_for(
            parts,
            reach.hosts,
            needed,
            self._wanted.wheel.digest,
            share=cluster.share,
            firewall=cluster.firewall,
        )
        self._is_own = standing is None
        if standing is None:
            return None
        cluster_id = next(iter(standing.values())).cluster
        self._warn(f"using the cluster {cluster_id}, which stands until `dnnbench stop`")
        if sum(len(part.ports) for part in standing.values()) < needed:
            reach.drop(
                {
                    host.name: HostError(_ELSEWHERE, where=host.name, remedy=_LAUNCH_AGAIN)
                    for host in reach.hosts
                    if host.name not in standing
                }
            )
        return {
            name: Started(part.ports, part.socket, part.controller)
            for name, part in standing.items()
        }

    def _launched(
        self,
        reach: ConnectedHosts,
        facts: Mapping[str, Facts],
        needed: int,
        notify: Callable[[str], None],
    ) -> dict[str, Started]:
        """Start a cluster, on hosts that reach each other."""
        self._prove(reach, needed, notify)
        if self._lease_s is not None and _slots(reach.hosts, needed) < needed:
            return {}
        notify("starting the agents")
        # A port for each slot, not only for this placement: it changes when a host is lost.
        names = chosen(reach.hosts, needed)
        ports = {h.name: min(h.slots or needed, needed) for h in reach.hosts if h.name in names}
        launch = self._launch = _Launch(new_cluster_id(), {name: Lock() for name in ports})
        admitted = admitted_addresses(facts, reach.hosts) if self._config.cluster.firewall else None

        def start(tools: HostTools) -> Started:
            with launch.locks[tools.host]:
                if self._launch is not launch:  # interrupted before it was this host's turn
                    raise HostError("the launch was given up", where=tools.host)
                return start_keeper(
                    tools,
                    facts[tools.host],
                    self._config,
                    self._wanted,
                    cluster=launch.cluster,
                    purpose=self._purpose,
                    lease_s=self._lease_s,
                    ports=ports[tools.host],
                    admitted=admitted,
                )

        return reach.each(start, ports)

    def _prove(self, reach: ConnectedHosts, needed: int, notify: Callable[[str], None]) -> None:
        """Do without hosts between which a worker and a parameter server do not connect."""
        servers, ports = self._config.sweep.parameter_servers, self._config.cluster.ports
        while len(names := chosen(reach.hosts, needed)) > 1:
            notify("trying every connection between workers and parameter servers")
            hosts = [host for host in reach.hosts if host.name in names]
            pairs, failures = try_pairs(reach.tools, hosts, servers, ports, bandwidth=False)
            failures = failures or hindrances(pairs, holders(hosts, servers)[0])
            if not failures:
                return
            reach.drop(failures)

    def _push_model(self, reach: ConnectedHosts, started: Mapping[str, Started]) -> None:
        """Put the user's own model where agents look for it."""
        files = model_files(self._config.train.model)

        def push(tools: HostTools) -> None:
            folder = started[tools.host].socket.rpartition("/")[0]
            for name, path in files.items():
                tools.connection.push(path, f"{folder}/models/{name}")

        if files:
            reach.each(push, started)

    def _agent(self, reach: ConnectedHosts, name: str, keeper: Started, inbox: Inbox) -> KeptAgent:
        first = [reach.tools[name]]

        def open_relay() -> Stream:
            # Once it failed, a connection is not used again: over a cut link it still looks open.
            tools = first.pop() if first else reach.reopen(name)
            return tools.open("relay", keeper.socket)

        return KeptAgent(
            name,
            open_relay,
            inbox,
            keeper.ports,
            controller_id=new_controller_id(),
            succeeds=keeper.succeeds,
            purpose=self._purpose,
            grace_s=GRACE_S,
            on_trouble=self._warn,
        )


def _cleared(tools: HostTools) -> list[Part]:
    """Return what stands on a host, once what a killed sweep of ours left there is ended."""
    standing, _ = parts_of(tools)
    abandoned = [part for part in standing if part.is_abandoned and part.host == tools.host]
    for part in abandoned:
        end_part(tools, part.cluster, force=True)
    return [part for part in standing if part not in abandoned]


def admitted_addresses(facts: Mapping[str, Facts], hosts: Sequence[Host]) -> list[str]:
    """List every address of a cluster's hosts that a connection between them may come from."""
    found = {address for name in facts for address in facts[name].addresses}
    for host in hosts:
        with suppress(ValueError):  # a name; its addresses are among the host's own
            found.add(str(ipaddress.ip_address(host.address.strip("[]"))))
    return sorted(address for address in found if not ipaddress.ip_address(address).is_loopback)


def _slots(hosts: Sequence[Host], needed: int) -> int:
    return sum(host.slots or needed for host in hosts)
