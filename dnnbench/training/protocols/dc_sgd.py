"""Delay compensation: constant and adaptive."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dnnbench.training.protocols.base import vector

if TYPE_CHECKING:
    import tensorflow as tf

    from dnnbench.training.protocols.base import Compensation, Slots
    from dnnbench.trial.spec import ProtocolSpec


def make_compensation(order: ProtocolSpec, size: int) -> Compensation | None:
    """Return the protocol's compensation for a shard of ``size`` parameters; None for none.

    Its constants are made on the device in force.
    """
    if order.name == "downpour":
        return None
    if order.compensation == "constant":
        return ConstantCompensation(order.lambda0)
    return AdaptiveCompensation(size, order.lambda0, order.mean_square_decay, order.epsilon)


class ConstantCompensation:
    """DC-ASGD-c: λ g⊙g⊙(w - w_bak).

    Source: Zheng et al., Asynchronous Stochastic Gradient Descent with Delay Compensation, ICML
    2017, arXiv 1609.08326. ``w_bak`` is captured at this worker's pull, as published.
    """

    def __init__(self, lambda0: float) -> None:
        self.slots: dict[str, float] = {}
        self.factor = -lambda0

    def body(
        self, gradient: tf.Tensor, now: tf.Tensor, pulled: tf.Tensor, slots: Slots
    ) -> tf.Tensor:
        """See :class:`Compensation`."""
        del slots
        return _minus_squared_times(gradient, now - pulled)


class AdaptiveCompensation:
    """DC-ASGD-a: as DC-ASGD-c with λ_t = λ0 / sqrt(MeanSquare + ε), element by element.

    ``MeanSquare ← m MeanSquare + (1 - m) g⊙g`` runs over the updates of all workers, one vector a
    shard, as the paper writes it (its released code keeps one a worker). Source: as above.

    Kept is ``(MeanSquare + ε) / (1 - m)``, which takes fewer passes over the vector:
    ``kept ← m kept + g⊙g + ε``, and ``λ_t = λ0 / sqrt(1 - m) / sqrt(kept)``.
    """

    def __init__(self, size: int, lambda0: float, decay: float, epsilon: float) -> None:
        import tensorflow as tf

        self.slots = {"mean_square": epsilon / (1.0 - decay)}
        self.factor = -lambda0 / math.sqrt(1.0 - decay)
        self._decay = tf.constant(decay, tf.float32)
        self._epsilon = vector(size, epsilon, count=epsilon)

    def body(
        self, gradient: tf.Tensor, now: tf.Tensor, pulled: tf.Tensor, slots: Slots
    ) -> tf.Tensor:
        """See :class:`Compensation`."""
        import tensorflow as tf

        old = slots["mean_square"].read_value()
        kept = tf.add_n([self._decay * old, tf.square(gradient), self._epsilon])
        with tf.control_dependencies([slots["mean_square"].assign(kept, read_value=False)]):
            return tf.math.rsqrt(kept) * _minus_squared_times(gradient, now - pulled)


def _minus_squared_times(gradient: tf.Tensor, difference: tf.Tensor) -> tf.Tensor:
    """Return -g⊙g⊙d in one pass over memory: the kernel of the derivative of 1/x computes it."""
    import tensorflow as tf

    return tf.raw_ops.InvGrad(y=gradient, dy=difference)
