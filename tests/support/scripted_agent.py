"""A host's agent that plays whole trials without TensorFlow: `fake_agent` as a process."""

from __future__ import annotations

import os
import queue
import sys
from typing import TYPE_CHECKING

from dnnbench.trial.messages import Event, decode_order, encode
from support.factories import make_ready
from support.fake_agent import FakeAgent

if TYPE_CHECKING:
    from dnnbench.sweep.agents import Inbox


def main() -> None:
    """Answer orders until there are no more."""
    arrived: Inbox = queue.SimpleQueue()
    agent = FakeAgent("", arrived, {})
    out = sys.stdout.buffer
    out.write(encode(make_ready(os.getpid())))
    out.flush()
    for line in sys.stdin.buffer:
        agent.send(decode_order(line))
        while not arrived.empty():
            event = arrived.get().what
            assert isinstance(event, Event)
            out.write(encode(event))
        out.flush()


if __name__ == "__main__":
    main()
