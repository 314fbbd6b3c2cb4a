"""How a pushed gradient becomes a change of the parameters, on the parameter server.

A protocol turns the gradient that arrives into the one that is applied (``downpour``: the same;
``dc-sgd``: the compensated one); an optimizer turns that one into the parameters' change. Both see
one flat shard, inside that shard's lock.

The last element of a shard counts the updates applied to it: a gradient carries -1 there, and the
hyper-parameters are vectors whose last element leaves that count alone (:func:`vector`). A pull
thus brings the parameters together with the number of updates that they hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dnnbench.training.protocols.base import vector

if TYPE_CHECKING:
    import tensorflow as tf

    from dnnbench.training.protocols.base import Slots
    from dnnbench.trial.spec import ProtocolSpec


_TINY = 1e-30
"""Initial Adagrad accumulator: keeps 0 / sqrt(0) out, and is lost in any real squared gradient."""


class Optimizer(Protocol):
    """Turns the gradient to apply, ``gradient + factor * body``, into changes of the parameters."""

    slots: dict[str, float]

    def changes(self, gradient: tf.Tensor, body: tf.Tensor | None, slots: Slots) -> list[tf.Tensor]:
        """Return what to add to the parameters, [n + 1] each; no body where nothing compensates."""


def make_optimizer(order: ProtocolSpec, size: int, factor: float | None) -> Optimizer:
    """Return the optimizer for a shard of ``size`` parameters and a compensation's factor.

    None where nothing compensates. Its constants are made on the device in force.
    """
    kind = Adagrad if order.optimizer == "adagrad" else Sgd
    return kind(size, order.learning_rate, factor)


class Sgd:
    """Plain SGD: -η g."""

    def __init__(self, size: int, learning_rate: float, factor: float | None) -> None:
        self.slots: dict[str, float] = {}
        self._minus_rate = vector(size, -learning_rate, count=-1.0)
        if factor is not None:
            self._minus_rate_factor = vector(size, -learning_rate * factor, count=0.0)

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
        self._minus_rate = vector(size, -learning_rate, count=0.0)
        self._minus_count = vector(size, 0.0, count=-1.0)
        if factor is not None:
            self._factor = vector(size, factor, count=0.0)

    def changes(self, gradient: tf.Tensor, body: tf.Tensor | None, slots: Slots) -> list[tf.Tensor]:
        """See :class:`Optimizer`."""
        import tensorflow as tf

        if body is not None:
            gradient = gradient + self._factor * body
        accumulator = slots["sum_of_squares"]
        total = accumulator.read_value() + tf.square(gradient)
        with tf.control_dependencies([accumulator.assign(total, read_value=False)]):
            return [gradient * (self._minus_rate * tf.math.rsqrt(total) + self._minus_count)]
