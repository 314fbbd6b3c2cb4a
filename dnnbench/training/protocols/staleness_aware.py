"""Staleness-aware SGD: the learning rate of an update is divided by its staleness.

Source: Zhang et al., Staleness-Aware Async-SGD for Distributed Deep Learning, IJCAI 2016, arXiv
1511.05950: η = η0 / τ, and η0 where the staleness τ is 0.
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
    return ServerShard(index, size, setting, lambda: DividedByStaleness(size))


class DividedByStaleness:
    """The gradient divided by max(1, τ), which is the same as the learning rate divided.

    That holds for SGD, with or without momentum. It does not for Adagrad, whose sum of squares
    would hold the divided gradients; the table of protocols refuses it.
    """

    def __init__(self, size: int) -> None:
        import tensorflow as tf

        self.slots: dict[str, float] = {}
        self.factor: float | None = None
        self._is_parameter = tf.constant([True] * size + [False])  # the last element counts updates

    def apply(self, push: Push) -> Applied:
        """See :class:`dnnbench.training.protocols.base.Rule`."""
        import tensorflow as tf

        divided = push.gradient / tf.maximum(push.staleness(), 1.0)
        return Applied(tf.where(self._is_parameter, divided, push.gradient))
