"""Many hosts at once: what came of each of them, never just the first failure."""

from __future__ import annotations

import queue
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from dnnbench.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


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
