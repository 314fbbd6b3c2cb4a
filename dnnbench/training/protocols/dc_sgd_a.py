"""Delay compensation with a λ that adapts to the gradients, element by element."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dnnbench.training.graph.shard import ServerShard
from dnnbench.training.protocols.base import Applied, minus_squared_times, vector

if TYPE_CHECKING:
    from dnnbench.training.graph.setting import StepSetting
    from dnnbench.training.protocols.base import Push


def make_shard(index: int, size: int, setting: StepSetting) -> ServerShard:
    """Return a shard; see :mod:`dnnbench.training.protocols.base`."""
    spec = setting.protocol

    def make_rule() -> AdaptiveCompensation:
        return AdaptiveCompensation(size, spec.lambda0, spec.mean_square_decay, spec.epsilon)

    return ServerShard(index, size, setting, make_rule)


class AdaptiveCompensation:
    """DC-ASGD-a: DC-ASGD-c with λ_t = λ0 / sqrt(MeanSquare + ε), element by element.

    ``MeanSquare ← m MeanSquare + (1 - m) g⊙g`` runs over the updates of all workers, one vector a
    shard, as in the paper (its released code keeps one per worker). Source: as for DC-ASGD-c.

    Kept is ``(MeanSquare + ε) / (1 - m)``, which takes fewer passes over the vector:
    ``kept ← m kept + g⊙g + ε``, and ``λ_t = λ0 / sqrt(1 - m) / sqrt(kept)``.
    """

    def __init__(self, size: int, lambda0: float, decay: float, epsilon: float) -> None:
        import tensorflow as tf

        self.slots = {"mean_square": epsilon / (1.0 - decay)}
        self.factor: float | None = -lambda0 / math.sqrt(1.0 - decay)
        self._decay = tf.constant(decay, tf.float32)
        self._epsilon = vector(size, epsilon, count=epsilon)

    def apply(self, push: Push) -> Applied:
        """See :class:`dnnbench.training.protocols.base.Rule`."""
        import tensorflow as tf

        gradient, mean_square = push.gradient, push.slots["mean_square"]
        old = mean_square.read_value()
        kept = tf.add_n([self._decay * old, tf.square(gradient), self._epsilon])
        with tf.control_dependencies([mean_square.assign(kept, read_value=False)]):
            body = tf.math.rsqrt(kept) * minus_squared_times(gradient, push.now - push.pulled)
        return Applied(gradient, body)
