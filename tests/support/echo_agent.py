"""An agent that answers every start order with a burst of numbered log lines."""

from __future__ import annotations

import os
import sys

from dnnbench.training.agent import _send
from dnnbench.training.roles.process import die_with_parent
from dnnbench.trial.messages import Log, Start, decode_order
from support.factories import make_ready

BURST = 20


def expected(orders: int) -> list[str]:
    """Return the lines that this number of orders, numbered by their threads, produces."""
    return [f"{order}.{line}" for order in range(1, orders + 1) for line in range(BURST)]


if __name__ == "__main__":
    die_with_parent(os.getppid())
    _send(make_ready(os.getpid()))
    for order in map(decode_order, sys.stdin.buffer):
        if isinstance(order, Start):
            for line in range(BURST):
                _send(Log(task="agent", line=f"{order.threads}.{line}"))
