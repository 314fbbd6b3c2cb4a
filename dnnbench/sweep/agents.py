"""What the runner and the launcher need of hosts, and no more."""

from __future__ import annotations

import queue
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dnnbench.errors import HostError
    from dnnbench.sweep.placement import Host
    from dnnbench.trial.messages import AnyEvent, Order


class Arrival(NamedTuple):
    """What came from a host: an event, or the news that its agent is gone."""

    host: str
    what: AnyEvent | HostError


Inbox = queue.SimpleQueue[Arrival]
"""Where the events of all hosts arrive, in the order in which they did."""


class AgentHandle(Protocol):
    """A running agent on one host; its events go to the inbox it was started with.

    Attributes:
        host: its name.
        ports: that are held there for the roles; None where the kernel chooses.
    """

    host: str
    ports: list[int] | None

    def send(self, order: Order) -> None:
        """Send an order.

        Raises:
            HostError: the agent is gone.
        """

    def close(self) -> None:
        """End the agent and everything it started; return once they are gone. Safe to do twice."""


@dataclass(frozen=True)
class Crew:
    """Agents that trials can run on.

    Attributes:
        agents: host -> its agent.
        hosts: those with an agent, in the inventory's order.
        missing: host -> why it has none, in the inventory's order; only of hosts that were tried.
        data_directory: where hosts have the data set; None where the trial's order says so.
    """

    agents: Mapping[str, AgentHandle]
    hosts: Sequence[Host]
    missing: Mapping[str, HostError] = field(default_factory=dict)
    data_directory: str | None = None


class CrewSource(Protocol):
    """Where agents come from: this machine, hosts over SSH, or a cluster that stands already."""

    def start(
        self,
        hosts: Sequence[Host],
        needed: int,
        inbox: Inbox,
        log_dir: Path,
        notify: Callable[[str], None],
    ) -> Crew:
        """Start an agent a host, or attach to the one that is there.

        ``AgentReady`` of each arrives in the inbox afterwards, also where it was ready before.

        Args:
            hosts: that may be used, in the inventory's order; later ones stand in for missing ones.
            needed: slots that the largest trial takes; hosts beyond them need not be started.
            inbox: where the agents' events go.
            log_dir: for ``agent-<host>.log``.
            notify: is called with what is waited for.

        Raises:
            HostError: no host at all came up. Whatever is raised, nothing stays started.
        """

    def finish(self, crew: Crew) -> None:
        """Give a crew back: end its agents, or leave those of a standing cluster. Never raises."""
