"""What the launcher needs of a host, and no more."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from dnnbench.errors import HostError
    from dnnbench.events import AnyEvent, Order


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
