"""Sequential SGD: one worker with the parameters in its own process, the baseline of the others.

Nothing is sent: the shard is on the worker's own device, and each step reads what the one before it
wrote. Source: Robbins and Monro, A Stochastic Approximation Method, 1951; with batches, SGD as any
text on training has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.training.graph.shard import ServerShard
from dnnbench.training.protocols.downpour import AsPushed

if TYPE_CHECKING:
    from dnnbench.training.graph.setting import StepSetting


def make_shard(index: int, size: int, setting: StepSetting) -> ServerShard:
    """Return a shard; see :mod:`dnnbench.training.protocols.base`."""
    return ServerShard(index, size, setting, AsPushed)
