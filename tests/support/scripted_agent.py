"""A host's agent that plays whole trials without TensorFlow: `fake_agent` as a process."""

from __future__ import annotations

import os
import sys

from dnnbench.sweep.inbox import Inbox
from dnnbench.trial.messages import Event, decode_order, encode
from support.factories import make_ready
from support.fake_agent import FakeAgent


def main() -> None:
    """Answer orders until the input ends."""
    arrived = Inbox()
    agent = FakeAgent("", arrived, {})
    out = sys.stdout.buffer
    out.write(encode(make_ready(os.getpid())))
    out.flush()
    for line in sys.stdin.buffer:
        agent.send(decode_order(line))
        while arrival := arrived.get(0):
            assert isinstance(arrival.what, Event)
            out.write(encode(arrival.what))
        out.flush()


if __name__ == "__main__":
    main()
