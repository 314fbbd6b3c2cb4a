"""Optimizers: how the gradient to apply becomes a change of the parameters.

A protocol's rule returns the gradient to apply (:mod:`dnnbench.training.protocols.base`). Rule and
optimizer see one flat shard, on its parameter server and inside its lock. To add an optimizer,
write a class, put a function that makes one into `OPTIMIZERS`, and its name into
`dnnbench.trial.spec.OPTIMIZERS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dnnbench.errors import ConfigError
from dnnbench.training.protocols.base import vector

if TYPE_CHECKING:
    from collections.abc import Callable

    import tensorflow as tf

    from dnnbench.training.protocols.base import Slots
    from dnnbench.trial.spec import ProtocolSpec


RATE_FACTOR = "rate_factor"
"""Slot with the factor of the learning rate for each element; 1 for the count of updates."""
_TINY = 1e-30
"""Initial Adagrad accumulator: keeps 0 / sqrt(0) out, and is lost in any real squared gradient."""


class Optimizer(Protocol):
    """Turns the gradient to apply, ``gradient + factor * body``, into changes of the parameters.

    Attributes:
        slots: name -> initial value of each element of a vector that the optimizer keeps.
    """

    slots: dict[str, float]

    def changes(self, gradient: tf.Tensor, body: tf.Tensor | None, slots: Slots) -> list[tf.Tensor]:
        """Return what to add to the parameters, [n + 1] each; no body where nothing compensates."""


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


class Momentum:
    """SGD with a heavy ball: v ← μ v - η g; w ← w + v.

    Source: Polyak, Some methods of speeding up the convergence of iteration methods, 1964. The
    gradient is the one that the protocol applies, so for a delay compensation it is the compensated
    one, as in MXNet's DCASGD; the DC-ASGD paper has no momentum. TensorFlow and PyTorch keep the
    rate out of the velocity (v ← μ v + g; w ← w - η v), which is the same while η is constant.
    """

    def __init__(
        self, size: int, learning_rate: float, factor: float | None, momentum: float
    ) -> None:
        self.slots = {"velocity": 0.0}
        self._sgd = Sgd(size, learning_rate, factor)
        self._momentum = vector(size, momentum, count=0.0)

    def changes(self, gradient: tf.Tensor, body: tf.Tensor | None, slots: Slots) -> list[tf.Tensor]:
        """See :class:`Optimizer`."""
        import tensorflow as tf

        velocity = slots["velocity"]
        kept = self._momentum * velocity.read_value()
        new = tf.add_n([kept, *self._sgd.changes(gradient, body, slots)])
        with tf.control_dependencies([velocity.assign(new, read_value=False)]):
            return [tf.identity(new)]


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


class Scheduled:
    """Another optimizer whose changes are multiplied by a factor that ``worker:0`` sets.

    With momentum this multiplies the velocity, as in TensorFlow and PyTorch. It costs a pass over
    the shard, and only where there is a schedule.
    """

    def __init__(self, inner: Optimizer) -> None:
        self.slots = inner.slots | {RATE_FACTOR: 1.0}
        self._inner = inner

    def changes(self, gradient: tf.Tensor, body: tf.Tensor | None, slots: Slots) -> list[tf.Tensor]:
        """See :class:`Optimizer`."""
        factor = slots[RATE_FACTOR].read_value()
        return [factor * change for change in self._inner.changes(gradient, body, slots)]


def _sgd(spec: ProtocolSpec, size: int, factor: float | None) -> Optimizer:
    if spec.momentum:
        return Momentum(size, spec.learning_rate, factor, spec.momentum)
    return Sgd(size, spec.learning_rate, factor)


def _adagrad(spec: ProtocolSpec, size: int, factor: float | None) -> Optimizer:
    if spec.momentum:
        raise ConfigError("momentum does not combine with optimizer adagrad")
    return Adagrad(size, spec.learning_rate, factor)


OPTIMIZERS: dict[str, Callable[[ProtocolSpec, int, float | None], Optimizer]] = {
    "sgd": _sgd,
    "adagrad": _adagrad,
}


def make_optimizer(spec: ProtocolSpec, size: int, factor: float | None) -> Optimizer:
    """Return the optimizer for a shard of ``size`` parameters and a rule's factor.

    Its constants are made on the device in force.

    Raises:
        ConfigError: there is no such optimizer, or it takes no momentum.
    """
    if spec.optimizer not in OPTIMIZERS:
        raise ConfigError(
            f"there is no optimizer {spec.optimizer!r}, expected one of {', '.join(OPTIMIZERS)}"
        )
    optimizer = OPTIMIZERS[spec.optimizer](spec, size, factor)
    return Scheduled(optimizer) if spec.is_scheduled else optimizer
