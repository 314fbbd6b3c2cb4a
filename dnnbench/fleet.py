"""Many hosts at once: what came of each of them, never just the first failure."""

from __future__ import annotations

import queue
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import msgspec

from dnnbench.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import Self

    from dnnbench.config import SshConfig
    from dnnbench.inventory import HostConfig
    from dnnbench.transport.ssh.connection import Connection
    from dnnbench.transport.ssh.settings import Target

I = TypeVar("I")  # noqa: E741 - an item
T = TypeVar("T")
AT_ONCE: Final = 64
"""Threads that wait for hosts; each of them does little."""


class _Done(NamedTuple):
    place: int
    result: Any
    bug: BaseException | None = None


def each(
    items: Iterable[I], do: Callable[[I], T], *, at_once: int = AT_ONCE
) -> dict[str, T | HostError]:
    """Do the same with every host, at the same time.

    Args:
        items: names of hosts, or what has a ``name``.
        do: is called with each of them, in a thread.
        at_once: calls at the same time.

    Returns:
        Name -> what came of it, in the order of the items.

    Raises:
        Exception: the first of those that no host is to blame for, once all calls have ended.
        KeyboardInterrupt: at once; calls that have begun are left to themselves.
    """
    todo = list(items)
    pending = deque(enumerate(todo))
    ended: queue.SimpleQueue[_Done] = queue.SimpleQueue()

    def work() -> None:
        with suppress(IndexError):  # nothing left
            while True:
                place, item = pending.popleft()
                ended.put(_outcome(place, do, item))

    # Daemons, because whoever interrupts must not have to wait for a host that does not answer.
    try:
        for _ in range(min(at_once, len(todo))):
            threading.Thread(target=work, daemon=True).start()
        done = sorted((ended.get() for _ in todo), key=lambda outcome: outcome.place)
    finally:
        pending.clear()
    for outcome in done:
        if outcome.bug:
            raise outcome.bug
    return {_name(item): outcome.result for item, outcome in zip(todo, done, strict=True)}


def _outcome(place: int, do: Callable[[I], T], item: I) -> _Done:
    try:
        return _Done(place, do(item))
    except HostError as error:
        return _Done(place, error)
    except BaseException as error:  # noqa: BLE001 - raised again by whoever waits for it
        return _Done(place, None, error)


def _name(item: object) -> str:
    return item if isinstance(item, str) else str(item.name)  # type: ignore[attr-defined]


class Fleet:
    """Connections to hosts, opened together, closed together.

    Attributes:
        connections: name -> connection, of the hosts that could be reached; in their order.
        failures: name -> why not, of the others.
    """

    def __init__(self, hosts: Iterable[HostConfig], settings: SshConfig) -> None:
        self._hosts = list(hosts)
        self._settings = settings
        self._targets: dict[str, Target] = {}
        self._lock = threading.Lock()
        self._opened: list[Connection] = []
        self._is_closed = False
        self.connections: dict[str, Connection] = {}
        self.failures: dict[str, HostError] = {}

    def __enter__(self) -> Self:
        from dnnbench.transport.ssh.settings import resolve  # paramiko takes a while to import

        self._targets = resolve(self._hosts, self._settings)
        try:
            outcomes = each(self._targets, self._open)
        except BaseException:
            self.close()
            raise
        for name, outcome in outcomes.items():
            if isinstance(outcome, HostError):
                self.failures[name] = outcome
            else:
                self.connections[name] = outcome
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def each(
        self, do: Callable[[Connection], T], *, at_once: int = AT_ONCE
    ) -> dict[str, T | HostError]:
        """Do the same with every open connection; see the function `each`."""
        return each(self.connections, lambda name: do(self.connections[name]), at_once=at_once)

    def reopen(self, name: str) -> Connection:
        """Connect to a host anew, in place of the connection there may be.

        Once: whoever lost a connection knows best how long to go on trying.

        Raises:
            HostError: in vain.
        """
        if name in self.connections:
            self.connections[name].close()
        connection = self._open(name, msgspec.structs.replace(self._settings, tries=1))
        self.connections[name] = connection
        self.failures.pop(name, None)
        return connection

    def close(self) -> None:
        """Close all connections, also those that are still being opened. Safe to do twice."""
        with self._lock:
            self._is_closed = True
            opened, self._opened = self._opened, []
        for connection in opened:
            connection.close()

    def _open(self, name: str, settings: SshConfig | None = None) -> Connection:
        from dnnbench.transport.ssh.connection import connect  # as above

        connection = connect(self._targets[name], settings or self._settings)
        with self._lock:
            if not self._is_closed:
                self._opened.append(connection)
                return connection
        connection.close()
        raise HostError("it was reached too late", where=name)
