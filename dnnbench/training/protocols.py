"""How a pushed gradient becomes a change of the parameters, on the parameter server.

A protocol turns the gradient that arrives into the one that is applied (``downpour``: the same;
``dc-sgd``: the compensated one); an optimizer turns that one into the parameters' change. Both see
one flat shard, inside that shard's lock.

The last element of a shard counts the updates applied to it: a gradient carries -1 there, and the
hyper-parameters are vectors whose last element leaves that count alone (:func:`_vector`). A pull
thus brings the parameters together with the number of updates that they hold.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

    from dnnbench.trial import ProtocolOrder

    Slots = dict[str, Any]  # name → tf.Variable [n + 1]

COUNT_STEP = -1.0
"""What a gradient carries in the counting element."""

_TINY = 1e-30
"""Initial Adagrad accumulator: keeps 0 / sqrt(0) out, and is lost in any real squared gradient."""


class Compensation(Protocol):
    """What is added to the pushed gradient for the updates that it missed: ``factor * body``.

    Attributes:
        factor: waits to be multiplied into other constants, since each pass over a shard counts.
    """

    slots: dict[str, float]
    factor: float

    def body(
        self, gradient: tf.Tensor, now: tf.Tensor, pulled: tf.Tensor, slots: Slots
    ) -> tf.Tensor:
        """Return the term without its factor, all vectors [n + 1]; its last element is of no use.

        Args:
            gradient: as pushed.
            now: the parameters at this moment.
            pulled: the parameters that the worker pulled to compute the gradient.
            slots: the vectors that this compensation keeps.
        """


class Optimizer(Protocol):
    """Turns the gradient to apply, ``gradient + factor * body``, into changes of the parameters."""

    slots: dict[str, float]

    def changes(self, gradient: tf.Tensor, body: tf.Tensor | None, slots: Slots) -> list[tf.Tensor]:
        """Return what to add to the parameters, [n + 1] each; no body where nothing compensates."""


def make_compensation(order: ProtocolOrder, size: int) -> Compensation | None:
    """Return the protocol's compensation for a shard of ``size`` parameters; None for none.

    Its constants are made on the device in force.
    """
    if order.name == "downpour":
        return None
    if order.compensation == "constant":
        return ConstantCompensation(order.lambda0)
    return AdaptiveCompensation(size, order.lambda0, order.mean_square_decay, order.epsilon)


def make_optimizer(order: ProtocolOrder, size: int, factor: float | None) -> Optimizer:
    """Return the optimizer for a shard of ``size`` parameters and a compensation's factor.

    None where nothing compensates. Its constants are made on the device in force.
    """
    kind = Adagrad if order.optimizer == "adagrad" else Sgd
    return kind(size, order.learning_rate, factor)


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
        self._epsilon = _vector(size, epsilon, count=epsilon)

    def body(
        self, gradient: tf.Tensor, now: tf.Tensor, pulled: tf.Tensor, slots: Slots
    ) -> tf.Tensor:
        """See :class:`Compensation`."""
        import tensorflow as tf

        old = slots["mean_square"].read_value()
        kept = tf.add_n([self._decay * old, tf.square(gradient), self._epsilon])
        with tf.control_dependencies([slots["mean_square"].assign(kept, read_value=False)]):
            return tf.math.rsqrt(kept) * _minus_squared_times(gradient, now - pulled)


class Sgd:
    """Plain SGD: -η g."""

    def __init__(self, size: int, learning_rate: float, factor: float | None) -> None:
        self.slots: dict[str, float] = {}
        self._minus_rate = _vector(size, -learning_rate, count=-1.0)
        if factor is not None:
            self._minus_rate_factor = _vector(size, -learning_rate * factor, count=0.0)

    def changes(self, gradient: tf.Tensor, body: tf.Tensor | None, slots: Slots) -> list[tf.Tensor]:
        """See :class:`Optimizer`."""
        del slots
        plain = self._minus_rate * gradient
        return [plain] if body is None else [plain, self._minus_rate_factor * body]


class Adagrad:
    """Adagrad as DistBelief's parameter server has it: -γ g / sqrt(Σ g⊙g), no ε.

    Source: Dean et al., Large Scale Distributed Deep Networks, NIPS 2012, section 4.1.
    """

    def __init__(self, size: int, learning_rate: float, factor: float | None) -> None:
        self.slots = {"sum_of_squares": _TINY}
        self._minus_rate = _vector(size, -learning_rate, count=0.0)
        self._minus_count = _vector(size, 0.0, count=-1.0)
        if factor is not None:
            self._factor = _vector(size, factor, count=0.0)

    def changes(self, gradient: tf.Tensor, body: tf.Tensor | None, slots: Slots) -> list[tf.Tensor]:
        """See :class:`Optimizer`."""
        import tensorflow as tf

        if body is not None:
            gradient = gradient + self._factor * body
        accumulator = slots["sum_of_squares"]
        total = accumulator.read_value() + tf.square(gradient)
        with tf.control_dependencies([accumulator.assign(total, read_value=False)]):
            return [gradient * (self._minus_rate * tf.math.rsqrt(total) + self._minus_count)]


def _vector(size: int, value: float, *, count: float) -> tf.Tensor:
    """Return a hyper-parameter [size + 1] whose last element fits the count of updates."""
    import tensorflow as tf

    vector = np.full(size + 1, value, np.float32)
    vector[-1] = count
    return tf.constant(vector)


def _minus_squared_times(gradient: tf.Tensor, difference: tf.Tensor) -> tf.Tensor:
    """Return -g⊙g⊙d in one pass over memory: the kernel of the derivative of 1/x computes it."""
    import tensorflow as tf

    return tf.raw_ops.InvGrad(y=gradient, dy=difference)
