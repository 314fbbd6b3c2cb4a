"""Agents for a sweep on hosts: attach to a running cluster if one fits, or else launch one."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from dnnbench.hosts.agents.identity import new_controller_id
from dnnbench.hosts.agents.kept import KeptAgent
from dnnbench.hosts.agents.launching import Cluster, Request, find_or_launch
from dnnbench.hosts.connected import ConnectedHosts
from dnnbench.hosts.parallel import each
from dnnbench.sweep.agents import Agents, combined
from dnnbench.sweep.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dnnbench.hosts.agents.clusters import Started
    from dnnbench.hosts.connectors.interface import Conversation
    from dnnbench.hosts.provision.wanted import Wanted
    from dnnbench.settings.schema import Config
    from dnnbench.sweep.placement import Host


class HostAgents:
    """A source of agents on the hosts of a configuration; see `AgentSource`.

    Args:
        config: the sweep's settings.
        wanted: software and data that hosts must have.
        purpose: shown to other users who want the hosts.
        warn: called with notes for the user, also from other threads.
    """

    def __init__(
        self, config: Config, wanted: Wanted, purpose: str, warn: Callable[[str], None]
    ) -> None:
        self._config = config
        self._wanted = wanted
        self._purpose = purpose
        self._warn = warn

    def start(
        self,
        hosts: Sequence[Host],
        needed: int,
        log_dir: Path,  # noqa: ARG002 - an agent's log stays on its host
        notify: Callable[[str], None],
    ) -> Agents:
        """See :class:`dnnbench.sweep.agents.AgentSource`."""
        request = Request(self._config, self._wanted, self._purpose, needed, notify, self._warn)
        with ExitStack() as undo:
            connected = undo.enter_context(ConnectedHosts(self._config))
            cluster = find_or_launch(connected, hosts, request)
            if not cluster.hosts:
                raise combined(connected.missing)
            agents = attach(cluster, request, is_kept=cluster.launch is None, then=connected.close)
            undo.pop_all()
            return agents


def attach(
    cluster: Cluster,
    request: Request,
    *,
    is_kept: bool,
    then: Callable[[], None] = lambda: None,
) -> Agents:
    """Attach to the agents of a cluster.

    Args:
        cluster: a cluster to which no controller is attached.
        request: the request that led to it.
        is_kept: whether the cluster keeps running when the agents are closed.
        then: called once the agents are closed.

    Raises:
        KeyboardInterrupt: after ending a cluster that was launched.
    """
    inbox = Inbox()
    agents: dict[str, KeptAgent] = {}

    def part(name: str) -> None:
        agents[name].leave() if is_kept else agents[name].close()

    def release() -> None:
        try:
            each(agents, part)
        finally:
            then()

    try:
        for name, keeper in cluster.keepers.items():
            agents[name] = _agent(cluster.connected, name, keeper, inbox, request)
    except BaseException:
        each(agents, part)
        cluster.end()
        raise
    return Agents(
        agents.values(),
        cluster.hosts,
        inbox,
        release=release,
        missing=cluster.connected.missing,
        data_directory=request.wanted.data_directory,
    )


def _agent(
    connected: ConnectedHosts, name: str, keeper: Started, inbox: Inbox, request: Request
) -> KeptAgent:
    first = [connected.tools[name]]

    def open_relay() -> Conversation:
        # A connection that failed is not used again: over a cut link it still looks open.
        tools = first.pop() if first else connected.reopen(name)
        return tools.open("relay", keeper.socket)

    return KeptAgent(
        name,
        open_relay,
        inbox,
        keeper.ports,
        controller_id=new_controller_id(),
        succeeds=keeper.succeeds,
        purpose=request.purpose,
        on_trouble=request.warn,
    )
