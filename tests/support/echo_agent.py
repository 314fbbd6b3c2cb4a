"""An agent that answers every start order with a burst of numbered log lines."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from dnnbench.training.roles.process import die_with_parent
from dnnbench.trial.messages import Log, Start, decode_order, encode
from support.factories import make_ready

if TYPE_CHECKING:
    from dnnbench.trial.messages import Event

BURST = 20


def expected(orders: int) -> list[str]:
    """Return the lines that this number of orders, numbered by their threads, produces."""
    return [f"{order}.{line}" for order in range(1, orders + 1) for line in range(BURST)]


def _send(event: Event) -> None:
    os.write(1, encode(event))


if __name__ == "__main__":
    die_with_parent(os.getppid())
    _send(make_ready(os.getpid()))
    for order in map(decode_order, sys.stdin.buffer):
        if isinstance(order, Start):
            for line in range(BURST):
                _send(Log(task="agent", line=f"{order.threads}.{line}"))
