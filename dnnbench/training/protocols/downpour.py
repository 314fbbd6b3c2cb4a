"""Downpour SGD: gradients are applied as they come.

Source: Dean et al., Large Scale Distributed Deep Networks, NIPS 2012. Its n_fetch and n_push are a
worker's matter: `dnnbench.training.graph.exchange`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.training.graph.shard import ServerShard
from dnnbench.training.protocols.base import Applied

if TYPE_CHECKING:
    from dnnbench.training.graph.setting import StepSetting
    from dnnbench.training.protocols.base import Push


def make_shard(index: int, size: int, setting: StepSetting) -> ServerShard:
    """Return a shard; see :mod:`dnnbench.training.protocols.base`."""
    return ServerShard(index, size, setting, AsPushed)


class AsPushed:
    """The gradient as it was pushed."""

    def __init__(self) -> None:
        self.slots: dict[str, float] = {}
        self.factor: float | None = None

    def apply(self, push: Push) -> Applied:
        """See :class:`dnnbench.training.protocols.base.Rule`."""
        return Applied(push.gradient)
