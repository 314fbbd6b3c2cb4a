"""The channel between a role and its agent: orders in, events out."""

from __future__ import annotations

import os
import queue
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from dnnbench.training.roles.process import EXIT_ORPHANED
from dnnbench.trial.messages import Event, Order, Respond, Responding, decode_order, encode

if TYPE_CHECKING:
    from collections.abc import Callable


_SAMPLE_S = 0.2
CAUSE_CHARACTERS = 2000
"""Longest cause that the controller is told."""
_BOILERPLATE = ("Graph execution error", "Detected at node", "Node:", "From /job:")
_OrderT = TypeVar("_OrderT", bound=Order)


class Channel:
    """A role's two pipes: orders in, events out, one JSON line each.

    A thread reads the orders, so that the end of the pipe, which is the end of the agent, ends this
    process at once whatever it is doing; TensorFlow releases the interpreter lock while it works.
    The thread also answers ``Respond``, however long the role waits for others.
    """

    def __init__(self, task: str, orders_fd: int, events_fd: int) -> None:
        self.task = task
        self._events_fd = events_fd
        self._emitting = threading.Lock()
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(orders_fd,), daemon=True).start()

    def _read(self, orders_fd: int) -> None:
        with os.fdopen(orders_fd, "rb") as lines:
            for line in lines:
                order = decode_order(line)
                if isinstance(order, Respond):
                    self.emit(Responding, cores=_cores_in_use())
                else:
                    self._orders.put(order)
        os._exit(EXIT_ORPHANED)

    def emit(self, make: Callable[..., Event], **fields: Any) -> None:
        """Send an event of this task, whole."""
        line = memoryview(encode(make(task=self.task, **fields)))
        with self._emitting:
            while line:
                line = line[os.write(self._events_fd, line) :]

    def expect(self, kind: type[_OrderT]) -> _OrderT:
        """Wait for the next order, which must be of this kind.

        No deadline here: the controller has one for every phase, and ends the role with the agent.
        """
        order = self._orders.get()
        if not isinstance(order, kind):
            raise TypeError(f"expected the order {kind.__name__}, found {order}")
        return order


def _cores_in_use() -> float:
    """Return the cores that this process uses at present, all threads together."""
    cpu_s, start_s = time.process_time(), time.monotonic()
    time.sleep(_SAMPLE_S)
    return (time.process_time() - cpu_s) / (time.monotonic() - start_s)


def telling_line(error: Exception) -> str:
    """Return an error's name and its most telling line; TensorFlow's first lines give the place."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith(_BOILERPLATE)]
    line = (telling or lines or [""])[0]
    return f"{type(error).__name__}: {line[:CAUSE_CHARACTERS]}"
