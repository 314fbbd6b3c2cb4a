"""The queue of what arrives from hosts."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from dnnbench.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dnnbench.trial.messages import AnyEvent

UNREAD_BYTES: Final = 4 << 20
"""Unread lines for which hosts have to wait; decoded, a line may take ten times its bytes."""


class Arrival(NamedTuple):
    """One event from a host, or the news that its agent is lost."""

    host: str
    what: AnyEvent | HostError


class Inbox:
    """A queue of the events of all hosts, in the order of their arrival.

    Bounded: a thread that reads from a host waits while too much is unread, and so does the host.
    It cannot fill this machine's memory by sending faster than a trial takes events.

    Args:
        parent: of the inbox of some hosts; see `split`.
    """

    def __init__(self, parent: Inbox | None = None) -> None:
        self._arrivals: deque[tuple[Arrival, int]] = deque()
        self._unread_bytes = 0
        self._is_closed = False
        self._changed: threading.Condition = (
            parent._changed if parent else threading.Condition()  # noqa: SLF001
        )
        self._parts: dict[str, Inbox] = {}

    def put(self, arrival: Arrival, size_bytes: int = 0) -> None:
        """Add an arrival; called from the threads that read from hosts.

        Args:
            arrival: dropped if the inbox is closed.
            size_bytes: size of its line.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._of(arrival.host).has_room)
            self._of(arrival.host)._add(arrival, size_bytes)  # noqa: SLF001

    def get(self, timeout_s: float) -> Arrival | None:
        """Return the oldest arrival; None if there is none within the given time."""
        with self._changed:
            self._changed.wait_for(lambda: self._arrivals, max(timeout_s, 0.0))
            if not self._arrivals:
                return None
            arrival, size_bytes = self._arrivals.popleft()
            self._unread_bytes -= size_bytes
            self._changed.notify_all()
            return arrival

    def close(self) -> None:
        """Drop everything, unread or still to come, and wake waiting writers. Idempotent."""
        with self._changed:
            self._is_closed = True
            self._arrivals.clear()
            self._parts.clear()
            self._changed.notify_all()

    def split(self, hosts: Iterable[str]) -> Inbox:
        """Return an inbox that gets the further arrivals of these hosts, until it is joined."""
        part = Inbox(self)
        with self._changed:
            self._parts.update(dict.fromkeys(hosts, part))
        return part

    def join(self, part: Inbox) -> None:
        """Take the arrivals of a part's hosts again; of those unread, the losses only."""
        with self._changed:
            self._parts = {host: x for host, x in self._parts.items() if x is not part}
            for arrival, _ in list(part._arrivals):
                if isinstance(arrival.what, HostError):
                    self._add(arrival, 0)
            part.close()

    @property
    def has_room(self) -> bool:
        """Whether an arrival is taken, or dropped, at once."""
        return self._is_closed or self._unread_bytes < UNREAD_BYTES

    def _of(self, host: str) -> Inbox:
        return self._parts.get(host, self)

    def _add(self, arrival: Arrival, size_bytes: int) -> None:
        if not self._is_closed:
            self._arrivals.append((arrival, size_bytes))
            self._unread_bytes += size_bytes
            self._changed.notify_all()
