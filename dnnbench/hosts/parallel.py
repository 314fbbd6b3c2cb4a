"""Run a function on many hosts concurrently; return a result or an error for every host."""

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
"""Most threads at once; each mostly waits for its host."""


class _Done(NamedTuple):
    place: int
    result: Any
    bug: BaseException | None = None


def each(
    items: Iterable[I], do: Callable[[I], T], *, at_once: int = AT_ONCE
) -> dict[str, T | HostError]:
    """Call a function for every item concurrently.

    Args:
        items: names of hosts, or values with a ``name``.
        do: called with each item, in a thread.
        at_once: most calls at the same time.

    Returns:
        Name -> result or HostError, in the order of the items.

    Raises:
        Exception: the first error that is not a HostError, once all calls have ended.
        KeyboardInterrupt: immediately; calls that have begun run on in their threads.
    """
    todo = list(items)
    pending = deque(enumerate(todo))
    ended: queue.SimpleQueue[_Done] = queue.SimpleQueue()

    def work() -> None:
        with suppress(IndexError):  # no items left
            while True:
                place, item = pending.popleft()
                ended.put(_outcome(place, do, item))

    # Daemons: after Ctrl-C, nobody should have to wait for a host that does not answer.
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
    except BaseException as error:  # noqa: BLE001 - raised again by `each`
        return _Done(place, None, error)


def _name(item: object) -> str:
    return item if isinstance(item, str) else str(item.name)  # type: ignore[attr-defined]
