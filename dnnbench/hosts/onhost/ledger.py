"""A keeper's record of the traffic between controller and agent."""

from __future__ import annotations

from collections import deque
from typing import Any, Dict

Message = Dict[str, Any]

_FULL_BYTES = 64 << 20


class Ledger:
    """Numbers events and keeps them until they are acknowledged; drops repeated orders.

    Attributes:
        orders: number of the last order taken.
        events: number of the last event.
    """

    def __init__(self) -> None:
        self.orders = 0
        self.events = 0
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0

    @property
    def kept(self) -> list[bytes]:
        """The lines that have not been acknowledged."""
        return list(self._kept)

    @property
    def is_full(self) -> bool:
        """Whether the agent should wait until some events are acknowledged."""
        return self._kept_bytes >= _FULL_BYTES

    def take(self, number: int) -> bool:
        """Record an order; return whether it is new."""
        is_new = number > self.orders
        self.orders = max(self.orders, number)
        return is_new

    def add(self, event: bytes) -> bytes:
        """Number and keep an event, a JSON value; return the line to send."""
        self.events += 1
        line = b'{"n":%d,"event":%b}' % (self.events, event)
        self._kept.append(line)
        self._kept_bytes += len(line)
        return line

    def acknowledge(self, number: int) -> None:
        """Forget the events up to this one."""
        while self._kept and self.events - len(self._kept) < number:
            self._kept_bytes -= len(self._kept.popleft())


class Activity:
    """The agent's state, derived from the orders and events that pass.

    Attributes:
        ready: its ``agent_ready`` event; None before it.
    """

    def __init__(self) -> None:
        self.ready: Message | None = None
        self._trial = ""
        self._preparing = 0
        self._roles: dict[str, bool] = {}  # task -> whether it has sent an event

    @property
    def is_clear(self) -> bool:
        """Whether the agent is ready, and nothing of earlier orders is still to come."""
        return self.ready is not None and not self._preparing and not self._roles

    @property
    def doing(self) -> str:
        """The state in words, for the user."""
        if self.ready is None:
            return "importing TensorFlow"
        if self._roles:
            return f"running trial {self._trial}"
        return f"preparing trial {self._trial}" if self._preparing else "idle"

    def ordered(self, order: Message) -> None:
        """Record an order to the agent."""
        if order.get("order") == "prepare":
            self._preparing += 1
            self._trial = order["trial"]["id"]
        elif order.get("order") == "start":
            self._roles.update(dict.fromkeys(order["tasks"], False))

    def happened(self, event: Message) -> None:
        """Record an event of the agent or a role."""
        kind, task = event.get("event"), str(event.get("task"))
        if kind == "agent_ready":
            self.ready = event
        elif kind == "prepared":
            self._preparing -= 1
        elif kind == "agent_failed":
            # Orders are carried out in sequence: this answers the oldest open one.
            self._preparing = max(self._preparing - 1, 0)
            self._roles = {task: True for task, is_heard in self._roles.items() if is_heard}
        elif kind == "role_exited":
            self._roles.pop(task, None)
        elif task in self._roles:
            self._roles[task] = True
